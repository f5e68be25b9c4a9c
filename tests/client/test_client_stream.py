"""A run that is watched: its events, its end, and that nothing of it outlives its block."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import anyio
import pytest

from tt_compute.client import AsyncClient, Client
from tt_compute.errors import DeadlineExceeded, OutOfMemory, UnknownNameError, UsageError
from tt_compute.planning.types import Objective
from tt_compute.results import Progress, Revision, TextDelta
from tt_compute.watching import StreamEvent

Connect = Callable[..., Client]
ConnectAsync = Callable[..., AsyncClient]

RIGHT = "The answer is 42."
SLOW = {"latency": {"ttft_s": 1.0, "tokens_per_s": 1.0}}
ENDLESS = {"faults": [{"kind": "stall"}]}


def shown(events: list[StreamEvent]) -> str:
    """What a reader who follows the rules of the events sees in the end."""
    text = ""
    for event in events:
        if isinstance(event, TextDelta):
            text += event.text
        elif isinstance(event, Revision):
            text = event.text
    return text


@pytest.mark.parametrize("strategy", ["single", "majority"])
def test_what_was_shown_ends_as_the_results_text(connect: Connect, strategy: str) -> None:
    with connect().stream("6 * 7 = ?", strategy=strategy) as run:
        events = list(run)
    assert shown(events) == run.result.text != ""


@pytest.mark.anyio
async def test_one_sample_is_shown_while_it_is_made(connect_async: ConnectAsync) -> None:
    async with (
        connect_async(answers=[RIGHT], **SLOW) as client,
        client.stream("6 * 7 = ?", strategy="single") as run,
    ):
        events = [event async for event in run]
    deltas = [event for event in events if isinstance(event, TextDelta)]
    assert len(deltas) > 1
    assert not any(isinstance(event, Revision) for event in events)


@pytest.mark.anyio
async def test_a_sample_cut_at_the_deadline_revises_what_was_shown(
    connect_async: ConnectAsync,
) -> None:
    """A text without an answer that was cut is no answer; nothing of it may stand at the end."""
    async with connect_async(answers=["six times seven makes forty-two"], **SLOW) as client:
        objective = Objective(max_latency_s=3)
        async with client.stream("6 * 7 = ?", strategy="single", objective=objective) as run:
            with pytest.raises(DeadlineExceeded):
                async for _ in run:
                    pass
            with pytest.raises(DeadlineExceeded):
                _ = run.result
            assert run.partial is not None
            assert (run.partial.answer, run.partial.text) == (None, "")


def test_progress_tells_of_the_plan_first_and_then_of_every_sample(connect: Connect) -> None:
    with connect().stream("6 * 7 = ?", seed=3) as run:
        progress = [event for event in run if isinstance(event, Progress)]
    result = run.result
    assert (progress[0].drawn, progress[0].finished) == (0, ())
    assert {event.plan for event in progress} == {result.plan.chosen}
    for event in progress:
        assert event.live == event.drawn - len(event.finished) >= 0
    last = progress[-1]
    assert last.drawn == result.receipt.samples_drawn
    assert sorted(last.finished, key=lambda sample: sample.index) == list(result.samples)
    assert last.votes[0][0] == result.answer
    assert last.posterior == result.receipt.stop_posterior


def test_a_stream_gives_the_result_that_solve_gives(connect: Connect) -> None:
    client = connect()
    with client.stream("6 * 7 = ?", seed=3) as run:
        for _ in run:
            pass
    solved = client.solve("6 * 7 = ?", seed=3)
    assert run.result.samples == solved.samples
    assert run.result.answer == solved.answer


def test_a_failed_run_raises_from_the_iteration_after_its_events(connect: Connect) -> None:
    events: list[StreamEvent] = []
    with connect(faults=[{"kind": "oom"}]).stream("6 * 7 = ?") as run:
        with pytest.raises(OutOfMemory):
            events.extend(run)
        assert run.partial is not None
        assert run.partial.receipt.samples_failed > 0
        assert run.partial.receipt.stop_reason == "failed"
    assert events == [] or isinstance(events[0], Progress)


def test_a_bad_option_raises_from_the_iteration(connect: Connect) -> None:
    with connect().stream("6 * 7 = ?", deployment="nowhere") as run:
        with pytest.raises(UnknownNameError):
            list(run)
        assert run.partial is None


# --- leaving ------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_leaving_the_block_cancels_the_run(connect_async: ConnectAsync) -> None:
    """Nothing of it is left: no task, no open prompt; the client goes on."""
    async with connect_async(**ENDLESS) as client:
        before = asyncio.all_tasks()
        async with client.stream("6 * 7 = ?") as run:
            async for event in run:
                if isinstance(event, Progress) and event.drawn:
                    break
        assert asyncio.all_tasks() == before
        assert run.partial is not None
        receipt = run.partial.receipt
        assert receipt.samples_cancelled == receipt.samples_drawn > 0
        with pytest.raises(UsageError, match="ended before it had a result"):
            _ = run.result


@pytest.mark.anyio
async def test_an_error_inside_the_block_cancels_the_run(connect_async: ConnectAsync) -> None:
    async with connect_async(**ENDLESS) as client:
        before = asyncio.all_tasks()
        with pytest.raises(ZeroDivisionError):
            async with client.stream("6 * 7 = ?"):
                raise ZeroDivisionError
        assert asyncio.all_tasks() == before


@pytest.mark.anyio
async def test_cancelling_the_consumer_ends_the_run_before_the_block(
    connect_async: ConnectAsync,
) -> None:
    async with connect_async(**ENDLESS) as client:
        before = asyncio.all_tasks()
        with anyio.CancelScope() as scope:
            async with client.stream("6 * 7 = ?") as run:
                async for event in run:
                    if isinstance(event, Progress) and event.drawn:
                        scope.cancel()
        assert scope.cancelled_caught
        assert asyncio.all_tasks() == before


def test_a_blocking_stream_leaves_no_thread(connect: Connect) -> None:
    before = set(threading.enumerate())
    client = connect(**ENDLESS)
    with client.stream("6 * 7 = ?") as run:
        for event in run:
            if isinstance(event, Progress) and event.drawn:
                break
    client.close()
    for thread in set(threading.enumerate()) - before:
        # Workers were told to end and may still be about it.
        thread.join(10)
        assert not thread.is_alive(), thread


def test_closing_the_client_ends_a_stream_that_was_left_open(connect: Connect) -> None:
    """Without a task that is destroyed while it is pending, which the suite takes for an error."""
    client = connect(**ENDLESS)
    run = client.stream("6 * 7 = ?").__enter__()
    for event in run:
        if isinstance(event, Progress) and event.drawn:
            break
    client.close()


# --- wrong use -----------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_iterating_outside_the_block_is_refused(connect_async: ConnectAsync) -> None:
    """It would wait for ever."""
    async with connect_async() as client:
        with pytest.raises(UsageError, match="not begun") as caught:
            await anext(client.stream("6 * 7 = ?"))
        assert "with client.stream" in str(caught.value.hint)


@pytest.mark.anyio
async def test_entering_twice_is_refused(connect_async: ConnectAsync) -> None:
    async with connect_async() as client, client.stream("6 * 7 = ?") as run:
        with pytest.raises(UsageError, match="only once"):
            await run.__aenter__()


def test_the_result_of_a_run_that_goes_on_is_refused(connect: Connect) -> None:
    client = connect(**ENDLESS)
    with client.stream("6 * 7 = ?") as run, pytest.raises(UsageError, match="not ended"):
        _ = run.result


# --- the best answer so far ------------------------------------------------------------------------


TWO = ["The answer is 42.", "The answer is 41."]


@pytest.mark.anyio
async def test_the_leader_is_shown_once_its_posterior_is_high_enough(
    connect_async: ConnectAsync,
) -> None:
    """Three equal votes have a posterior of 0.94, four end the vote."""
    async with (
        connect_async(answers=[RIGHT], deployment={"limits": {"max_concurrency": 1}}) as client,
        client.stream("6 * 7 = ?", strategy="majority", seed=1) as run,
    ):
        votes: tuple[tuple[str, int], ...] = ()
        async for event in run:
            if isinstance(event, Progress):
                votes = event.votes
            elif isinstance(event, TextDelta):
                break
    assert votes == (("42", 3),)


@pytest.mark.anyio
async def test_without_a_threshold_the_text_comes_at_the_end(connect_async: ConnectAsync) -> None:
    async with (
        connect_async(answers=[RIGHT]) as client,
        client.stream("6 * 7 = ?", strategy="majority", seed=1, show_at=None) as run,
    ):
        events = [event async for event in run]
    assert isinstance(events[-1], TextDelta)
    assert not any(isinstance(event, TextDelta) for event in events[:-1])


@pytest.mark.anyio
async def test_a_leader_that_was_shown_and_lost_is_revised(connect_async: ConnectAsync) -> None:
    """Shown from the first vote on, over seeds at which the first answer does not win."""
    revised = 0
    async with connect_async(answers=TWO) as client:
        for seed in range(12):
            async with client.stream(
                "6 * 7 = ?", strategy="majority", stop="beta:0.99", seed=seed, show_at=0.5
            ) as run:
                events = [event async for event in run]
            assert shown(events) == run.result.text
            revised += any(isinstance(event, Revision) for event in events)
    assert revised


@pytest.mark.anyio
async def test_a_run_tells_its_best_answer_at_any_time(connect_async: ConnectAsync) -> None:
    """Nothing before the first sample, then the leader with its figures, at the end the result's."""
    async with (
        connect_async(answers=[RIGHT]) as client,
        client.stream("6 * 7 = ?", strategy="majority", seed=1) as run,
    ):
        told = [run.standing async for event in run if isinstance(event, Progress)]
        last = run.standing
    assert told[0] is not None
    assert (told[0].answer, told[0].confidence) == (None, None)
    assert last is not None
    assert (last.answer, last.text) == (run.result.answer, run.result.text)
    assert last.posterior == run.result.receipt.stop_posterior
    assert last.confidence == run.result.confidence


@pytest.mark.anyio
async def test_the_best_so_far_of_judged_samples_has_the_highest_score(
    connect_async: ConnectAsync,
) -> None:
    async def judge(prompt: str, text: str) -> float:
        return 0.9 if "42" in text else 0.1

    async with (
        connect_async(answers=TWO) as client,
        client.stream("6 * 7 = ?", strategy="best_of_n", verifier=judge, seed=1) as run,
    ):
        async for _ in run:
            pass
        standing = run.standing
    assert standing is not None
    assert standing.answer == run.result.answer == "42"
    assert standing.confidence is None


def test_the_blocking_run_tells_it_too(connect: Connect) -> None:
    with connect(answers=[RIGHT]).stream("6 * 7 = ?", strategy="majority") as run:
        for _ in run:
            pass
        assert run.standing is not None
        assert run.standing.answer == "42"
