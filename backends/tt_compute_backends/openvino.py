"""The OpenVINO backend: local models on CPUs, and on Intel GPUs and NPUs.

Imports nothing heavy; OpenVINO itself is imported in the engine's process only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

import anyio.to_thread
import msgspec

from tt_compute.errors import ModelLoadError, UnsupportedError
from tt_compute.types import Capabilities, Converter
from tt_compute_backends.engine.reading import ReadingBackend, draws, local_output
from tt_compute_backends.engine.runtime import LoadRequest, Reading, Vectors
from tt_compute_backends.libraries import LOOP_LIBRARIES, Library, probe_libraries, require
from tt_compute_backends.onnx_files import GRAPH_FILE, LIBRARY, graph_converter

__all__ = ["REQUANTISER", "OpenVinoBackend", "OpenVinoOptions", "capabilities"]

_READER = "tt_compute_backends.openvino_reader:OpenVinoReader"
"""What runs models that do not generate."""
REQUANTISER = Converter(format="Q8_0", module="tt_compute_backends.gguf_requantise", version=1)


class OpenVinoOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The deployment's ``options:``."""

    reproducible: bool = False
    """Sample k is the same alone, in any wave and beside other traffic. Samples run one after the other in
    float32, each with a prefill of its own: many times slower than a wave; for tests and for proof."""
    kv_cache_precision: Literal["bf16", "f16", "f32", "u8"] | None = None
    """None = bf16 on a CPU, elsewhere the runtime's own. With u8 even two equal waves differ."""
    cache_bytes: Annotated[int, msgspec.Meta(ge=1 << 20)] | None = None
    """Most memory of the KV cache; None = ``placement.memory_bytes``, or 1 GiB."""
    requantise: bool = True
    """Weights in types that OpenVINO misreads (those with a minimum per block, such as Q4_1) are first rewritten
    in Q8_0, once; False = they are loaded as they are, smaller and wrong."""
    batched_tokens: Annotated[int, msgspec.Meta(ge=16, le=65536)] = 256
    """Most tokens in one step. A long prompt is prefilled in pieces of this size, between which
    others decode and deadlines are seen; larger gains nothing on a CPU."""
    step_separator: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    """As in ``loop.options.LoopOptions``."""

    def __post_init__(self) -> None:
        if self.reproducible and self.kv_cache_precision not in {None, "f32"}:
            raise ValueError("reproducible needs kv_cache_precision: f32, or none given")


def capabilities(options: OpenVinoOptions) -> Capabilities:
    """What the backend can with ``options``."""
    return Capabilities(
        native_n=True,
        prefix_sharing=not options.reproducible,
        cancel="sample",
        max_logprobs=1,
        seed="exact" if options.reproducible else "schedule",
        stop=True,
        json_schema=True,
        continue_assistant=True,
        streaming=True,
        continuous_batching=not options.reproducible,
    )


def _is_read_exactly(path: Path) -> bool:
    # Imports NumPy, which a process without a local model does without.
    from tt_compute_backends.gguf_requantise import read_as_they_are  # noqa: PLC0415 - see above

    return read_as_they_are(path)


class OpenVinoBackend(ReadingBackend):
    """Satisfies ``tt_compute.backend.Backend``; made by ``create``."""

    name: ClassVar[str] = "openvino"
    Options: ClassVar[type[msgspec.Struct]] = OpenVinoOptions
    libraries = (
        Library(distribution="openvino-genai", least_version=(2026, 4)),
        Library(distribution="gguf", least_version=(0, 17)),
    )
    install = 'pip install "tt-compute[openvino]"'
    runtime = "tt_compute_backends.openvino_runtime:OpenVinoRuntime"
    _options: OpenVinoOptions

    def capabilities(self) -> Capabilities:
        return capabilities(self._options)

    def max_rows(self, wanted: int) -> int:
        return min(1 if self._options.reproducible else wanted, self._options.batched_tokens)

    async def locate(self) -> Path:
        """The deployment's file, or its copy in Q8_0 where OpenVINO misreads it or cannot read it.

        Of a model that does not generate, a folder with its graph.

        Raises:
            BackendUnavailable: That folder is still to be made, and a library for it is missing.
            BackendError: As in ``LocalBackend``.
        """
        path = await self._env.models.locate(self._spec, "gguf")
        if path.is_dir() and not await anyio.to_thread.run_sync(draws, path):
            return await self._graph_folder(path)
        if (path / GRAPH_FILE).is_file() and not any(path.glob("*.safetensors")):
            raise ModelLoadError(
                f"{path} holds a language model as an ONNX graph, which openvino does not draw from",
                hint="use the backend onnxruntime, or the model's GGUF file or Hugging Face folder",
            )
        if not path.is_dir():
            if not self._options.requantise:
                return path
            if await anyio.to_thread.run_sync(_is_read_exactly, path):
                return path
        return await self._env.models.convert(path, REQUANTISER) / "model.gguf"

    def device(self, placed: str | None) -> str:
        return (placed or "CPU").upper()

    async def _read(self, reading: Reading, deadline: float | None) -> Vectors:
        own = self._spec.deployment.source.path
        if own is None or await anyio.to_thread.run_sync(local_output, Path(own)) == "tokens":
            # Before it is loaded for nothing.
            raise UnsupportedError(
                "the model is a language model, and openvino only draws from those",
                hint="name a deployment of a reward model, a process reward model or an embedding model",
            )
        return await super()._read(reading, deadline)

    async def _graph_folder(self, path: Path) -> Path:
        if (path / GRAPH_FILE).is_file():
            return path
        converting = probe_libraries(
            (LIBRARY, *LOOP_LIBRARIES), 'pip install "tt-compute[onnxruntime]"'
        )
        require(converting, backend=self.name, deployment=self._spec.id)
        return await self._env.models.convert(path, graph_converter("int8"))

    def _load_request(self, path: str) -> LoadRequest:
        request = super()._load_request(path)
        if Path(path, GRAPH_FILE).is_file():
            return msgspec.structs.replace(request, runtime=_READER)
        return request
