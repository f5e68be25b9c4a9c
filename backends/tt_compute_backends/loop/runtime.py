"""Our own decode loop as a runtime of the engine: any ``Forward``, any tokeniser, one row per sample."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from tt_compute.errors import OutOfMemory, UnsupportedError
from tt_compute.types import Capabilities, GenerateRequest
from tt_compute_backends.engine.runtime import (
    Loaded,
    LoadRequest,
    Prompt,
    Reading,
    RowParams,
    RowStep,
    Vectors,
)
from tt_compute_backends.loop.batch import Batch, Memory
from tt_compute_backends.loop.forward import Forward
from tt_compute_backends.loop.grammar import Grammars
from tt_compute_backends.loop.readable import Readable
from tt_compute_backends.loop.reading import TextReader
from tt_compute_backends.loop.rows import LoopRow
from tt_compute_backends.text.model import TextModel
from tt_compute_backends.text.prompts import PromptReader
from tt_compute_backends.text.sequences import SequenceReader

__all__ = ["LoopModel", "LoopRuntime"]


@dataclass(frozen=True, kw_only=True)
class LoopModel:
    """What a library has loaded."""

    forward: Forward[Any]
    text: TextModel
    capabilities: Capabilities
    memory: Memory
    versions: dict[str, str]
    readable: Readable | None = None
    """The same model, where texts can be read with it; None = it gives no hidden states."""


class LoopRuntime:
    """Satisfies ``engine.runtime.Runtime`` and ``ReadingRuntime``.

    Args:
        load_model: Loads a model; raises ModelLoadError.
        now: Monotonic seconds, for the loading time.
    """

    def __init__(
        self,
        load_model: Callable[[LoadRequest], LoopModel],
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._load_model = load_model
        self._now = now
        self._running: _Running | None = None

    def load(self, request: LoadRequest) -> Loaded:
        started = self._now()
        model = self._load_model(request)
        self._running = _Running(model)
        return Loaded(
            max_context_tokens=model.memory.max_tokens,
            capabilities=model.capabilities,
            load_s=self._now() - started,
            versions=model.versions,
        )

    def prepare(self, request: GenerateRequest) -> Prompt:
        return self._loaded().prompts.read(request)

    def has_room(self, prompt: Prompt) -> bool:
        return self._loaded().has_room(prompt)

    def add(self, row: int, prompt: Prompt, params: RowParams) -> None:
        self._loaded().add(row, prompt, params)

    def cancel(self, row: int) -> None:
        self._loaded().batch.remove(row)

    def step(self) -> list[RowStep]:
        return self._loaded().batch.step()

    def reset(self) -> None:
        self._loaded().batch.clear()

    def read(self, reading: Reading) -> Generator[None, None, Vectors]:
        reader = self._loaded().reader
        if reader is None:
            raise UnsupportedError(
                "the graph gives what follows a text, and nothing of the text itself",
                hint="give the model's GGUF file or Hugging Face folder, which is converted",
            )
        return reader.read(reading)

    def close(self) -> None:
        if self._running is not None:
            self._running.batch.clear()
            self._running.model.forward.close()
            self._running = None

    def _loaded(self) -> _Running:
        assert self._running is not None, "load() comes first, and nothing after close()"
        return self._running


class _Running:
    """A model with its rows."""

    def __init__(self, model: LoopModel) -> None:
        self.model = model
        self.batch: Batch[Any] = Batch(model.forward, model.memory)
        self.reader = None if model.readable is None else _reader(model, model.readable, self.batch)
        self._grammars = Grammars(
            model.text.tokenizer_json, model.text.end_tokens, model.forward.vocabulary_size
        )
        self.prompts = PromptReader(
            encode=model.text.encode,
            render=model.text.render,
            control_texts=model.text.control_tokens.values(),
            context_tokens=model.memory.max_tokens,
            longest_token_bytes=model.text.table.longest_bytes,
            capabilities=model.capabilities,
            check_schema=self._grammars.check,
        )

    def has_room(self, prompt: Prompt) -> bool:
        """As ``Runtime.has_room``."""
        claimed = 0 if self.reader is None else self.reader.claimed_bytes
        return self.batch.has_room(prompt.token_ids, claimed)

    def add(self, row: int, prompt: Prompt, params: RowParams) -> None:
        """Start a row.

        Raises:
            OutOfMemory: There is no room for its prompt.
        """
        forward, text = self.model.forward, self.model.text
        matcher = None if params.json_schema is None else self._grammars.matcher(params.json_schema)
        if not self.batch.has_room(prompt.token_ids):
            raise _no_room(prompt, self.model.memory)
        held = self.batch.prompts.holds(prompt.token_ids)
        try:
            state = self.batch.prompts.enter(prompt.token_ids)
        except forward.out_of_memory as error:
            raise _no_room(prompt, self.model.memory) from error
        started = LoopRow(
            row,
            state,
            found_computed=held and state.finished,
            params=params,
            table=text.table,
            end_tokens=text.end_tokens,
            matcher=matcher,
        )
        self.batch.add(started)


def _reader(model: LoopModel, readable: Readable, batch: Batch[Any]) -> TextReader:
    return TextReader(
        readable,
        SequenceReader(model.text, model.memory.max_tokens),
        model.memory,
        lambda: batch.live_bytes,
    )


def _no_room(prompt: Prompt, memory: Memory) -> OutOfMemory:
    return OutOfMemory(
        f"a prompt of {len(prompt.token_ids)} tokens does not fit into the engine's "
        f"{memory.budget_bytes} bytes for keys and values",
        hint="raise placement.memory_bytes, or shorten the prompt",
    )
