"""The engine in its own process: what its holders see, through crashes, forks, hangs and the end."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import anyio
import anyio.lowlevel
import msgspec
import pytest

from tt_compute.errors import (
    BackendUnavailable,
    EngineDied,
    GenerationClosed,
    InvalidRequestError,
    ModelLoadError,
    ServerError,
    TTComputeError,
    UsageError,
)
from tt_compute.types import (
    Delta,
    Event,
    Failed,
    GenerateRequest,
    JsonSchemaFormat,
    Message,
    Sample,
    SamplingParams,
    Usage,
    sample_seed,
)
from tt_compute_backends.engine.generation import LocalGeneration
from tt_compute_backends.engine.host import EngineHost, acquire
from tt_compute_backends.engine.runtime import LoadRequest

pytestmark = pytest.mark.anyio
MakeLoad = Callable[..., LoadRequest]
Hold = Callable[[LoadRequest], EngineHost]

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc or uses pidfd")


def ask(
    prompt: str,
    *,
    deltas: Literal["none", "text"] = "none",
    deadline: float | None = None,
    sampling: SamplingParams | None = None,
) -> GenerateRequest:
    return GenerateRequest(
        messages=(Message(role="user", content=prompt),),
        sampling=sampling or SamplingParams(seed=1),
        deltas=deltas,
        deadline=deadline,
    )


@asynccontextmanager
async def holding(host: EngineHost) -> AsyncGenerator[EngineHost, None]:
    try:
        yield host
    finally:
        await host.release()


async def rest(generation: LocalGeneration) -> list[Event]:
    return [event async for event in generation]


async def finish(host: EngineHost, prompt: str = "length=2", n: int = 1) -> list[Event]:
    async with host.open(ask(prompt)) as generation:
        generation.draw(n)
        return await rest(generation)


async def first_delta(generation: LocalGeneration) -> None:
    async for event in generation:
        if isinstance(event, Delta):
            return


async def until_it_raises(generation: LocalGeneration, events: list[Event]) -> TTComputeError:
    """All events up to the error that ends the iteration."""
    try:
        async for event in generation:
            events.append(event)  # noqa: PERF401 - those before the error count
    except TTComputeError as error:
        return error
    pytest.fail("the iteration did not raise")


# --- the ordinary way ----------------------------------------------------------------------------


async def test_samples_and_deltas_come_back(fake_load: MakeLoad, hold: Hold) -> None:
    """Deltas add up to the text, each sample ends once, and the prompt is paid once."""
    request = ask("a b c length=3", deltas="text")
    async with holding(hold(fake_load())) as host, host.open(request) as generation:
        assert generation.prompt_tokens == 4
        assert generation.draw(3) == range(3)
        events = await rest(generation)
        for sample in (event for event in events if isinstance(event, Sample)):
            seed = sample_seed(1, sample.index)
            parts = [e.text for e in events if isinstance(e, Delta) and e.index == sample.index]
            assert "".join(parts) == sample.text == f"{seed}:0 {seed}:1 {seed}:2 "
            assert sample.usage.input_tokens == (4 if sample.index == 0 else 0)
        assert generation.draw() == range(3, 4)
        (late,) = [e for e in await rest(generation) if isinstance(e, Sample)]
        assert (late.index, late.finish_reason) == (3, "stop")
        assert await rest(generation) == []


async def test_generations_run_beside_each_other(fake_load: MakeLoad, hold: Hold) -> None:
    """Twelve prompts of different lengths share four rows and each gets its own samples."""
    results: dict[int, list[Event]] = {}

    async def one(host: EngineHost, number: int) -> None:
        results[number] = await finish(host, f"length={number + 1}", n=3)

    async with holding(hold(fake_load())) as host, anyio.create_task_group() as tasks:
        for number in range(12):
            tasks.start_soon(one, host, number)
    for number, events in results.items():
        samples = [event for event in events if isinstance(event, Sample)]
        assert sorted(sample.index for sample in samples) == [0, 1, 2]
        assert {sample.usage.output_tokens for sample in samples} == {number + 1}


async def test_equal_seeds_give_equal_samples_and_none_gives_fresh_ones(
    fake_load: MakeLoad, hold: Hold
) -> None:
    """A seed of any size works; without one, two generations differ."""
    texts: list[str] = []
    async with holding(hold(fake_load())) as host:
        for seed in (10**40, 10**40, None, None):
            request = ask("length=1", sampling=SamplingParams(seed=seed))
            async with host.open(request) as generation:
                generation.draw()
                (sample,) = await rest(generation)
                assert isinstance(sample, Sample)
                texts.append(sample.text)
    assert texts[0] == texts[1] == f"{sample_seed(10**40, 0)}:0 "
    assert len(set(texts)) == 3


async def test_a_single_cancel_reaches_the_engine(fake_load: MakeLoad, hold: Hold) -> None:
    """One endless sample is stopped with its text, then the other one by cancelling all."""
    request = ask("", deltas="text")
    async with holding(hold(fake_load())) as host, host.open(request) as generation:
        generation.draw(2)
        await first_delta(generation)
        generation.cancel(0)
        async for event in generation:
            if isinstance(event, Sample):
                assert (event.index, event.finish_reason) == (0, "cancelled")
                assert event.text.count(":") == event.usage.output_tokens > 0
                generation.cancel()
                break
        ends = [event for event in await rest(generation) if not isinstance(event, Delta)]
    assert [event.index for event in ends] == [1]


async def test_cancels_that_race_with_the_end_lose_and_double_nothing(
    fake_load: MakeLoad, hold: Hold
) -> None:
    """Whichever comes first, each index ends once, as complete or as cancelled."""
    async with holding(hold(fake_load(max_rows=8))) as host:
        for length in range(1, 40):
            async with host.open(ask(f"length={length}", deltas="text")) as generation:
                generation.draw(4)
                ends: list[Sample] = []
                async for event in generation:
                    assert not isinstance(event, Failed)
                    if isinstance(event, Delta):
                        generation.cancel(event.index)
                    else:
                        ends.append(event)
                        generation.cancel()
            assert sorted(sample.index for sample in ends) == [0, 1, 2, 3]
            for sample in ends:
                complete = sample.usage.output_tokens == length
                assert sample.finish_reason == ("stop" if complete else "cancelled")


async def test_the_deadline_of_the_callers_clock_is_kept(fake_load: MakeLoad, hold: Hold) -> None:
    """A passed deadline ends every sample; one far away ends none."""
    async with holding(hold(fake_load())) as host:
        for deadline, reason in ((0.0, "deadline"), (1e12, "stop")):
            async with host.open(ask("length=2", deadline=deadline)) as generation:
                generation.draw(6)
                events = await rest(generation)
            assert {e.finish_reason for e in events if isinstance(e, Sample)} == {reason}
            assert len(events) == 6


async def test_leaving_the_scope_ends_samples_and_keeps_their_usage(
    fake_load: MakeLoad, hold: Hold
) -> None:
    """What was running when the scope was left can be read afterwards, with its tokens."""
    async with holding(hold(fake_load(max_rows=2))) as host:
        async with host.open(ask("", deltas="text")) as generation:
            generation.draw(3)
            await first_delta(generation)
        ends = {event.index: event for event in await rest(generation) if isinstance(event, Sample)}
        assert {sample.finish_reason for sample in ends.values()} == {"cancelled"}
        assert ends[0].usage.output_tokens > 0
        assert ends[2].usage == Usage()
        with pytest.raises(GenerationClosed):
            generation.draw()


async def test_an_exception_in_the_scope_passes_through(fake_load: MakeLoad, hold: Hold) -> None:
    """The scope is cleaned up and the engine goes on."""
    async with holding(hold(fake_load())) as host:
        with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the scope is the subject
            async with host.open(ask("")) as generation:
                generation.draw(4)
                raise ZeroDivisionError
        assert len(await finish(host)) == 1


async def test_a_scope_that_is_cancelled_is_cleaned_up(fake_load: MakeLoad, hold: Hold) -> None:
    """Cancelling the caller in the middle of the iteration frees the rows."""
    async with holding(hold(fake_load(max_rows=1))) as host:
        with anyio.CancelScope() as scope:
            async with host.open(ask("", deltas="text")) as generation:
                generation.draw()
                await first_delta(generation)
                scope.cancel()
                await rest(generation)
        assert len(await finish(host)) == 1


@pytest.mark.parametrize(
    ("prompt", "error"),
    [
        pytest.param("refuse", InvalidRequestError, id="by the runtime"),
        pytest.param("refuse-badly", ServerError, id="by a fault in the runtime"),
        pytest.param("\ud800", InvalidRequestError, id="not Unicode"),
    ],
)
async def test_open_raises_what_is_wrong_with_the_prompt(
    fake_load: MakeLoad, hold: Hold, prompt: str, error: type[TTComputeError]
) -> None:
    """The error has our type, and the engine serves the next prompt."""
    async with holding(hold(fake_load())) as host:
        with pytest.raises(error):
            async with host.open(ask(prompt)):
                pytest.fail("it was opened")
        assert len(await finish(host)) == 1


async def test_a_schema_that_is_no_json_is_refused(fake_load: MakeLoad, hold: Hold) -> None:
    """A number beyond 64 bits cannot travel; the caller is told so."""
    request = GenerateRequest(
        messages=(Message(role="user", content="x"),),
        response_format=JsonSchemaFormat(schema={"maximum": 10**30}),
    )
    async with holding(hold(fake_load())) as host:
        with pytest.raises(InvalidRequestError, match="encoded"):
            async with host.open(request):
                pytest.fail("it was opened")


async def test_an_opener_that_gives_up_leaves_nothing_open(fake_load: MakeLoad, hold: Hold) -> None:
    """Cancelled while the engine still reads the prompt, the opening is undone."""
    async with holding(hold(fake_load())) as host:
        await host.warm()
        for _ in range(20):
            with anyio.CancelScope() as scope:
                asyncio.get_running_loop().call_soon(scope.cancel)
                async with host.open(ask("")) as generation:
                    generation.draw(4)
                    await anyio.sleep_forever()
        assert len(await finish(host)) == 1


@linux_only
async def test_a_step_never_stops_the_event_loop(
    fake_load: MakeLoad, hold: Hold, tmp_path: Path
) -> None:
    """While the engine is inside a step that holds its GIL, the loop turns as often as it likes."""
    fifo = tmp_path / "hanging"
    os.mkfifo(fifo)
    async with (
        holding(hold(fake_load(hanging=str(fifo)))) as host,
        host.open(ask("hang=0")) as generation,
    ):
        generation.draw()
        await anyio.to_thread.run_sync(fifo.read_bytes)
        for _ in range(1000):
            await anyio.lowlevel.checkpoint()
        assert host.pid is not None
        os.kill(host.pid, signal.SIGKILL)
        assert isinstance(await until_it_raises(generation, []), EngineDied)


# --- loading and sharing -------------------------------------------------------------------------


async def test_the_first_opens_load_the_model_once(fake_load: MakeLoad, hold: Hold) -> None:
    """Holders of equal loads share one process, also when they all begin at once."""
    hosts = [hold(fake_load()) for _ in range(6)]
    async with anyio.create_task_group() as tasks:
        for host in hosts:
            tasks.start_soon(finish, host)
    assert len({host.pid for host in hosts}) == 1
    for host in hosts[1:]:
        await host.release()
        await host.release()
    assert len(await finish(hosts[0])) == 1
    await hosts[0].release()


async def test_different_loads_have_engines_of_their_own(fake_load: MakeLoad, hold: Hold) -> None:
    """Another option is another model."""
    async with (
        holding(hold(fake_load(block=1))) as one,
        holding(hold(fake_load(block=2))) as other,
    ):
        await one.warm()
        await other.warm()
        assert one.pid != other.pid


@linux_only
async def test_the_last_release_ends_the_process(fake_load: MakeLoad, hold: Hold) -> None:
    """It is gone, reaped included, when ``release`` returns; the hold is of no more use."""
    host = hold(fake_load())
    await host.warm()
    pid = host.pid
    assert str(pid) in children()
    await host.release()
    assert str(pid) not in children()
    with pytest.raises(GenerationClosed, match="local/fake"):
        await host.warm()


@linux_only
async def test_an_idle_engine_is_unloaded_and_comes_back(
    fake_load: MakeLoad, hold_for_a_moment: Hold
) -> None:
    """Idle is the time without an open prompt; the process is gone then, and nothing has failed."""
    async with holding(hold_for_a_moment(fake_load())) as host:
        async with host.open(ask("length=2")) as generation:
            first = host.pid
            generation.draw()
            await rest(generation)
            assert host.pid == first
        with anyio.fail_after(30):
            while str(first) in children():
                await anyio.lowlevel.checkpoint()
        assert host.pid is None
        assert len(await finish(host)) == 1


async def test_a_host_knows_without_asking_whether_its_model_is_loaded(
    fake_load: MakeLoad, hold_for_a_moment: Hold
) -> None:
    """Not before the first request, from then on, and no longer once it was unloaded."""
    async with holding(hold_for_a_moment(fake_load())) as host:
        assert not host.loaded
        async with host.open(ask("length=2")):
            assert host.loaded
        with anyio.fail_after(30):
            while host.loaded:
                await anyio.lowlevel.checkpoint()


@linux_only
async def test_the_most_patient_hold_decides_when_an_engine_is_unloaded(
    fake_load: MakeLoad, hold: Hold, hold_for_a_moment: Hold
) -> None:
    load = fake_load()
    async with holding(hold(load)) as patient:
        async with holding(hold_for_a_moment(load)) as impatient:
            await finish(impatient)
            pid = impatient.pid
            # Timers fire in their order: the hold's, had it been set, before this one.
            later = asyncio.Event()
            asyncio.get_running_loop().call_later(0.002, later.set)
            await later.wait()
        assert patient.pid == pid
        assert str(pid) in children()


async def test_an_engine_can_be_taken_again_after_its_release(
    fake_load: MakeLoad, hold: Hold
) -> None:
    """Being released is no failure: any number of holds may follow each other at once."""
    pids: set[int | None] = set()
    for _ in range(4):
        async with holding(hold(fake_load())) as host:
            await host.warm()
            pids.add(host.pid)
    assert len(pids) == 4


async def test_a_release_fails_what_still_runs(fake_load: MakeLoad, hold: Hold) -> None:
    """An open generation gets its failures instead of hanging."""
    host = hold(fake_load())
    async with host.open(ask("", deltas="text")) as generation:
        generation.draw(2)
        await first_delta(generation)
        await host.release()
        events: list[Event] = []
        assert isinstance(await until_it_raises(generation, events), EngineDied)
    assert {event.index for event in events if isinstance(event, Failed)} == {0, 1}


async def test_warm_tells_what_was_loaded(fake_load: MakeLoad, hold: Hold) -> None:
    """What the runtime reported arrives; what it printed on standard output disturbs nothing."""
    async with holding(hold(fake_load(noise="loading...\n" * 500))) as host:
        loaded = await host.warm()
        assert (loaded.max_context_tokens, loaded.capabilities.prefix_sharing) == (4096, True)
        assert len(await finish(host)) == 1


@pytest.mark.parametrize(
    ("how", "message", "hint"),
    [
        pytest.param("raise", "bad magic number", "pull the model again", id="refused"),
        pytest.param("kill", r"crashed \(SIGSEGV\) while loading .*fake.gguf", None, id="crashed"),
        pytest.param("exit", "exit code 3 while loading", "out of paper", id="left"),
    ],
)
async def test_a_model_that_cannot_be_loaded(
    fake_load: MakeLoad, hold: Hold, how: str, message: str, hint: str | None
) -> None:
    """Everyone who waits gets the reason, and so does the next one who tries."""
    errors: list[ModelLoadError] = []

    async def warm(host: EngineHost) -> None:
        with pytest.raises(ModelLoadError, match=message) as caught:
            await host.warm()
        errors.append(caught.value)

    async with holding(hold(fake_load(load=how))) as host:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(warm, host)
            tasks.start_soon(warm, host)
        await warm(host)
    assert len({id(error) for error in errors}) == 3
    assert {(error.hint, error.deployment) for error in errors} == {(hint, "local/fake")}


async def test_a_runtime_that_cannot_be_imported(fake_load: MakeLoad, hold: Hold) -> None:
    """A missing library is told as such."""
    load = msgspec.structs.replace(fake_load(), runtime="no_such_module:Runtime")
    async with holding(hold(load)) as host:
        with pytest.raises(BackendUnavailable, match="no_such_module"):
            await host.warm()


async def test_a_load_that_hangs_can_be_given_up(fake_load: MakeLoad, hold: Hold) -> None:
    """Releasing does not wait for the model."""
    host = hold(fake_load(load="hang"))
    with anyio.CancelScope() as scope:
        asyncio.get_running_loop().call_soon(scope.cancel)
        await host.warm()
    await host.release()


async def test_a_load_that_cannot_be_sent_is_refused(fake_load: MakeLoad, hold: Hold) -> None:
    """No rows, or options that are no data, are the caller's mistake."""
    with pytest.raises(UsageError, match="max_rows"):
        hold(fake_load(max_rows=0))
    with pytest.raises(UsageError, match="cannot be sent"):
        hold(fake_load(file=object()))


# --- crashes -------------------------------------------------------------------------------------


async def test_a_killed_engine_fails_everything_and_comes_back(
    fake_load: MakeLoad, hold: Hold
) -> None:
    """Live and queued samples of all generations fail, each iterator raises, the next open works."""
    async with holding(hold(fake_load(max_rows=3))) as host:
        assert len(await finish(host)) == 1
        first = host.pid
        assert first is not None
        request = ask("", deltas="text")
        async with host.open(request) as one, host.open(request) as other:
            for generation in (one, other):
                generation.draw()
                await first_delta(generation)
            for generation in (one, other):
                generation.draw(4)
            os.kill(first, signal.SIGKILL)
            for generation in (one, other):
                events: list[Event] = []
                error = await until_it_raises(generation, events)
                assert isinstance(error, EngineDied)
                assert "the engine of fake.gguf crashed (SIGKILL)" in error.message
                failed = [event for event in events if isinstance(event, Failed)]
                assert sorted(event.index for event in failed) == [0, 1, 2, 3, 4]
                assert all(isinstance(event.error, EngineDied) for event in failed)
        assert len(await finish(host)) == 1
        assert host.pid != first


@pytest.mark.parametrize(("limit", "hint"), [(1000, "old words"), (5, None)])
async def test_what_the_engine_printed_last_is_told_and_old_noise_is_dropped(
    fake_load: MakeLoad,
    hold: Hold,
    monkeypatch: pytest.MonkeyPatch,
    limit: int,
    hint: str | None,
) -> None:
    """The end of its standard error is the hint, and what is kept of it is bounded."""
    monkeypatch.setattr("tt_compute_backends.engine.link._NOISE_BYTES", limit)
    async with (
        holding(hold(fake_load(noise="old words"))) as host,
        host.open(ask("kill=1")) as generation,
    ):
        generation.draw()
        error = await until_it_raises(generation, [])
    assert error.hint == hint


async def test_an_engine_that_keeps_crashing_is_not_restarted_at_once(
    fake_load: MakeLoad, hold: Hold
) -> None:
    """The first crash costs no wait; after the second in a row ``open`` says when to come back."""
    async with holding(hold(fake_load())) as host:
        for _ in range(2):
            async with host.open(ask("kill=0")) as generation:
                generation.draw()
                assert isinstance(await until_it_raises(generation, []), EngineDied)
        with pytest.raises(EngineDied, match="SIGKILL") as caught:
            await host.warm()
        assert caught.value.retry_after_s is not None
        assert 0 < caught.value.retry_after_s <= 1.0


async def test_crashes_between_samples_are_no_row_of_crashes(
    fake_load: MakeLoad, hold: Hold
) -> None:
    """An engine that gave samples before it crashed is started again at once."""
    async with holding(hold(fake_load())) as host:
        for _ in range(4):
            assert len(await finish(host)) == 1
            async with host.open(ask("kill=0")) as generation:
                generation.draw()
                assert isinstance(await until_it_raises(generation, []), EngineDied)


async def test_a_failed_step_does_not_cost_the_engine(fake_load: MakeLoad, hold: Hold) -> None:
    """The samples fail, the iterator ends as usual, and the same process goes on."""
    async with holding(hold(fake_load())) as host:
        async with host.open(ask("raise=2")) as generation:
            generation.draw(6)
            events = await rest(generation)
            assert sorted(event.index for event in events) == list(range(6))
            assert {type(event) for event in events} == {Failed}
            pid = host.pid
        assert len(await finish(host)) == 1
        assert host.pid == pid


async def test_an_engine_that_cannot_be_mended_ends(fake_load: MakeLoad, hold: Hold) -> None:
    """The samples fail with the step's error, the iterator raises the other, the next open works."""
    async with holding(hold(fake_load(broken_reset=True))) as host:
        async with host.open(ask("raise=1")) as generation:
            generation.draw()
            events: list[Event] = []
            error = await until_it_raises(generation, events)
        (failed,) = events
        assert isinstance(failed, Failed)
        assert "the batch blew up" in failed.error.message
        assert isinstance(error, EngineDied)
        assert "cannot be mended" in error.message
        assert len(await finish(host)) == 1


@linux_only
async def test_an_engine_that_hangs_in_a_step_is_killed(
    fake_load: MakeLoad, hold: Hold, tmp_path: Path
) -> None:
    """Leaving the scope gives up on it after the longest wait; the next open starts another one."""
    fifo = tmp_path / "hanging"
    os.mkfifo(fifo)
    async with holding(hold(fake_load(hanging=str(fifo)))) as host:
        with pytest.MonkeyPatch.context() as patience:
            patience.setattr("tt_compute_backends.engine.generation._CLOSE_WAIT_S", 0.01)
            async with host.open(ask("hang=0")) as generation:
                generation.draw(2)
                await anyio.to_thread.run_sync(fifo.read_bytes)
        ends = [event for event in await rest(generation) if isinstance(event, Failed)]
        assert [event.index for event in ends] == [0, 1]
        assert "hung" in ends[0].error.message
        assert len(await finish(host)) == 1


async def test_ctrl_c_does_not_reach_the_engine(fake_load: MakeLoad, hold: Hold) -> None:
    """It goes to the whole process group; the engine is in none of its parent's, and ignores it besides."""
    async with holding(hold(fake_load())) as host:
        await host.warm()
        pid = host.pid
        assert pid is not None
        assert os.getpgid(pid) != os.getpgrp()
        os.kill(pid, signal.SIGINT)
        assert len(await finish(host)) == 1
        assert host.pid == pid


async def test_an_inherited_engine_is_a_clear_error(fake_load: MakeLoad, hold: Hold) -> None:
    """In a forked child every use is refused, and releasing leaves the parent's engine alone."""
    async with holding(hold(fake_load())) as host:
        heir = hold(fake_load())
        async with host.open(ask("")) as generation:
            with pytest.MonkeyPatch.context() as elsewhere:
                elsewhere.setattr(os, "getpid", lambda: -1)
                with pytest.raises(UsageError, match="fork"):
                    await host.warm()
                with pytest.raises(UsageError, match="fork"):
                    generation.draw()
                await heir.release()
        assert len(await finish(host)) == 1


# --- nothing is left behind ----------------------------------------------------------------------


def file_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count, not paths


def children() -> list[str]:
    """Process ids, whichever thread started them."""
    lists = Path("/proc/self/task").glob("*/children")
    return [pid for path in lists for pid in path.read_text(encoding="ascii").split()]


def join_engine_threads() -> None:
    """Wait for the threads of ended engines, which outlive the report of the end by a moment."""
    for thread in threading.enumerate():
        if thread.name.startswith("tt-engine"):
            thread.join()


@linux_only
async def test_two_hundred_cycles_leave_nothing_behind(fake_load: MakeLoad, hold: Hold) -> None:
    """No thread, task or descriptor more while it runs; no process either once released."""
    join_engine_threads()
    before = (threading.active_count(), file_descriptors())
    host = hold(fake_load())
    await finish(host)
    running = (threading.active_count(), file_descriptors(), len(asyncio.all_tasks()))
    for _ in range(200):
        async with host.open(ask("", deltas="text")) as generation:
            generation.draw(3)
            await anext(aiter(generation))
            generation.cancel(1)
    assert (threading.active_count(), file_descriptors(), len(asyncio.all_tasks())) == running
    pid = str(host.pid)
    await host.release()
    assert pid not in children()
    join_engine_threads()
    assert (threading.active_count(), file_descriptors()) == before


@linux_only
def test_a_closed_loop_ends_an_engine_that_still_talks(fake_load: MakeLoad, hold: Hold) -> None:
    """Nobody is left to hear it, so it is killed instead of talking for ever."""

    async def leave_open() -> tuple[EngineHost, object]:
        host = hold(fake_load())
        scope = host.open(ask("", deltas="text"))
        generation = await scope.__aenter__()
        generation.draw()
        await first_delta(generation)
        return host, scope

    loop = asyncio.new_event_loop()
    host, _scope = loop.run_until_complete(leave_open())
    loop.close()
    join_engine_threads()
    assert str(host.pid) not in children()


async def test_inline_is_the_same_on_a_thread(fake_load: MakeLoad) -> None:
    """No process, the same events; the thread ends with the last release."""

    class Clock:
        def now(self) -> float:
            return 0.0

        async def sleep(self, seconds: float) -> None:
            await anyio.sleep(seconds)

    load = fake_load()
    host = acquire(load, clock=Clock(), backend="fake", deployment="local/fake", process="inline")
    assert len(await finish(host, n=5)) == 5
    assert host.pid is None
    await host.release()
    join_engine_threads()


SCRIPT = textwrap.dedent("""
    import asyncio, sys, time
    from tt_compute.types import GenerateRequest, Message
    from tt_compute_backends.engine.host import acquire
    from tt_compute_backends.engine.runtime import LoadRequest

    class Clock:
        now = staticmethod(time.monotonic)

    async def main():
        load = LoadRequest(runtime="fake_runtime:FakeRuntime", model_path="m", device="CPU",
            threads=None, max_rows=4, memory_bytes=None, max_context_tokens=None,
            chat_template=None, options={})
        host = acquire(load, clock=Clock(), backend="fake", deployment="d")
        request = GenerateRequest(messages=(Message(role="user", content=PROMPT),), deltas="text")
        async with host.open(request) as generation:
            generation.draw(2)
            async for event in generation:
                print(type(event).__name__, host.pid, flush=True)
        await host.release()

    asyncio.run(main())
""")


def script_environment() -> dict[str, str]:
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def test_a_script_that_forgets_to_release_ends_all_the_same() -> None:
    """Neither a closed loop nor the end of the interpreter waits for an engine left behind."""
    script = "PROMPT = 'length=1'\n" + SCRIPT.replace("await host.release()", "pass")
    done = subprocess.run(
        [sys.executable, "-c", script + "\nasyncio.run(main())"],
        env=script_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 8


@pytest.mark.parametrize("way", ["file", "-c", "stdin"])
def test_a_script_without_a_main_guard_works(way: str, tmp_path: Path) -> None:
    """The engine's process never runs the caller's script, however that was started."""
    script = "print('ran')\nPROMPT = 'length=1'\n" + SCRIPT
    path = tmp_path / "script.py"
    path.write_text(script, encoding="utf-8")
    arguments = {"file": [str(path)], "-c": ["-c", script], "stdin": ["-"]}[way]
    done = subprocess.run(
        [sys.executable, *arguments],
        input=script if way == "stdin" else "",
        env=script_environment(),
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "ran"
    kinds = sorted(line.split()[0] for line in lines[1:])
    assert kinds == ["Delta", "Delta", "Sample", "Sample"]


def test_the_engine_ends_when_its_pipe_is_closed() -> None:
    """The end of its commands is the end of its parent, wherever it is not told otherwise."""
    child = subprocess.Popen(
        [sys.executable, "-c", "from tt_compute_backends.engine.child import main; main()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with child:
        assert child.stdin is not None
        child.stdin.close()
        try:
            assert child.wait(60) == 0
        finally:
            child.kill()


@linux_only
@pytest.mark.parametrize("prompt", ["", "hang=3"], ids=["running", "hanging"])
def test_the_engine_ends_with_its_parent(prompt: str) -> None:
    """When the caller is killed, so is the engine, even one that hangs with the GIL held."""
    script = f"PROMPT = {prompt!r}\n" + SCRIPT
    parent = subprocess.Popen(
        [sys.executable, "-c", script], env=script_environment(), stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    with parent:
        engine = int(parent.stdout.readline().split()[1])
        watch = os.pidfd_open(engine)
        try:
            parent.kill()
            ended, _, _ = select.select([watch], [], [], 60)
        finally:
            os.close(watch)
    assert ended
