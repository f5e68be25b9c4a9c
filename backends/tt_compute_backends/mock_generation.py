"""A live prompt of the mock: every event's time is known in advance, so no task runs behind it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from typing import Literal

import anyio
import anyio.lowlevel

from tt_compute.backend import second_consumer
from tt_compute.types import (
    BackendError,
    Clock,
    Delta,
    Event,
    GenerateRequest,
    GenerationClosed,
    InvalidRequestError,
)
from tt_compute_backends.mock_account import Account
from tt_compute_backends.mock_replies import ReplyMaker
from tt_compute_backends.mock_row import TICK_S, Row

__all__ = ["MockGeneration"]

Timed = tuple[float, int, int, Event]
"""When, after how many tokens of its sample, of which sample, what."""


class MockGeneration:
    """Satisfies ``tt_compute.backend.Generation``.

    What the samples have become is worked out whenever somebody looks: at a step of the iterator, at a
    cancel, at the end of the scope.

    Args:
        request: A checked request.
        replies: What each sample will be.
        account: Of the deployment.
        clock: Whose time the samples take.
        input_tokens: Of the prompt.
        share_prefill: Book the prompt on the first sample only.
        stream: Whether deltas are made.
    """

    def __init__(
        self,
        request: GenerateRequest,
        replies: ReplyMaker,
        account: Account,
        *,
        clock: Clock,
        input_tokens: int,
        share_prefill: bool,
        stream: bool,
    ) -> None:
        self._replies = replies
        self._account = account
        self._clock = clock
        self._deadline = math.inf if request.deadline is None else request.deadline
        self._input_tokens = input_tokens
        self._share_prefill = share_prefill
        self._stream = stream
        self._delta_logprobs = request.deltas == "logprobs"
        self._rows: dict[int, Row] = {}
        self._events: deque[Event] = deque()
        self._drawn = 0
        self._prefilled = False
        self._lost: BackendError | None = None
        self._closed = False
        self._consuming = False
        self._nap: anyio.CancelScope | None = None

    def draw(self, n: int = 1) -> range:
        if self._closed:
            raise GenerationClosed("draw after the generation's scope was left")
        if n < 0:
            raise InvalidRequestError(f"draw({n}): the number of samples cannot be negative")
        indices = range(self._drawn, self._drawn + n)
        now = self._clock.now()
        for index in indices:
            reply = self._replies.serve(
                index, self._account, now=now, input_tokens=self._input_tokens
            )
            self._rows[index] = Row(index, reply, now)
        self._drawn += n
        if self._lost is not None:
            self._lose(now, self._lost)
        self._wake()
        return indices

    def cancel(self, index: int | None = None) -> None:
        now = self._clock.now()
        self._advance(now, awaited=False)
        for row in [row for row in self._rows.values() if index in {None, row.index}]:
            self._end(row, min(now, self._deadline), "cancelled")
        self._wake()

    def close(self) -> None:
        """End everything; called when the scope is left."""
        self.cancel()
        self._closed = True

    def __aiter__(self) -> MockGeneration:
        return self

    async def __anext__(self) -> Event:
        if self._consuming:
            raise second_consumer()
        self._consuming = True
        try:
            return await self._next()
        finally:
            self._consuming = False

    async def _next(self) -> Event:
        if not self._events:
            # Instant replies must not starve the event loop.
            await anyio.lowlevel.checkpoint()
        while not self._events:
            self._advance(self._clock.now(), awaited=True)
            if self._events:
                break
            if self._lost is not None and not self._closed:
                raise self._lost
            if not self._rows:
                raise StopAsyncIteration
            await self._sleep_until(self._next_time())
        return self._events.popleft()

    def _wake(self) -> None:
        if self._nap is not None:
            self._nap.cancel()

    async def _sleep_until(self, time: float) -> None:
        try:
            with anyio.CancelScope() as self._nap:
                if time == math.inf:
                    await anyio.sleep_forever()
                await self._clock.sleep(time - self._clock.now())
        finally:
            self._nap = None

    def _next_time(self) -> float:
        times = (row.next_time(stream=self._stream) for row in self._rows.values())
        return min(self._deadline, *times)

    def _advance(self, now: float, *, awaited: bool) -> None:
        """Bring every sample to ``now``: its new deltas and, if it has ended, its end."""
        horizon = min(now, self._deadline)
        for row in self._rows.values():
            if row.has_begun(horizon, awaited=awaited):
                self._admit(row)
        admitted = [row for row in self._rows.values() if row.admitted]
        killer = min(admitted, key=lambda row: row.kills_at, default=None)
        if killer and killer.reply.strike and killer.kills_at <= horizon + TICK_S:
            self._tell(admitted, killer.kills_at)
            self._lose(killer.kills_at, killer.reply.strike.error)
            return
        self._tell(admitted, horizon)
        if now + TICK_S >= self._deadline:
            for row in list(self._rows.values()):
                self._end(row, self._deadline, "deadline")

    def _tell(self, rows: list[Row], time: float) -> None:
        """Queue what happened to the rows by ``time``, in the order in which it happened."""
        timed = [event for row in rows for event in self._events_of(row, time)]
        timed.sort(key=lambda entry: entry[:3])
        for _, _, index, event in timed:
            self._events.append(event)
            if not isinstance(event, Delta):
                del self._rows[index]

    def _admit(self, row: Row) -> None:
        if row.admitted:
            return
        row.admitted = True
        if row.reply.billed and not (self._prefilled and self._share_prefill):
            row.input_tokens = self._input_tokens
            self._prefilled = True

    def _events_of(self, row: Row, time: float) -> Iterator[Timed]:
        if self._stream:
            for made, delta in row.deltas(time, logprobs=self._delta_logprobs):
                yield row.time_of(made), made, row.index, delta
        if row.has_ended(time):
            yield row.ends_at, row.made_at(time) + 1, row.index, row.natural_end()

    def _end(self, row: Row, time: float, reason: Literal["cancelled", "deadline"]) -> None:
        """End a live sample from outside."""
        self._flush(row, time)
        self._events.append(row.sample(time, reason))
        del self._rows[row.index]

    def _lose(self, time: float, error: BackendError) -> None:
        """Fail every live sample: the engine is gone."""
        self._lost = error
        for row in self._rows.values():
            self._flush(row, time)
            self._events.append(row.failed(time, error))
        self._rows.clear()

    def _flush(self, row: Row, time: float) -> None:
        if self._stream:
            deltas = row.deltas(time, logprobs=self._delta_logprobs)
            self._events.extend(delta for _, delta in deltas)
