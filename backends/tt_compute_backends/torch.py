"""The torch backend: local models on CPUs and on any device that torch has.

Imports nothing heavy; torch itself is imported in the engine's process only.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import msgspec

from tt_compute_backends.engine.reading import RatingBackend
from tt_compute_backends.libraries import LOOP_LIBRARIES, Library
from tt_compute_backends.loop.backend import LoopBackend
from tt_compute_backends.loop.options import LoopOptions

__all__ = ["TorchBackend", "TorchOptions"]


class TorchOptions(LoopOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The deployment's ``options:``."""

    dtype: Literal["bf16", "fp16", "fp32", "int8"] = "bf16"
    """Of weights, activations and caches; int8 = weights of 8 bits, the rest in bf16."""


class TorchBackend(LoopBackend[TorchOptions], RatingBackend):
    """Satisfies ``tt_compute.backend.Backend``; made by ``create``."""

    name: ClassVar[str] = "torch"
    Options: ClassVar[type[msgspec.Struct]] = TorchOptions
    libraries = (
        Library(distribution="torch", least_version=(2, 9)),
        *LOOP_LIBRARIES,
    )
    install = 'pip install "tt-compute[torch]"'
    runtime = "tt_compute_backends.torch_runtime:TorchRuntime"

    async def locate(self) -> Path:
        return await self._env.models.locate(self._spec, "gguf")

    def device(self, placed: str | None) -> str:
        return (placed or "cpu").lower()
