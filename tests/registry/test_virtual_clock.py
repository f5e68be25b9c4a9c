"""Virtual time jumps when everybody waits, in a fixed order; the system clock is the machine's."""

from __future__ import annotations

import asyncio
import math
import socket
import threading
import time

import anyio
import anyio.to_thread
import pytest

from tt_compute.clock import SystemClock
from tt_compute.testing.time import VirtualClock

pytestmark = pytest.mark.anyio


async def test_sleeping_moves_time_and_takes_none() -> None:
    """An hour passes on the clock; on the wall it would run into the suite's time limit."""
    clock = VirtualClock(start=10.0)
    assert clock.now() == 10.0
    await clock.sleep(3600)
    assert clock.now() == 3610.0


async def test_sleepers_wake_in_the_order_of_their_times() -> None:
    """Whoever sleeps shortest wakes first; equals wake in the order in which they went to sleep."""
    clock = VirtualClock()
    woken: list[tuple[str, float]] = []

    async def nap(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((name, clock.now()))

    async with anyio.create_task_group() as tasks:
        for name, seconds in (("c", 3.0), ("a", 1.0), ("b", 2.0), ("a2", 1.0)):
            tasks.start_soon(nap, name, seconds)
    assert woken == [("a", 1.0), ("a2", 1.0), ("b", 2.0), ("c", 3.0)]


async def test_time_stands_still_while_anybody_runs() -> None:
    """A task that is busy for many turns of the loop sees no time pass, though others sleep."""
    clock = VirtualClock()
    seen: set[float] = set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(clock.sleep, 1.0)
        for _ in range(500):
            await anyio.lowlevel.checkpoint()
            seen.add(clock.now())
    assert seen == {0.0}
    assert clock.now() == 1.0


async def test_time_stands_still_while_a_worker_thread_runs() -> None:
    """A sleeper does not wake before the thread that somebody waits for has ended."""
    clock = VirtualClock()
    release = threading.Event()
    at: list[float] = []

    async def work() -> None:
        await anyio.to_thread.run_sync(release.wait)
        at.append(clock.now())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work)
        await anyio.lowlevel.checkpoint()
        tasks.start_soon(clock.sleep, 60.0)
        asyncio.get_running_loop().call_later(0.01, release.set)
    assert at == [0.0]
    assert clock.now() == 60.0


async def test_data_that_is_there_comes_before_time_moves() -> None:
    """A socket that is already readable is read before the next sleeper wakes."""
    clock = VirtualClock()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.sendall(b"x")
        read_at: list[float] = []

        async def read() -> None:
            await asyncio.get_running_loop().sock_recv(ours, 1)
            read_at.append(clock.now())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(clock.sleep, 5.0)
            tasks.start_soon(read)
    assert read_at == [0.0]


async def test_a_cancelled_sleeper_moves_nothing() -> None:
    """Only those who still sleep decide where time goes."""
    clock = VirtualClock()
    with anyio.CancelScope() as scope:
        asyncio.get_running_loop().call_soon(scope.cancel)
        await clock.sleep(100.0)
    await clock.sleep(1.0)
    assert clock.now() == 1.0


async def test_endless_sleep_never_moves_time() -> None:
    """Who sleeps for ever waits for a cancel, and the others are not held up."""
    clock = VirtualClock()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(clock.sleep, math.inf)
        await clock.sleep(2.0)
        for _ in range(50):
            # A thread that the clock does not know of: meanwhile the loop is idle.
            await asyncio.to_thread(int)
        assert clock.now() == 2.0
        await clock.sleep(2.0)
        assert clock.now() == 4.0
        tasks.cancel_scope.cancel()


async def test_no_sleep_is_a_checkpoint() -> None:
    """A sleep of nothing lets others run and moves no time."""
    clock = VirtualClock()
    ran: list[str] = []

    async def other() -> None:
        ran.append("other")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other)
        await clock.sleep(0)
        await clock.sleep(-1)
        assert ran == ["other"]
    assert clock.now() == 0.0


async def test_a_shielded_sleeper_in_a_cancelled_group_wakes() -> None:
    """Cleaning up takes its time although the cancelled group keeps its loop busy."""
    clock = VirtualClock()

    async def clean_up() -> None:
        with anyio.CancelScope(shield=True):
            await clock.sleep(2.0)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(clean_up)
        await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert clock.now() == 2.0


async def test_what_never_rests_does_not_stop_time() -> None:
    """Two clocks on one loop watch each other; both still move."""
    one, two = VirtualClock(), VirtualClock()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one.sleep, 3.0)
        tasks.start_soon(two.sleep, 4.0)
    assert (one.now(), two.now()) == (3.0, 4.0)


def test_a_clock_outlives_its_loop() -> None:
    """A second loop goes on where the first one ended, whatever was left asleep there."""
    clock = VirtualClock()
    first = asyncio.new_event_loop()
    left = first.create_task(clock.sleep(1.5))
    first.run_until_complete(clock.sleep(1.0))
    first.close()
    asyncio.run(clock.sleep(1.0))
    assert clock.now() == 2.0
    assert not left.done()


async def test_two_loops_at_once_are_refused() -> None:
    """Sleepers of two running loops cannot share one clock."""
    clock = VirtualClock()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(clock.sleep, 1.0)
        await anyio.lowlevel.checkpoint()

        def other_loop() -> None:
            asyncio.run(clock.sleep(1.0))

        with pytest.raises(RuntimeError, match="one event loop at a time"):
            await anyio.to_thread.run_sync(other_loop)


async def test_the_system_clock_is_monotonic_time() -> None:
    """The system clock reads the machine's monotonic time, and sleeping lets it pass."""
    clock = SystemClock()
    before = time.monotonic()
    started = clock.now()
    await clock.sleep(0.001)
    assert before <= started < clock.now() <= time.monotonic()


async def test_time_that_is_moved_by_hand_wakes_who_is_due() -> None:
    """Sleepers whose time was passed over wake late, never with time running backwards."""
    clock = VirtualClock()
    woken: list[tuple[str, float]] = []

    async def nap(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((name, clock.now()))

    async with anyio.create_task_group() as tasks:
        for name, seconds in (("a", 1.0), ("b", 2.0), ("c", 20.0)):
            tasks.start_soon(nap, name, seconds)
        await anyio.lowlevel.checkpoint()
        clock.advance(10.0)
    assert woken == [("a", 10.0), ("b", 10.0), ("c", 20.0)]


def test_loops_may_take_turns_on_one_clock() -> None:
    """Once the sleepers of one loop are gone, another one may sleep at once."""
    clock = VirtualClock()
    loop = asyncio.new_event_loop()
    given_up = loop.create_task(clock.sleep(100.0))
    loop.run_until_complete(asyncio.sleep(0))
    given_up.cancel()
    asyncio.run(clock.sleep(1.0))
    loop.run_until_complete(clock.sleep(1.0))
    loop.close()
    assert clock.now() == 2.0
