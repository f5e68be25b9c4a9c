"""ONNX Runtime behind the engine's seam, in our own decode loop."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tt_compute_backends.engine.runtime import LoadRequest
from tt_compute_backends.loop.options import loop_capabilities, loop_memory
from tt_compute_backends.loop.runtime import LoopModel, LoopRuntime
from tt_compute_backends.onnx_forward import OnnxForward
from tt_compute_backends.onnx_graph import GRAPH_FILE
from tt_compute_backends.onnx_library import new_session, provider_name, version
from tt_compute_backends.onnx_model import read_graph
from tt_compute_backends.onnxruntime import OnnxRuntimeOptions
from tt_compute_backends.text.folder import read_json
from tt_compute_backends.text.model import open_text

__all__ = ["OnnxRuntime"]

_DEFAULT_CONTEXT_TOKENS = 2048


class OnnxRuntime(LoopRuntime):
    """Satisfies ``engine.runtime.Runtime``."""

    def __init__(self) -> None:
        super().__init__(_load)


def _load(request: LoadRequest) -> LoopModel:
    options = msgspec.convert(request.options, OnnxRuntimeOptions)
    folder = Path(request.model_path)
    shape = read_graph(folder)
    text = open_text(folder, chat_template=request.chat_template)
    wanted = options.providers or {request.device: {}}
    session = new_session(
        folder / GRAPH_FILE,
        threads=request.threads,
        providers=[(provider_name(name), settings) for name, settings in wanted.items()],
        settings=options.session,
    )
    forward = OnnxForward(session, shape)
    return LoopModel(
        forward=forward,
        text=text,
        capabilities=loop_capabilities(options),
        memory=loop_memory(
            options,
            request,
            context_tokens=_context_tokens(folder),
            kv_bytes_per_token=forward.kv_bytes_per_token,
            free_bytes=forward.free_bytes(),
        ),
        versions={"onnxruntime": version()},
    )


def _context_tokens(folder: Path) -> int:
    value: object = read_json(folder / "config.json").get("max_position_embeddings")
    return value if isinstance(value, int) and value > 0 else _DEFAULT_CONTEXT_TOKENS
