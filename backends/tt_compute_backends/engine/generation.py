"""A live prompt on a local engine, as the caller holds it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable

import anyio

from tt_compute.backend import second_consumer
from tt_compute.errors import GenerationClosed, InvalidRequestError
from tt_compute.types import Delta, Event, Failed, Sample
from tt_compute_backends.engine.messages import (
    Cancel,
    Close,
    Command,
    Draw,
    Events,
    Origin,
    WireError,
    backend_error,
)

__all__ = ["LocalGeneration"]

_CLOSE_WAIT_S = 30.0
"""Longest a scope waits for the engine to acknowledge its end. Commands are read between steps, so an engine
that lets so much time pass hangs inside a step."""


class LocalGeneration:
    """Satisfies ``tt_compute.backend.Generation``; made by ``EngineHost.open``.

    Events wait here until they are consumed, and deltas of one index that wait are merged into one. After
    the scope was left, the events that its end caused can still be iterated.

    Args:
        number: The engine's number for it.
        prompt_tokens: Length of the prompt.
        send: Sends a command to the engine.
        now: The clock that commands are stamped with.
        origin: Whose engine it is.
    """

    def __init__(
        self,
        number: int,
        *,
        prompt_tokens: int,
        send: Callable[[Command], None],
        now: Callable[[], float],
        origin: Origin,
    ) -> None:
        self.number = number
        self.prompt_tokens = prompt_tokens
        self._send = send
        self._now = now
        self._origin = origin
        self._drawn = 0
        self._unfinished: dict[int, list[str]] = {}
        """Text of the deltas so far, by index."""
        self._buffer: OrderedDict[tuple[int, bool], list[Delta] | Sample | Failed] = OrderedDict()
        """What waits to be consumed, by index and whether it ends the index."""
        self._left = False
        self._lost: WireError | None = None
        """Why the engine is gone."""
        self._closed = anyio.Event()
        self._news = anyio.Event()
        self._consumed = False

    # --- for the caller --------------------------------------------------------------------------

    def draw(self, n: int = 1) -> range:
        """As in the protocol.

        Raises:
            GenerationClosed: The scope was left.
            InvalidRequestError: ``n`` is negative.
        """
        if self._left:
            raise GenerationClosed("draw() was called after the generation's scope was left")
        if n < 0:
            raise InvalidRequestError(f"draw({n}): the number of samples cannot be negative")
        indices = range(self._drawn, self._drawn + n)
        if n and self._lost is None:
            self._send(Draw(generation=self.number, first=self._drawn, n=n, sent_s=self._now()))
        self._drawn += n
        self._unfinished.update((index, []) for index in indices)
        if self._lost is not None:
            self.lose(self._lost)
        return indices

    def cancel(self, index: int | None = None) -> None:
        """As in the protocol."""
        known = bool(self._unfinished) if index is None else index in self._unfinished
        if known and not self._left and self._lost is None:
            self._send(Cancel(generation=self.number, index=index))

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        """The next event.

        Raises:
            UsageError: Another task is waiting for one.
            BackendError: The engine is gone and every index has had its event.
        """
        if self._consumed:
            raise second_consumer()
        self._consumed = True
        try:
            while not self._buffer:
                self._stop_if_over()
                self._news = anyio.Event()
                await self._news.wait()
        finally:
            self._consumed = False
        _, event = self._buffer.popitem(last=False)
        return _merged(event) if isinstance(event, list) else event

    def _stop_if_over(self) -> None:
        if self._unfinished:
            return
        if self._lost is not None and not self._left:
            raise backend_error(self._lost, self._origin)
        raise StopAsyncIteration

    # --- for the engine's process ----------------------------------------------------------------

    def feed(self, events: Events) -> None:
        """Take in what one engine step made."""
        for delta in events.deltas:
            self._add_delta(delta)
        for sample in events.samples:
            self._finish(sample)
        for failure in events.failures:
            self._finish(failure.event(self._origin))
        self._news.set()

    def close(self) -> None:
        """The engine has forgotten the generation."""
        self._closed.set()

    def lose(self, error: WireError) -> None:
        """Nothing more will come from the engine: every unfinished index fails."""
        self._lost = error
        for index, parts in list(self._unfinished.items()):
            lost = backend_error(error, self._origin)
            self._finish(Failed(index=index, error=lost, text="".join(parts)))
        self._closed.set()
        self._news.set()

    async def leave(self) -> bool:
        """End every sample and wait, shielded, for the engine to say how each ended.

        Returns:
            Whether it did so in time.
        """
        self._left = True
        if self._lost is None:
            self._send(Close(generation=self.number))
        with anyio.CancelScope(shield=True), anyio.move_on_after(_CLOSE_WAIT_S):
            await self._closed.wait()
        self._news.set()
        return self._closed.is_set()

    def _add_delta(self, delta: Delta) -> None:
        self._unfinished[delta.index].append(delta.text)
        waiting = self._buffer.setdefault((delta.index, False), [])
        assert isinstance(waiting, list)
        waiting.append(delta)

    def _finish(self, event: Sample | Failed) -> None:
        del self._unfinished[event.index]
        self._buffer[event.index, True] = event


def _merged(deltas: list[Delta]) -> Delta:
    """One delta that says what several of the same index say."""
    if len(deltas) == 1:
        return deltas[0]
    return Delta(
        index=deltas[0].index,
        text="".join(delta.text for delta in deltas),
        reasoning="".join(delta.reasoning for delta in deltas),
        logprobs=tuple(token for delta in deltas for token in delta.logprobs),
    )
