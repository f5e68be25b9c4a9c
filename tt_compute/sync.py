"""The blocking client: the same code as the async one, on one background event loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Callable, Coroutine, Iterator
from types import TracebackType
from typing import NamedTuple, Self, TypeVar

from tt_compute.errors import UsageError
from tt_compute.results import Result, Standing
from tt_compute.streaming import SolveRun
from tt_compute.watching import StreamEvent

__all__ = ["BackgroundLoop", "SyncRun"]

T = TypeVar("T")


class _Alive(NamedTuple):
    """A loop that runs, and what ends it."""

    loop: asyncio.AbstractEventLoop
    stop: asyncio.Event


class BackgroundLoop:
    """An event loop on a daemon thread; works beside a running loop, as in a notebook.

    The loop outlives every call, so connections and engines are never bound to a dead one. After a
    ``fork`` the child gets a loop of its own at its first call: threads do not survive a fork.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._alive: _Alive | None = None
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()

    def run(self, work: Coroutine[object, object, T]) -> T:
        """Run ``work`` on the loop and wait for it; an interrupt of the caller cancels it.

        Raises:
            UsageError: Called from the loop's own thread, where waiting would never end.
        """
        loop = self._running_loop(work)
        future = asyncio.run_coroutine_threadsafe(work, loop)
        try:
            return future.result()
        except BaseException:
            # KeyboardInterrupt reaches this thread only; the work must not go on unseen.
            future.cancel()
            raise

    def call(self, function: Callable[[], None]) -> None:
        """Have the loop call ``function`` soon; from any thread or a signal handler."""
        if self._alive is not None:
            self._alive.loop.call_soon_threadsafe(function)

    def forked(self) -> bool:
        """Whether this process is a fork of the one that started the loop."""
        return os.getpid() != self._pid

    def close(self) -> None:
        """End what still runs on the loop, then the loop and its thread; may be called twice."""
        with self._lock:
            alive, thread = self._alive, self._thread
            self._alive = self._thread = None
        if alive is None or thread is None or self.forked():
            return
        # asyncio.run then cancels what still runs and waits for it.
        alive.loop.call_soon_threadsafe(alive.stop.set)
        thread.join()

    def _running_loop(self, work: Coroutine[object, object, object]) -> asyncio.AbstractEventLoop:
        if self.forked():
            # The parent's other threads may have held the lock when this process was made.
            self._lock = threading.Lock()
            self._alive = self._thread = None
            self._pid = os.getpid()
        with self._lock:
            if self._thread is threading.current_thread():
                work.close()
                raise UsageError(
                    "the blocking client was called from its own event loop",
                    hint="use AsyncClient in callbacks and async verifiers",
                )
            if self._alive is None:
                begun: concurrent.futures.Future[_Alive] = concurrent.futures.Future()
                self._thread = threading.Thread(
                    target=lambda: asyncio.run(_live(begun)), name="tt_compute", daemon=True
                )
                self._thread.start()
                self._alive = begun.result()
            return self._alive.loop


async def _live(begun: concurrent.futures.Future[_Alive]) -> None:
    stop = asyncio.Event()
    begun.set_result(_Alive(asyncio.get_running_loop(), stop))
    await stop.wait()


class SyncRun:
    """A ``SolveRun`` for programs without an event loop; leaving its ``with`` cancels the run."""

    def __init__(self, loop: BackgroundLoop, run: SolveRun) -> None:
        self._loop = loop
        self._run = run

    def __enter__(self) -> Self:
        self._loop.run(self._run.__aenter__())
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop.run(self._run.__aexit__(exc_type, exc, traceback))

    def __iter__(self) -> Iterator[StreamEvent]:
        while (event := self._loop.run(self._run.next_event())) is not None:
            yield event

    @property
    def result(self) -> Result:
        """As ``SolveRun.result``."""
        return self._run.result

    @property
    def partial(self) -> Result | None:
        """As ``SolveRun.partial``."""

        async def read() -> Result | None:
            return self._run.partial

        return self._loop.run(read())

    @property
    def standing(self) -> Standing | None:
        """As ``SolveRun.standing``."""

        async def read() -> Standing | None:
            return self._run.standing

        return self._loop.run(read())

    def interrupt(self) -> None:
        """As ``SolveRun.interrupt``."""
        self._loop.call(self._run.interrupt)
