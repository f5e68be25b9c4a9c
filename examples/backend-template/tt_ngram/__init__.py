"""A backend for tt-compute: samples of one prompt advance together, a word at each step."""

from __future__ import annotations

import math
import random
import secrets
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, ClassVar, Self

import msgspec

from tt_compute import types as tt
from tt_compute.checks import check_request
from tt_ngram.model import Ngram

CONTEXT_TOKENS = 512
CAPABILITIES = tt.Capabilities(
    native_n=True,
    cancel="sample",
    seed="exact",
    streaming=True,
    max_logprobs=1,
    ignored_params=("top_p", "top_k", "presence_penalty", "frequency_penalty"),
)


class NgramOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The deployment's ``options:``."""

    context_words: Annotated[int, msgspec.Meta(ge=1, le=8)] = 2
    steps_per_s: Annotated[float, msgspec.Meta(gt=0)] = math.inf


class NgramBackend:
    """Satisfies ``tt_compute.backend.Backend``."""

    name: ClassVar[str] = "ngram"
    api_version: ClassVar[int] = tt.API_VERSION
    Options: ClassVar[type[NgramOptions]] = NgramOptions

    def __init__(self, options: NgramOptions, clock: tt.Clock) -> None:
        self.model = Ngram(options.context_words)
        self.step_s = 1 / options.steps_per_s
        self.clock = clock

    @classmethod
    def probe(cls) -> tt.Probe:
        return tt.Probe(available=True, version="1.2.0")

    @classmethod
    async def create(cls, spec: tt.DeploymentSpec, env: tt.BackendEnv) -> Self:
        return cls(msgspec.convert(spec.deployment.options, NgramOptions), env.clock)

    async def models(self) -> Sequence[tt.ModelInfo]:
        return [
            tt.ModelInfo(id="ngram", max_context_tokens=CONTEXT_TOKENS, capabilities=CAPABILITIES)
        ]

    @asynccontextmanager
    async def open(self, request: tt.GenerateRequest) -> AsyncGenerator[NgramGeneration, None]:
        check_request(request, CAPABILITIES)
        generation = NgramGeneration(request, self)
        try:
            yield generation
        finally:
            generation.leave()

    async def aclose(self) -> None:
        """Nothing is held that the garbage collector would not free."""


class Row:
    """One sample that is being written."""

    def __init__(self, index: int, words: Iterator[tuple[str, float]], drawn_at: float) -> None:
        self.index, self.words, self.drawn_at = index, words, drawn_at
        self.tokens: list[tt.TokenLogprob] = []
        self.first_token_s: float | None = None


class NgramGeneration:
    """Satisfies ``tt_compute.backend.Generation``; whoever iterates drives the steps."""

    def __init__(self, request: tt.GenerateRequest, backend: NgramBackend) -> None:
        self._request, self._backend, self._sampling = request, backend, request.sampling
        self._prompt = [word for message in request.messages for word in message.text.split()]
        room = CONTEXT_TOKENS - len(self._prompt)
        self._limit = room if self._sampling.max_tokens is None else self._sampling.max_tokens
        if not 0 < self._limit <= room:
            raise tt.ContextLengthError(f"{len(self._prompt)} words leave {room} tokens of context")
        seed, heat = self._sampling.seed, self._sampling.temperature
        self._seed = secrets.randbits(31) if seed is None else seed
        self._temperature = 1.0 if heat is None else heat
        self._rows: dict[int, Row] = {}
        self._events: deque[tt.Event] = deque()
        self._drawn, self._left, self._iterated = 0, False, False

    def draw(self, n: int = 1) -> range:
        if self._left:
            raise tt.GenerationClosed("the scope of the generation was left")
        indices = range(self._drawn, self._drawn + n)
        self._drawn += n
        for index in indices:
            rng = random.Random(tt.sample_seed(self._seed, index))
            words = self._backend.model.write(self._prompt, self._temperature, rng)
            self._rows[index] = Row(index, words, self._backend.clock.now())
        return indices

    def cancel(self, index: int | None = None) -> None:
        for row in [row for row in self._rows.values() if index in {None, row.index}]:
            self._end(row, "cancelled")

    def leave(self) -> None:
        self.cancel()
        self._left = True

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> tt.Event:
        if self._iterated:
            raise tt.InvalidRequestError("two tasks iterate over one generation")
        self._iterated = True
        try:
            while not self._events:
                if not self._rows:
                    raise StopAsyncIteration
                await self._step()
            return self._events.popleft()
        finally:
            self._iterated = False

    async def _step(self) -> None:
        clock, deadline = self._backend.clock, self._request.deadline
        left_s = math.inf if deadline is None else max(0.0, deadline - clock.now())
        await clock.sleep(min(self._backend.step_s, left_s))
        for row in list(self._rows.values()):
            if deadline is not None and clock.now() >= deadline:
                self._end(row, "deadline")
            else:
                self._advance(row, clock.now())

    def _advance(self, row: Row, now: float) -> None:
        text, logprob = next(row.words)
        row.tokens.append(tt.TokenLogprob(token=text, logprob=logprob))
        row.first_token_s = now - row.drawn_at if row.first_token_s is None else row.first_token_s
        if self._request.deltas != "none":
            logprobs = (row.tokens[-1],) if self._sampling.logprobs else ()
            self._events.append(tt.Delta(index=row.index, text=text, logprobs=logprobs))
        if not text or len(row.tokens) == self._limit:
            self._end(row, "length" if text else "stop")

    def _end(self, row: Row, reason: tt.FinishReason) -> None:
        del self._rows[row.index]
        input_tokens = len(self._prompt) if row.tokens else 0
        total_s = self._backend.clock.now() - row.drawn_at
        sample = tt.Sample(
            index=row.index,
            text="".join(token.token for token in row.tokens),
            finish_reason=reason,
            usage=tt.Usage(input_tokens=input_tokens, output_tokens=len(row.tokens)),
            timing=tt.Timing(first_token_s=row.first_token_s, total_s=total_s),
            logprobs=tuple(row.tokens) if self._sampling.logprobs else (),
        )
        self._events.append(sample)
