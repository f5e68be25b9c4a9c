"""The blocking client's loop: beside a running loop, interrupted, forked, closed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Iterator

import pytest

from tt_compute.errors import UsageError
from tt_compute.sync import BackgroundLoop


@pytest.fixture
def loop() -> Iterator[BackgroundLoop]:
    background = BackgroundLoop()
    yield background
    background.close()


async def answer() -> int:
    await asyncio.sleep(0)
    return 42


def test_it_runs_work_and_returns_its_value(loop: BackgroundLoop) -> None:
    assert loop.run(answer()) == 42


def test_it_works_inside_a_running_loop(loop: BackgroundLoop) -> None:
    """As in a notebook, where the caller's thread has a loop of its own."""

    async def notebook() -> int:
        return loop.run(answer())

    assert asyncio.run(notebook()) == 42


def test_waiting_on_its_own_thread_is_refused(loop: BackgroundLoop) -> None:
    async def nested() -> int:
        return loop.run(answer())

    with pytest.raises(UsageError, match="own event loop"):
        loop.run(nested())


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="this system has no such signal")
def test_an_interrupt_of_the_caller_cancels_the_work(loop: BackgroundLoop) -> None:
    """Ctrl-C reaches the waiting thread only; the work must not go on unseen."""
    ended = threading.Event()
    caller = threading.get_ident()

    def until_the_caller_waits() -> None:
        frames = sys._current_frames  # pyright: ignore[reportPrivateUsage] - documented, for debugging
        while frames()[caller].f_code.co_name != "wait":
            os.sched_yield()

    async def endless() -> None:
        try:
            await asyncio.to_thread(until_the_caller_waits)
            signal.pthread_kill(caller, signal.SIGINT)
            await asyncio.Event().wait()
        finally:
            ended.set()

    with pytest.raises(KeyboardInterrupt):
        loop.run(endless())
    assert ended.wait(10)


def test_closing_ends_its_thread_and_may_be_done_twice() -> None:
    loop = BackgroundLoop()
    before = threading.active_count()
    loop.run(answer())
    loop.close()
    loop.close()
    assert threading.active_count() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_gets_a_loop_of_its_own(loop: BackgroundLoop) -> None:
    """Threads do not survive a fork; waiting on the parent's would never end."""
    loop.run(answer())
    child = os.fork()
    if child == 0:
        os._exit(0 if loop.run(answer()) == 42 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
