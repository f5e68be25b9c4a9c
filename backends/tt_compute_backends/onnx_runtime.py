"""ONNX Runtime behind the engine's seam, in our own decode loop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from tt_compute.errors import ModelLoadError
from tt_compute_backends.engine.runtime import LoadRequest
from tt_compute_backends.llama.outputs import Output
from tt_compute_backends.loop.options import loop_capabilities, loop_memory
from tt_compute_backends.loop.runtime import LoopModel, LoopRuntime
from tt_compute_backends.onnx_files import GRAPH_FILE, HEAD_FILE, HIDDEN, LOGITS
from tt_compute_backends.onnx_forward import GraphOutput, GraphShape, OnnxForward
from tt_compute_backends.onnx_library import Session, new_session, provider_name, version
from tt_compute_backends.onnx_model import read_graph
from tt_compute_backends.onnx_readable import context_tokens, read_output, read_readable
from tt_compute_backends.onnxruntime import OnnxRuntimeOptions
from tt_compute_backends.text.model import open_text

__all__ = ["OnnxRuntime"]


class OnnxRuntime(LoopRuntime):
    """Satisfies ``engine.runtime.Runtime`` and ``ReadingRuntime``."""

    def __init__(self) -> None:
        super().__init__(_load)


def _load(request: LoadRequest) -> LoopModel:
    options = msgspec.convert(request.options, OnnxRuntimeOptions)
    folder = Path(request.model_path)
    shape = read_graph(folder)
    output = _checked_output(folder, shape)
    generates = output == "tokens"
    text = open_text(folder, chat_template=request.chat_template, generates=generates)
    open_graph = _opener(folder, request, options)
    states = _states(folder, output, shape)
    forward = OnnxForward(
        open_graph(GRAPH_FILE),
        shape,
        states,
        (lambda: open_graph(HEAD_FILE)) if states is shape.hidden else None,
        alone=options.reproducible,
    )
    return LoopModel(
        forward=forward,
        text=text,
        capabilities=loop_capabilities(options, generates=generates),
        memory=loop_memory(
            options,
            request,
            context_tokens=context_tokens(folder, shape.positions),
            kv_bytes_per_token=forward.kv_bytes_per_token,
            free_bytes=forward.free_bytes(),
        ),
        versions={"onnxruntime": version()},
        readable=(
            None
            if states is None
            else read_readable(
                folder,
                output,
                forward,
                states.width,
                text,
                step_separator=options.step_separator,
                logits=forward.logits,
            )
        ),
    )


def _opener(
    folder: Path, request: LoadRequest, options: OnnxRuntimeOptions
) -> Callable[[str], Session]:
    wanted = options.providers or {request.device: {}}

    def open_graph(file: str) -> Session:
        return new_session(
            folder / file,
            threads=request.threads,
            providers=[(provider_name(name), settings) for name, settings in wanted.items()],
            settings=options.session,
        )

    return open_graph


def _checked_output(folder: Path, shape: GraphShape) -> Output:
    output = read_output(folder)
    wanted = LOGITS if output == "tokens" else HIDDEN
    if (shape.logits if output == "tokens" else shape.hidden) is None:
        raise ModelLoadError(f"{folder / GRAPH_FILE} has no output {wanted}, which its model needs")
    return output


def _states(folder: Path, output: Output, shape: GraphShape) -> GraphOutput | None:
    """Logits of all tokens where other programs wrote the graph; None = it gives those of the last one only."""
    if output != "tokens" or (folder / HEAD_FILE).is_file():
        return shape.hidden
    return shape.logits if shape.logits is not None and shape.logits.all_positions else None
