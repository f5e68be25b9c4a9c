"""OpenVINO behind the engine's seam for models that do not generate: it reads the graph that ONNX Runtime runs, too."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from pathlib import Path

import msgspec

from tt_compute.checks import draws_nothing
from tt_compute.errors import ModelLoadError
from tt_compute.types import GenerateRequest
from tt_compute_backends.engine.runtime import (
    Loaded,
    LoadRequest,
    Prompt,
    Reading,
    RowParams,
    RowStep,
    Vectors,
)
from tt_compute_backends.loop.options import LoopOptions, loop_capabilities, loop_memory
from tt_compute_backends.loop.reading import TextReader
from tt_compute_backends.onnx_files import GRAPH_FILE
from tt_compute_backends.onnx_readable import context_tokens, read_output, read_readable
from tt_compute_backends.openvino import OpenVinoOptions
from tt_compute_backends.openvino_device import check_device, compute_properties, refused
from tt_compute_backends.openvino_forward import OpenVinoForward
from tt_compute_backends.openvino_library import LIBRARY_ERRORS, Graph, new_graph, versions
from tt_compute_backends.text.model import open_text
from tt_compute_backends.text.sequences import SequenceReader

__all__ = ["OpenVinoReader"]


class OpenVinoReader:
    """Satisfies ``engine.runtime.Runtime``, without rows, and ``ReadingRuntime``.

    Args:
        now: Monotonic seconds, for the loading time.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._model: _ReadingModel | None = None

    def load(self, request: LoadRequest) -> Loaded:
        started = self._now()
        self._model = _ReadingModel(request)
        return Loaded(
            max_context_tokens=self._model.max_tokens,
            capabilities=self._model.capabilities,
            load_s=self._now() - started,
            versions=versions(),
        )

    def read(self, reading: Reading) -> Generator[None, None, Vectors]:
        assert self._model is not None, "load() comes first, and nothing after close()"
        return self._model.reader.read(reading)

    def close(self) -> None:
        if self._model is not None:
            self._model.forward.close()
            self._model = None

    # --- rows, of which there are none -----------------------------------------------------------

    def prepare(self, request: GenerateRequest) -> Prompt:  # noqa: ARG002 - Runtime's shape
        raise draws_nothing()

    def has_room(self, prompt: Prompt) -> bool:  # noqa: ARG002 - Runtime's shape
        return True

    def add(self, row: int, prompt: Prompt, params: RowParams) -> None:
        """Never called: no prompt was prepared."""

    def cancel(self, row: int) -> None:
        """Unknown rows are ignored."""

    def step(self) -> list[RowStep]:
        return []

    def reset(self) -> None:
        """A failed reading has left nothing behind."""


class _ReadingModel:
    def __init__(self, request: LoadRequest) -> None:
        options = msgspec.convert(request.options, OpenVinoOptions)
        folder = Path(request.model_path)
        output = read_output(folder)
        text = open_text(folder, chat_template=request.chat_template, generates=False)
        path = folder / GRAPH_FILE
        graph = _graph(path, request, options)
        self.forward = OpenVinoForward(graph, path, alone=options.reproducible)
        loop_options = LoopOptions(
            reproducible=options.reproducible,
            cache_bytes=options.cache_bytes,
            batched_tokens=options.batched_tokens,
        )
        memory = loop_memory(
            loop_options,
            request,
            context_tokens=context_tokens(folder, graph.positions),
            kv_bytes_per_token=self.forward.kv_bytes_per_token,
            free_bytes=self.forward.free_bytes(),
        )
        self.capabilities = loop_capabilities(loop_options, generates=False)
        self.max_tokens = memory.max_tokens
        readable = read_readable(
            folder,
            output,
            self.forward,
            self.forward.hidden_size,
            text,
            step_separator=options.step_separator,
        )
        sequences = SequenceReader(text, memory.max_tokens)
        self.reader = TextReader(readable, sequences, memory, lambda: 0)


def _graph(path: Path, request: LoadRequest, options: OpenVinoOptions) -> Graph:
    check_device(request.device)
    if not path.is_file():
        raise ModelLoadError(f"{path} is missing")
    try:
        return new_graph(str(path), request.device, compute_properties(request, options))
    except LIBRARY_ERRORS as error:
        raise refused(path, request.device, error) from error
