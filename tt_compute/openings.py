"""The prompts of one run: the request's own, and those that its strategy opens besides."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from typing import cast

import msgspec

from tt_compute.backend import Generation
from tt_compute.dispatch.dispatcher import Dispatcher
from tt_compute.dispatch.ledger import Ledger
from tt_compute.dispatch.spend import Cap
from tt_compute.errors import GenerationClosed, InvalidRequestError
from tt_compute.types import (
    Deltas,
    DeploymentSpec,
    Event,
    GenerateRequest,
    Message,
    SamplingParams,
    sample_seed,
)

__all__ = ["Openings", "Rung"]


class Rung(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment that a run may use."""

    spec: DeploymentSpec
    sampling: SamplingParams
    """How samples are drawn there, unless a strategy says otherwise."""
    alternates: tuple[DeploymentSpec, ...] = ()
    """Where its samples go that fail, the next best first."""


class Openings:
    """Opens prompts, numbers their samples in one row, and keeps one account of them all.

    Each prompt after the first has a seed of its own, so that a prompt opened twice gives other samples.

    Args:
        request: The run's.
        rungs: The deployments; the first is where the request's own prompt goes.
        dispatcher: Opens them.
        ledger: Of the run.
        cap: Of what the run may spend.
    """

    def __init__(
        self,
        request: GenerateRequest,
        rungs: Sequence[Rung],
        *,
        dispatcher: Dispatcher,
        ledger: Ledger,
        cap: Cap | None,
    ) -> None:
        self._request = request
        self._rungs = rungs
        self._dispatcher = dispatcher
        self._ledger = ledger
        self._cap = cap
        self._prompts = count(1)
        self._row = _Row()
        self._live: dict[int, Generation] = {}

    @property
    def served_by(self) -> Mapping[int, str]:
        """Deployment that each sample that ended came from."""
        return self._row.served_by

    @property
    def elsewhere(self) -> frozenset[int]:
        """Samples of other prompts than the request's own, and of other deployments of the plan."""
        return frozenset(self._row.elsewhere)

    @asynccontextmanager
    async def first(self) -> AsyncGenerator[Generation, None]:
        """The request's own prompt; once it is left nothing is drawn at any other either."""
        try:
            async with self._open(self._rungs[0], self._request) as generation:
                yield generation
        finally:
            self._row.closed = True
            # What a strategy left open, or what a task of its own still holds.
            self.interrupt()

    def further(
        self,
        messages: tuple[Message, ...],
        *,
        rung: int = 0,
        sampling: SamplingParams | None = None,
        continue_assistant: bool = False,
        deltas: Deltas = "none",
    ) -> AbstractAsyncContextManager[Generation]:
        """As ``tt_compute.strategies.base.Opener`` has it."""
        if not 0 <= rung < len(self._rungs):
            raise InvalidRequestError(f"there is no rung {rung}; this run has {len(self._rungs)}")
        _check_messages(messages)
        where = self._rungs[rung]
        chosen = sampling or where.sampling
        seed = chosen.seed if chosen.seed is not None else self._request.sampling.seed
        if seed is not None:
            chosen = msgspec.structs.replace(chosen, seed=sample_seed(seed, -next(self._prompts)))
        request = msgspec.structs.replace(
            self._request,
            messages=tuple(messages),
            sampling=chosen,
            continue_assistant=continue_assistant,
            deltas=deltas,
        )
        return self._open(where, request)

    def interrupt(self) -> None:
        """Cancel all that is live, at every prompt, and from now on whatever is drawn."""
        self._row.interrupted = True
        for generation in self._live.values():
            generation.cancel()

    @asynccontextmanager
    async def _open(self, rung: Rung, request: GenerateRequest) -> AsyncGenerator[Generation, None]:
        self._row.check_open()
        account = self._ledger.account()
        own = request.messages == self._request.messages and not request.continue_assistant
        whole = own and rung is self._rungs[0]
        async with self._dispatcher.open(
            rung.spec, request, account, alternates=rung.alternates, cap=self._cap
        ) as generation:
            self._live[id(generation)] = generation
            try:
                yield _Numbered(generation, self._row, account.served_by, whole=whole)
            finally:
                del self._live[id(generation)]


def _check_messages(messages: object) -> None:
    """Refuse what a strategy of somebody else's may pass and no type checker saw.

    Raises:
        InvalidRequestError: They are no messages.
    """
    listed = cast("Sequence[object]", messages) if isinstance(messages, tuple | list) else ()
    if not listed or not all(isinstance(one, Message) for one in listed):
        raise InvalidRequestError(
            f"a further prompt is messages, got {messages!r:.80}",
            hint="such as (tt.Message(role='user', content='...'),)",
        )


class _Row:
    """The run's samples, in the order of drawing."""

    def __init__(self) -> None:
        self._drawn = 0
        self.interrupted = False
        """Whether what is drawn is cancelled at once."""
        self.closed = False
        """Whether the run is over."""
        self.served_by: dict[int, str] = {}
        self.elsewhere: set[int] = set()

    def check_open(self) -> None:
        """Refuse what a receipt would no longer hold.

        Raises:
            GenerationClosed: The run is over.
        """
        if self.closed:
            raise GenerationClosed("the run of this prompt is over")

    def take(self, count: int, *, whole: bool) -> range:
        numbers = range(self._drawn, self._drawn + count)
        self._drawn += count
        if not whole:
            self.elsewhere.update(numbers)
        return numbers


class _Numbered:
    """A generation whose samples have their numbers in the run.

    Args:
        generation: Numbers its own from 0.
        row: Of the run.
        served_by: Deployment of each sample that ended, by its own number.
        whole: Whether its samples answer the request's own prompt.
    """

    def __init__(
        self, generation: Generation, row: _Row, served_by: Mapping[int, str], *, whole: bool
    ) -> None:
        self._generation = generation
        self._row = row
        self._served_by = served_by
        self._whole = whole
        self._numbers: list[int] = []
        self._own: dict[int, int] = {}
        self._events: AsyncIterator[Event] | None = None

    def draw(self, n: int = 1) -> range:
        self._row.check_open()
        own = self._generation.draw(n)
        numbers = self._row.take(len(own), whole=self._whole)
        self._numbers.extend(numbers)
        self._own.update(zip(numbers, own, strict=True))
        if self._row.interrupted:
            for index in own:
                self._generation.cancel(index)
        return numbers

    def cancel(self, index: int | None = None) -> None:
        if index is None:
            self._generation.cancel()
        elif index in self._own:
            self._generation.cancel(self._own[index])

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        if self._events is None:
            self._events = aiter(self._generation)
        try:
            event = await anext(self._events)
        except StopAsyncIteration:
            self._events = None
            raise
        number = self._numbers[event.index]
        served_by = self._served_by.get(event.index)
        if served_by is not None:
            self._row.served_by[number] = served_by
        return event if number == event.index else msgspec.structs.replace(event, index=number)
