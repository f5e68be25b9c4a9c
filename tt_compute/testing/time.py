"""Virtual time: sleeps end as soon as nothing else can run, so a minute of latency takes a millisecond."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import threading
from collections.abc import Sized

import anyio
import anyio.lowlevel
import anyio.to_thread

__all__ = ["VirtualClock"]

QUIET_TURNS = 2
"""Turns of the loop in a row with nothing ready; between the two the loop has polled its sockets."""
MAX_BUSY_TURNS = 10_000
"""Turns without a new sleeper after which time moves although something is ready: what never rests, such
as a loop around ``sleep(0)`` or the watch of a second clock, would else stop time for good."""
THREAD_POLL_S = 0.001
"""Real seconds between two looks at worker threads that are still busy."""


class VirtualClock:
    """A clock that jumps to the next sleeper's time once every task of the event loop waits.

    Time stands still while code runs, also while a worker thread of anyio's default limiter is busy.
    Sleepers wake in the order of their times, those of one time in the order in which they went to
    sleep, so a run is the same every time. Waiting for sockets or processes does not hold time.

    Works on asyncio's own event loops, one loop at a time. One clock per loop: a second one works, slowly.

    Args:
        start: The first reading, in seconds.
    """

    def __init__(self, start: float = 0.0) -> None:
        self._now = start
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads: anyio.CapacityLimiter | None = None
        self._quiet_turns = 0
        self._busy_turns = 0
        # Clients with loops of their own take turns on one clock.
        self._lock = threading.Lock()

    def now(self) -> float:
        """Virtual seconds."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has moved on by ``seconds``.

        Raises:
            RuntimeError: Tasks of another event loop are asleep on this clock.
        """
        if seconds <= 0:
            await anyio.lowlevel.checkpoint()
            return
        loop = asyncio.get_running_loop()
        waker = loop.create_future()
        with self._lock:
            self._watch(loop)
            heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), waker))
        await waker

    def advance(self, seconds: float) -> None:
        """Let time pass between two calls; sleepers whose time has come wake in their order, all at the new time.

        For code that is no coroutine, which cannot ``sleep`` here.
        """
        assert seconds >= 0, "time does not run backwards"
        self._now += seconds

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        self._busy_turns = 0
        if self._loop is loop:
            return
        asleep = any(not waker.done() for _, _, waker in self._sleepers)
        if asleep and self._loop is not None and not self._loop.is_closed():
            raise RuntimeError("a VirtualClock serves one event loop at a time")
        self._sleepers.clear()
        self._loop = loop
        self._threads = anyio.to_thread.current_default_thread_limiter()
        loop.call_soon(self._turn, loop)

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look once per turn of the loop whether everybody waits; move time on if so."""
        with self._lock:
            if self._loop is loop:
                self._look(loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        if not self._sleepers or self._sleepers[0][0] == math.inf:
            # Nothing to wait for; the next sleeper starts the watch again.
            self._loop = None
            return
        if self._threads is not None and self._threads.borrowed_tokens:
            loop.call_later(THREAD_POLL_S, self._turn, loop)
            return
        self._busy_turns += 1
        self._quiet_turns = 0 if _has_ready(loop) else self._quiet_turns + 1
        if self._quiet_turns >= QUIET_TURNS or self._busy_turns >= MAX_BUSY_TURNS:
            self._jump()
        loop.call_soon(self._turn, loop)

    def _jump(self) -> None:
        self._quiet_turns = self._busy_turns = 0
        due = self._sleepers[0][0]
        # What has passed by ``advance`` is past.
        self._now = max(self._now, due)
        while self._sleepers and self._sleepers[0][0] == due:
            _, _, waker = heapq.heappop(self._sleepers)
            if not waker.done():
                waker.set_result(None)


def _has_ready(loop: asyncio.AbstractEventLoop) -> bool:
    # asyncio has no public way to ask; every loop that derives from BaseEventLoop keeps this queue.
    ready: Sized | None = getattr(loop, "_ready", None)
    if ready is None:
        raise RuntimeError(f"VirtualClock needs one of asyncio's own loops, not {type(loop)}")
    return len(ready) > 0
