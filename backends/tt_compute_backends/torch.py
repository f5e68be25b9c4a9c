"""The torch backend: local models on CPUs and on any device that torch has.

Imports nothing heavy; torch itself is imported in the engine's process only.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import msgspec

from tt_compute.types import Capabilities
from tt_compute_backends.engine.backend import LocalBackend
from tt_compute_backends.libraries import Library
from tt_compute_backends.loop.options import LoopOptions, loop_capabilities

__all__ = ["TorchBackend", "TorchOptions"]


class TorchOptions(LoopOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The deployment's ``options:``."""

    dtype: Literal["bf16", "fp16", "fp32", "int8"] = "bf16"
    """Of weights, activations and caches; int8 = weights of 8 bits, the rest in bf16."""


class TorchBackend(LocalBackend):
    """Satisfies ``tt_compute.backend.Backend``; made by ``create``."""

    name: ClassVar[str] = "torch"
    Options: ClassVar[type[msgspec.Struct]] = TorchOptions
    libraries = (
        Library(distribution="torch", least_version=(2, 9)),
        Library(distribution="tokenizers", least_version=(0, 21)),
        Library(distribution="jinja2", least_version=(3, 1)),
        Library(distribution="llguidance", least_version=(1, 0)),
        Library(distribution="gguf", least_version=(0, 17)),
        Library(distribution="safetensors", least_version=(0, 5)),
    )
    install = 'pip install "tt-compute[torch]"'
    runtime = "tt_compute_backends.torch_runtime:TorchRuntime"
    _options: TorchOptions

    def capabilities(self) -> Capabilities:
        return loop_capabilities(self._options)

    def max_rows(self, wanted: int) -> int:
        return 1 if self._options.reproducible else wanted

    async def locate(self) -> Path:
        return await self._env.models.locate(self._spec, "gguf")

    def device(self, placed: str | None) -> str:
        return (placed or "cpu").lower()
