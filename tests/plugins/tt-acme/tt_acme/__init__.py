"""A backend outside tt_compute: it imports ``tt_compute.types`` and satisfies the protocols by shape.

Its "model" writes random words at a steady pace, each sample in a task of its own.
"""

# pyright: strict

from __future__ import annotations

import asyncio
import random
import secrets
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import ClassVar, Self

import msgspec

from tt_compute.types import (
    API_VERSION,
    BackendEnv,
    Capabilities,
    Clock,
    ContextLengthError,
    Delta,
    DeploymentSpec,
    Event,
    FinishReason,
    GenerateRequest,
    GenerationClosed,
    InvalidRequestError,
    ModelInfo,
    Probe,
    Sample,
    Timing,
    UnsupportedError,
    Usage,
    sample_seed,
)

WORDS = ("anvil", "rocket", "magnet", "spring", "paint", "glue", "bird", "road")
MAX_CONTEXT_TOKENS = 256
CAPABILITIES = Capabilities(native_n=True, cancel="sample", seed="exact", streaming=True)


class AcmeOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The deployment's ``options:``."""

    words_per_s: float = 100.0


class AcmeBackend:
    """Satisfies ``tt_compute.backend.Backend``."""

    name: ClassVar[str] = "acme"
    api_version: ClassVar[int] = API_VERSION
    Options: ClassVar[type[AcmeOptions]] = AcmeOptions

    def __init__(self, options: AcmeOptions, clock: Clock) -> None:
        self._options = options
        self._clock = clock

    @classmethod
    def probe(cls) -> Probe:
        return Probe(available=True, version="1.2.0")

    @classmethod
    async def create(cls, spec: DeploymentSpec, env: BackendEnv) -> Self:
        return cls(msgspec.convert(spec.deployment.options, AcmeOptions), env.clock)

    async def models(self) -> Sequence[ModelInfo]:
        return [
            ModelInfo(
                id="acme-words", max_context_tokens=MAX_CONTEXT_TOKENS, capabilities=CAPABILITIES
            )
        ]

    @asynccontextmanager
    async def open(self, request: GenerateRequest) -> AsyncGenerator[AcmeGeneration, None]:
        check(request)
        generation = AcmeGeneration(request, self._clock, 1 / self._options.words_per_s)
        try:
            yield generation
        finally:
            generation.leave()

    async def aclose(self) -> None:
        pass


class Row:
    """One sample being written."""

    def __init__(self, index: int, drawn_at: float) -> None:
        self.index = index
        self.drawn_at = drawn_at
        self.first_at: float | None = None
        self.words: list[str] = []
        self.task: asyncio.Task[None] | None = None


class AcmeGeneration:
    """Satisfies ``tt_compute.backend.Generation``."""

    def __init__(self, request: GenerateRequest, clock: Clock, word_s: float) -> None:
        self._request = request
        self._clock = clock
        self._word_s = word_s
        self._prompt_tokens = count(request)
        self._seed = request.sampling.seed
        if self._seed is None:
            self._seed = secrets.randbits(31)
        self._rows: dict[int, Row] = {}
        self._events: deque[Event] = deque()
        self._news = asyncio.Event()
        self._drawn = 0
        self._left = False
        self._consumed = False
        self._alarm: asyncio.Task[None] | None = None
        if request.deadline is not None:
            self._alarm = asyncio.create_task(self._watch(request.deadline))

    def draw(self, n: int = 1) -> range:
        if self._left:
            raise GenerationClosed("the scope of the generation was left")
        indices = range(self._drawn, self._drawn + n)
        for index in indices:
            row = Row(index, self._clock.now())
            self._rows[index] = row
            if self._request.deadline is not None and row.drawn_at >= self._request.deadline:
                self._end(row, "deadline")
            else:
                row.task = asyncio.create_task(self._write(row))
        self._drawn += n
        return indices

    def cancel(self, index: int | None = None) -> None:
        for row in [row for row in self._rows.values() if index in {None, row.index}]:
            self._end(row, "cancelled")

    def leave(self) -> None:
        self.cancel()
        self._left = True
        if self._alarm is not None:
            self._alarm.cancel()

    def __aiter__(self) -> AcmeGeneration:
        return self

    async def __anext__(self) -> Event:
        if self._consumed:
            raise InvalidRequestError("two tasks iterate over one generation")
        self._consumed = True
        try:
            while not self._events:
                if not self._rows:
                    raise StopAsyncIteration
                self._news.clear()
                await self._news.wait()
            return self._events.popleft()
        finally:
            self._consumed = False

    async def _watch(self, deadline: float) -> None:
        await self._clock.sleep(deadline - self._clock.now())
        for row in list(self._rows.values()):
            self._end(row, "deadline")

    async def _write(self, row: Row) -> None:
        assert self._seed is not None
        rng = random.Random(sample_seed(self._seed, row.index))
        limit = self._request.sampling.max_tokens or MAX_CONTEXT_TOKENS - self._prompt_tokens
        for _ in range(limit):
            await self._clock.sleep(self._word_s)
            if row.first_at is None:
                row.first_at = self._clock.now()
            row.words.append(rng.choice(WORDS) + " ")
            if self._request.deltas != "none":
                self._emit(Delta(index=row.index, text=row.words[-1]))
        row.task = None
        self._end(row, "length")

    def _end(self, row: Row, reason: FinishReason) -> None:
        del self._rows[row.index]
        if row.task is not None:
            row.task.cancel()
        first_s = None if row.first_at is None else row.first_at - row.drawn_at
        self._emit(
            Sample(
                index=row.index,
                text="".join(row.words),
                finish_reason=reason,
                usage=Usage(
                    input_tokens=self._prompt_tokens if row.words else 0,
                    output_tokens=len(row.words),
                ),
                timing=Timing(first_token_s=first_s, total_s=self._clock.now() - row.drawn_at),
            )
        )

    def _emit(self, event: Event) -> None:
        self._events.append(event)
        self._news.set()


def count(request: GenerateRequest) -> int:
    """Words of the prompt."""
    return sum(len(message.text.split()) for message in request.messages)


def check(request: GenerateRequest) -> None:
    """Refuse what cannot be served, before anything is drawn."""
    sampling = request.sampling
    if not count(request):
        raise InvalidRequestError("the prompt is empty")
    if any("\ud800" <= sign <= "\udfff" for message in request.messages for sign in message.text):
        raise InvalidRequestError("the prompt holds half a surrogate pair")
    ranges = (
        (sampling.temperature, 0.0, 5.0),
        (sampling.top_p, 1e-9, 1.0),
        (sampling.top_k, 1, 1e9),
        (sampling.max_tokens, 1, 1e9),
        (sampling.logprobs, 0, 1e9),
        (sampling.presence_penalty, -2.0, 2.0),
        (sampling.frequency_penalty, -2.0, 2.0),
    )
    for value, low, high in ranges:
        if value is not None and not low <= value <= high:
            raise InvalidRequestError(f"{value} is not in [{low:g}, {high:g}]")
    if (
        request.response_format is not None
        or request.tools
        or request.continue_assistant
        or sampling.stop
        or sampling.logprobs
    ):
        raise UnsupportedError("acme writes plain words and nothing else")
    if count(request) + (sampling.max_tokens or 1) > MAX_CONTEXT_TOKENS:
        raise ContextLengthError(f"more than {MAX_CONTEXT_TOKENS} words")
