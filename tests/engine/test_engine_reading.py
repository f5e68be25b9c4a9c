"""Texts that are only read: a pass of each call in turn, between the steps of the samples; and who waits for them."""

from __future__ import annotations

import importlib
import os
import signal
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from tt_compute.errors import (
    DeadlineExceeded,
    EngineDied,
    InvalidRequestError,
    ServerError,
    UnsupportedError,
)
from tt_compute.types import GenerateRequest, Message
from tt_compute_backends.engine.host import EngineHost
from tt_compute_backends.engine.messages import (
    Draw,
    Forget,
    Open,
    Origin,
    Read,
    ReadDone,
    ReadFailed,
    Reply,
    from_wire,
)
from tt_compute_backends.engine.runtime import EmbedTexts, LoadRequest, Vectors
from tt_compute_backends.engine.scheduler import Scheduler

MakeLoad = Callable[..., LoadRequest]
Hold = Callable[[LoadRequest], EngineHost]
ORIGIN = Origin(backend="fake", deployment="local/fake")


class Bench:
    """A scheduler on the fake runtime, with what it said of readings."""

    def __init__(self, load: LoadRequest, runtime: Any = None) -> None:
        self.time = 0.0
        self.runtime = runtime or importlib.import_module("fake_runtime").FakeRuntime()
        self.runtime.load(load)
        self.scheduler = Scheduler(
            self.runtime, max_rows=4, share_prefill=True, now=lambda: self.time
        )
        self.done: dict[int, Vectors] = {}
        self.failed: dict[int, Exception] = {}

    def read(self, number: int, *texts: str, seconds_left: float | None = None) -> None:
        reading = EmbedTexts(texts=texts)
        self.scheduler.handle(
            Read(number=number, reading=reading, sent_s=self.time, seconds_left=seconds_left)
        )

    def draw(self, prompt: str) -> None:
        request = GenerateRequest(messages=(Message(role="user", content=prompt),))
        self.scheduler.handle(
            Open(generation=0, request=request, seed="1", sent_s=0, seconds_left=None)
        )
        self.scheduler.handle(Draw(generation=0, first=0, n=1, sent_s=0))

    def step(self, times: int = 1) -> None:
        for _ in range(times):
            self.scheduler.advance()
            for reply in self.scheduler.take_replies():
                self._file(reply)

    def run(self) -> None:
        while self.scheduler.busy:
            self.step()

    def _file(self, reply: Reply) -> None:
        if isinstance(reply, ReadDone):
            self.done[reply.number] = reply.rows
        elif isinstance(reply, ReadFailed):
            self.failed[reply.number] = from_wire(reply.error, ORIGIN)


def test_calls_are_given_a_pass_each_in_turn(fake_load: MakeLoad) -> None:
    bench = Bench(fake_load())
    bench.read(0, "passes=3")
    bench.read(1, "passes=2")
    bench.run()
    assert bench.runtime.passes == ["passes=3", "passes=2"] * 2 + ["passes=3"]
    assert bench.done == {0: [[3.0]], 1: [[2.0]]}


def test_a_step_of_the_samples_comes_before_each_pass(fake_load: MakeLoad) -> None:
    bench = Bench(fake_load())
    bench.draw("length=9")
    bench.read(0, "passes=3")
    bench.step(3)
    assert bench.done == {0: [[3.0]]}
    assert bench.runtime.journal == [("add", 0), *[("step", 1)] * 3]


def test_without_texts_the_answer_comes_at_once(fake_load: MakeLoad) -> None:
    bench = Bench(fake_load())
    bench.read(0)
    bench.step()
    assert bench.done == {0: []}


def test_what_is_late_is_ended_before_its_next_pass(fake_load: MakeLoad) -> None:
    bench = Bench(fake_load())
    bench.read(0, "passes=9", seconds_left=5)
    bench.read(1, "passes=9")
    bench.step(2)
    bench.time = 5.0
    bench.run()
    assert isinstance(bench.failed[0], DeadlineExceeded)
    assert bench.done == {1: [[9.0]]}
    assert bench.runtime.readings_ended == 2


def test_what_nobody_waits_for_is_stopped_and_freed(fake_load: MakeLoad) -> None:
    bench = Bench(fake_load())
    bench.read(0, "passes=9")
    bench.step()
    bench.scheduler.handle(Forget(number=0))
    bench.scheduler.handle(Forget(number=7))
    assert not bench.scheduler.busy
    assert bench.runtime.readings_ended == 1
    bench.run()
    assert (bench.done, bench.failed) == ({}, {})


def test_a_failure_spares_the_other_calls_and_the_samples(fake_load: MakeLoad) -> None:
    bench = Bench(fake_load())
    bench.draw("length=9")
    bench.read(0, "passes=3 raise=2")
    bench.read(1, "passes=3")
    bench.run()
    assert isinstance(bench.failed[0], ServerError)
    assert bench.done == {1: [[3.0]]}
    assert bench.runtime.resets == 0


def test_a_step_that_fails_takes_the_texts_with_it(fake_load: MakeLoad) -> None:
    """What they hold may be lost with the rest; the engine goes on."""
    bench = Bench(fake_load())
    bench.draw("raise=1")
    bench.read(0, "passes=9")
    bench.run()
    assert isinstance(bench.failed[0], ServerError)
    assert (bench.runtime.resets, bench.runtime.readings_ended) == (1, 1)
    bench.read(1, "passes=2")
    bench.run()
    assert bench.done == {1: [[2.0]]}


def test_a_runtime_that_does_not_read_says_so(fake_load: MakeLoad) -> None:
    plain = importlib.import_module("fake_runtime").FakeRuntime

    class Generating(plain):  # type: ignore[misc, valid-type] # a class that is found at run time
        read = None

    bench = Bench(fake_load(), Generating())
    bench.read(0, "passes=1")
    bench.run()
    assert isinstance(bench.failed[0], UnsupportedError)


def test_a_sample_without_room_waits_for_texts_as_for_another_sample(fake_load: MakeLoad) -> None:
    """With none of either it would be tried, and fail for good."""
    bench = Bench(fake_load(room=0))
    bench.read(0, "passes=3")
    bench.draw("length=1")
    bench.step(2)
    assert bench.runtime.journal == []
    bench.step(2)
    assert bench.done == {0: [[3.0]]}
    assert bench.runtime.journal[0] == ("add", 0)


# --- through a process ---------------------------------------------------------------------------


@asynccontextmanager
async def holding(host: EngineHost) -> AsyncGenerator[EngineHost, None]:
    try:
        yield host
    finally:
        await host.release()


@pytest.mark.anyio
async def test_calls_at_once_each_get_their_own_answer(fake_load: MakeLoad, hold: Hold) -> None:
    found: dict[int, Vectors] = {}
    async with holding(hold(fake_load())) as host, anyio.create_task_group() as tasks:

        async def read(count: int) -> None:
            found[count] = await host.read(EmbedTexts(texts=(f"passes={count}",)), None)

        for count in (5, 1, 3):
            tasks.start_soon(read, count)
    assert found == {5: [[5.0]], 1: [[1.0]], 3: [[3.0]]}


@pytest.mark.anyio
async def test_a_deadline_that_has_passed_is_an_error(fake_load: MakeLoad, hold: Hold) -> None:
    async with holding(hold(fake_load())) as host:
        with pytest.raises(DeadlineExceeded):
            await host.read(EmbedTexts(texts=("passes=1",)), 0.0)


@pytest.mark.anyio
async def test_whoever_gives_up_leaves_an_engine_that_reads_on(
    fake_load: MakeLoad, hold: Hold
) -> None:
    async with holding(hold(fake_load())) as host:
        await host.warm()
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(host.read, EmbedTexts(texts=(f"passes={10**9}",)), None)
                await host.read(EmbedTexts(texts=("passes=2",)), None)
                scope.cancel()
        assert await host.read(EmbedTexts(texts=("passes=2",)), None) == [[2.0]]


@pytest.mark.anyio
async def test_text_that_cannot_be_sent_is_refused(fake_load: MakeLoad, hold: Hold) -> None:
    async with holding(hold(fake_load())) as host:
        with pytest.raises(InvalidRequestError):
            await host.read(EmbedTexts(texts=("\ud800",)), None)


@pytest.mark.anyio
async def test_those_who_wait_learn_of_the_engines_end(
    fake_load: MakeLoad, hold: Hold, tmp_path: Path
) -> None:
    fifo = tmp_path / "hanging"
    os.mkfifo(fifo)
    async with holding(hold(fake_load(hanging=str(fifo)))) as host:
        await host.warm()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_kill, host, fifo)
            with pytest.raises(EngineDied):
                await host.read(EmbedTexts(texts=("hang=1",)), None)


async def _kill(host: EngineHost, fifo: Path) -> None:
    """Once it hangs."""
    await anyio.to_thread.run_sync(fifo.read_bytes)
    assert host.pid is not None
    os.kill(host.pid, signal.SIGKILL)
