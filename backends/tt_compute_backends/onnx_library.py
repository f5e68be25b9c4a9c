"""The one place that imports ONNX Runtime, with types for what is used of it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, cast

from numpy.typing import NDArray

from tt_compute.errors import ModelLoadError

__all__ = ["Binding", "Session", "available_providers", "new_session", "provider_name", "version"]

_library: Any = importlib.import_module("onnxruntime")
_SHORT: Final = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "rocm": "ROCMExecutionProvider",
    "migraphx": "MIGraphXExecutionProvider",
    "dml": "DmlExecutionProvider",
    "directml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "qnn": "QNNExecutionProvider",
    "webgpu": "WebGpuExecutionProvider",
    "xnnpack": "XnnpackExecutionProvider",
}
_ERRORS_ONLY: Final = 3
"""Log level; warnings would be told to nobody."""


class NodeArg(Protocol):
    """An input or output of a graph."""

    @property
    def name(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def shape(self) -> Sequence[int | str | None]: ...


class Binding(Protocol):
    """Which memory a run reads and writes."""

    def bind_input(  # noqa: PLR0917 - the library's own
        self, name: str, device: str, device_id: int, kind: Any, shape: Sequence[int], pointer: int
    ) -> None: ...

    def bind_output(  # noqa: PLR0917 - the library's own
        self, name: str, device: str, device_id: int, kind: Any, shape: Sequence[int], pointer: int
    ) -> None: ...


class Session(Protocol):
    """A loaded graph; while it runs other threads do, too."""

    def run(
        self, outputs: Sequence[str], inputs: Mapping[str, NDArray[Any]]
    ) -> Sequence[NDArray[Any]]: ...
    def io_binding(self) -> Binding: ...
    def run_with_iobinding(self, binding: Binding) -> None: ...
    def get_inputs(self) -> Sequence[NodeArg]: ...
    def get_outputs(self) -> Sequence[NodeArg]: ...


def available_providers() -> list[str]:
    """Of this build, the preferred ones first."""
    return list(_library.get_available_providers())


def provider_name(wanted: str) -> str:
    """The library's name of a provider that a user names ``cuda`` or ``CUDAExecutionProvider``.

    Raises:
        ModelLoadError: This build has no such provider.
    """
    name = _SHORT.get(wanted.lower(), wanted)
    available = available_providers()
    if name not in available:
        raise ModelLoadError(
            f"execution provider {wanted!r} is not in this onnxruntime; it has {', '.join(available)}",
            hint="install the build that has it (such as onnxruntime-gpu), or change options.providers",
        )
    return name


def new_session(
    graph: Path,
    *,
    threads: int | None,
    providers: Sequence[tuple[str, Mapping[str, str]]],
    settings: Mapping[str, str],
) -> Session:
    """Load a graph.

    Args:
        graph: The file; its weights lie beside it.
        threads: For one operator; None = the library's choice.
        providers: The library's names with their options, the preferred one first.
        settings: Session configuration entries.

    Raises:
        ModelLoadError: The library refused it.
    """
    options = _library.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    if threads is not None:
        options.intra_op_num_threads = threads
    for key, value in settings.items():
        options.add_session_config_entry(key, value)
    named = [(name, dict(given)) for name, given in providers]
    try:
        return cast("Session", _library.InferenceSession(str(graph), options, providers=named))
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelLoadError(f"ONNX Runtime cannot load {graph}: {lines[0]}") from error


def version() -> str:
    return str(_library.__version__)
