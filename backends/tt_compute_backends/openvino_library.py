"""The one place that imports OpenVINO: telemetry off first, and types for what is used of it.

``import openvino`` reports itself to an analytics service from a forked child. It has a stand-in for
the case that its telemetry package is missing, and a None in ``sys.modules`` is just that. Where an
application has imported OpenVINO before, this comes too late.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any, Protocol, cast

sys.modules.setdefault("openvino_telemetry", cast("ModuleType", None))

import numpy as np  # noqa: E402 - only after the line above
import openvino  # noqa: E402 - likewise
import openvino_genai  # noqa: E402 - likewise
from numpy.typing import NDArray  # noqa: E402 - likewise

from tt_compute_backends.onnx_files import ATTENTION, ROTATIONS  # noqa: E402 - likewise

__all__ = [
    "LIBRARY_ERRORS",
    "Graph",
    "Handle",
    "Output",
    "Pipeline",
    "Tokenizer",
    "available_devices",
    "encode",
    "new_graph",
    "new_pipeline",
    "new_tokenizer",
    "openvino_genai",
    "tensor",
    "versions",
]

LIBRARY_ERRORS = (RuntimeError, ValueError, IndexError, TypeError, MemoryError)
"""What the bindings raise for an exception of the library, by its C++ class."""

_genai: Any = openvino_genai
_openvino: Any = openvino


class Output(Protocol):
    """What one step made of one request."""

    @property
    def generated_ids(self) -> list[int]: ...
    @property
    def generated_log_probs(self) -> list[float]: ...
    @property
    def finish_reason(self) -> openvino_genai.GenerationFinishReason: ...


class Handle(Protocol):
    """A request in a pipeline."""

    def can_read(self) -> bool: ...

    def read(self) -> dict[int, Output]:
        """The output of one step; hangs the interpreter when ``can_read`` is false."""
        ...

    def get_status(self) -> openvino_genai.GenerationStatus: ...

    def cancel(self) -> None: ...


class Tokenizer(Protocol):
    """Reads text as tokens, and messages as text."""

    def get_vocab(self) -> dict[bytes, int]: ...

    def set_chat_template(self, chat_template: str) -> None: ...

    def apply_chat_template(
        self, history: Sequence[dict[str, str]], *, add_generation_prompt: bool
    ) -> str: ...


class Pipeline(Protocol):
    """A model with its running batch; each method keeps the GIL until it is done."""

    def add_request(
        self,
        request_id: int,
        input_ids: openvino.Tensor,
        generation_config: openvino_genai.GenerationConfig,
    ) -> Handle: ...

    def step(self) -> None: ...

    def has_non_finished_requests(self) -> bool: ...


class Graph:
    """A compiled graph with one request that is run again and again.

    Args:
        compiled: The library's.
        positions: Of which it knows the rotations; None = it does not say. Beyond them it computes nonsense, and
            says nothing.
    """

    def __init__(self, compiled: Any, positions: int | None = None) -> None:
        self.positions = positions
        self._request: Any = compiled.create_infer_request()
        self.inputs: dict[str, Sequence[int | None]] = _shapes(compiled.inputs)
        """Sizes by name; None = any."""
        self.outputs: dict[str, Sequence[int | None]] = _shapes(compiled.outputs)

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The outputs, copied; ``inputs`` are read where they are."""
        found = self._request.infer(dict(inputs), share_inputs=True)
        return {output.any_name: values for output, values in found.items()}


def _shapes(ports: Sequence[Any]) -> dict[str, Sequence[int | None]]:
    return {
        port.any_name: [
            size.get_length() if size.is_static else None for size in port.partial_shape
        ]
        for port in ports
    }


def new_graph(path: str, device: str, properties: dict[str, object]) -> Graph:
    """Read and compile an ONNX file."""
    core = _openvino.Core()
    model = core.read_model(path)
    return Graph(core.compile_model(model, device, properties), _positions(model))


def _positions(model: Any) -> int | None:
    attentions = [node for node in model.get_ops() if node.get_type_name() == ATTENTION]
    shapes = [
        node.input_value(ROTATIONS).get_partial_shape()
        for node in attentions
        if node.get_input_size() > ROTATIONS
    ]
    return min((shape[0].get_length() for shape in shapes if shape.is_static), default=None)


def new_tokenizer(path: str) -> Tokenizer:
    """The tokenizer inside a GGUF file."""
    return cast("Tokenizer", _genai.Tokenizer(path))


def new_pipeline(
    path: str,
    tokenizer: Tokenizer,
    scheduler: openvino_genai.SchedulerConfig,
    device: str,
    properties: dict[str, object],
) -> Pipeline:
    """A pipeline over the weights in a GGUF file."""
    made = _genai.ContinuousBatchingPipeline(path, tokenizer, scheduler, device, **properties)
    return cast("Pipeline", made)


def encode(tokenizer: Tokenizer, text: str) -> list[int]:
    """Tokens of ``text``; texts of control tokens become those tokens, and none are added."""
    made = cast("Any", tokenizer).encode(text, add_special_tokens=False)
    ids: list[int] = made.input_ids.data[0].tolist()
    return ids


def tensor(token_ids: Sequence[int]) -> openvino.Tensor:
    """A batch of one prompt."""
    return openvino.Tensor(np.array([token_ids], dtype=np.int64))


def available_devices() -> list[str]:
    """Names of the devices that OpenVINO can use here."""
    return list(openvino.Core().available_devices)


def versions() -> dict[str, str]:
    return {"openvino": openvino.__version__, "openvino_genai": _genai.__version__}
