"""The ONNX Runtime backend: local models on CPUs and on whatever has an execution provider.

Imports nothing heavy; ONNX Runtime itself is imported in the engine's process only.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import msgspec

from tt_compute.errors import BackendUnavailable
from tt_compute.types import Converter
from tt_compute_backends.engine.reading import RatingBackend
from tt_compute_backends.libraries import LOOP_LIBRARIES, Library
from tt_compute_backends.loop.backend import LoopBackend
from tt_compute_backends.loop.options import LoopOptions
from tt_compute_backends.onnx_files import GRAPH_FILE, LIBRARY, GraphPrecision, graph_converter

__all__ = ["OnnxRuntimeBackend", "OnnxRuntimeOptions", "default_converter"]


class OnnxRuntimeOptions(LoopOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The deployment's ``options:``."""

    precision: GraphPrecision = "int8"
    """Of the weights when a GGUF file or a Hugging Face folder is converted; an ONNX folder has its own."""
    providers: dict[str, dict[str, str]] = msgspec.field(default_factory=dict[str, dict[str, str]])
    """Execution providers with their options, the preferred one first: ``{cuda: {device_id: '0'}, cpu: {}}``.
    Empty = the one that ``placement.devices`` names, or the CPU's."""
    session: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    """ONNX Runtime's session configuration entries, by their full names."""


def default_converter() -> Converter:
    """What ``ttc models pull --format onnx`` runs.

    Raises:
        BackendUnavailable: A library is missing.
    """
    probe = OnnxRuntimeBackend.probe()
    if not probe.available:
        raise BackendUnavailable(
            f"weights cannot be converted to onnx: {probe.reason}",
            hint=f"{probe.install}, then ttc models pull ID --format onnx",
        )
    return graph_converter("int8")


class OnnxRuntimeBackend(LoopBackend[OnnxRuntimeOptions], RatingBackend):
    """Satisfies ``tt_compute.backend.Backend``; made by ``create``."""

    name: ClassVar[str] = "onnxruntime"
    Options: ClassVar[type[msgspec.Struct]] = OnnxRuntimeOptions
    libraries = (
        Library(distribution="onnxruntime", least_version=(1, 23)),
        LIBRARY,
        *LOOP_LIBRARIES,
    )
    install = 'pip install "tt-compute[onnxruntime]"'
    runtime = "tt_compute_backends.onnx_runtime:OnnxRuntime"

    async def locate(self) -> Path:
        path = await self._env.models.locate(self._spec, "gguf")
        if (path / GRAPH_FILE).is_file():
            return path
        return await self._env.models.convert(path, graph_converter(self._options.precision))

    def device(self, placed: str | None) -> str:
        return (placed or "cpu").lower().partition(":")[0]
