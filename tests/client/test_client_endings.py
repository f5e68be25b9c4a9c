"""How a run can end other than well: deadline, failures, a lost engine, a faulty verifier, an interrupt."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from tt_compute.client import AsyncClient, Client
from tt_compute.config import Config
from tt_compute.errors import (
    BackendError,
    ContextLengthError,
    DeadlineExceeded,
    EngineDied,
    InfeasibleError,
    InvalidRequestError,
    OutOfMemory,
    VerifierError,
)
from tt_compute.planning.types import Objective
from tt_compute.results import Progress, Result

Connect = Callable[..., Client]
ConnectAsync = Callable[..., AsyncClient]

RIGHT = "The answer is 42."
SLOW = {"latency": {"ttft_s": 1.0, "tokens_per_s": 1.0}}
"""A sample of five tokens takes five seconds."""
TWO_AT_ONCE = {"limits": {"max_concurrency": 2}}


# --- the deadline --------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_at_the_deadline_the_best_answer_so_far_returns(connect_async: ConnectAsync) -> None:
    """The first wave ends in time, the second does not."""
    async with connect_async(answers=[RIGHT, "The answer is 41."], **SLOW) as client:
        objective = Objective(max_latency_s=8)
        result = await client.solve("6 * 7 = ?", objective=objective, stop="beta:0.999", seed=1)
    assert result.receipt.stop_reason == "deadline"
    assert result.answer in ("41", "42")
    assert result.receipt.latency_s == pytest.approx(8, abs=0.01)
    assert result.receipt.samples_cancelled > 0
    assert result.receipt.samples_finished > 0


@pytest.mark.anyio
async def test_a_deadline_without_any_answer_is_an_error(connect_async: ConnectAsync) -> None:
    async with connect_async(**SLOW) as client:
        with pytest.raises(DeadlineExceeded, match="2") as caught:
            await client.solve("6 * 7 = ?", objective=Objective(max_latency_s=2))
    assert caught.value.exit_code == 4
    assert caught.value.hint


@pytest.mark.anyio
async def test_a_stalled_sample_ends_at_the_deadline(connect_async: ConnectAsync) -> None:
    """The others' answer counts; a backend that goes silent must not hold it back for ever."""
    async with connect_async(answers=[RIGHT], faults=[{"kind": "stall", "samples": [1]}]) as client:
        objective = Objective(max_latency_s=3)
        result = await client.solve("6 * 7 = ?", objective=objective)
    assert (result.answer, result.receipt.stop_reason) == ("42", "deadline")


@pytest.mark.anyio
async def test_the_deadline_counts_from_the_call(connect_async: ConnectAsync) -> None:
    """A second run on the same client has all of its own time."""
    async with connect_async(answers=[RIGHT], **SLOW) as client:
        objective = Objective(max_latency_s=8)
        results = [await client.solve("6 * 7 = ?", objective=objective) for _ in range(3)]
    assert [result.answer for result in results] == ["42"] * 3


# --- failures ------------------------------------------------------------------------------------


def test_one_failed_sample_costs_the_others_nothing(connect: Connect) -> None:
    client = connect(answers=[RIGHT], faults=[{"kind": "server_error", "samples": [1]}])
    result = client.solve("6 * 7 = ?")
    assert (result.answer, result.receipt.stop_reason) == ("42", "settled")
    assert result.receipt.samples_failed == 1
    assert any("1 of" in warning and "failed" in warning for warning in result.warnings)
    failed = [sample for sample in result.samples if sample.finish_reason is None]
    assert [sample.index for sample in failed] == [1]
    statuses = [
        attempt.status for attempt in result.receipt.attempts if attempt.outcome == "failed"
    ]
    assert statuses == ["ServerError"]


@pytest.mark.parametrize("strategy", ["single", "majority"])
def test_when_every_sample_fails_the_first_error_is_raised(connect: Connect, strategy: str) -> None:
    client = connect(faults=[{"kind": "oom"}])
    with pytest.raises(OutOfMemory) as caught:
        client.solve("6 * 7 = ?", strategy=strategy)
    assert caught.value.deployment == "scripted"


def test_when_every_judged_sample_fails_the_error_is_the_backends(connect: Connect) -> None:
    with pytest.raises(OutOfMemory):
        connect(faults=[{"kind": "oom"}]).solve("6 * 7 = ?", verifier="exact=42")


@pytest.mark.anyio
async def test_a_lost_engine_after_a_first_wave_keeps_its_vote(connect_async: ConnectAsync) -> None:
    """Samples 0 and 1 end; sample 3, drawn later, takes the engine down."""
    async with connect_async(
        answers=[RIGHT],
        faults=[{"kind": "engine_died", "samples": [3]}],
        deployment=TWO_AT_ONCE,
        **SLOW,
    ) as client:
        result = await client.solve("6 * 7 = ?", stop="beta:0.9999")
    assert (result.answer, result.receipt.stop_reason) == ("42", "failed")
    assert any("could not go on" in warning for warning in result.warnings)
    receipt = result.receipt
    ended = receipt.samples_finished + receipt.samples_cancelled + receipt.samples_failed
    assert receipt.samples_drawn == ended
    assert receipt.samples_failed >= 1


def test_a_lost_engine_without_an_answer_is_an_error(connect: Connect) -> None:
    with pytest.raises(EngineDied):
        connect(faults=[{"kind": "engine_died"}]).solve("6 * 7 = ?")


def test_the_next_request_after_a_failure_is_served(connect: Connect) -> None:
    client = connect(answers=[RIGHT], faults=[{"kind": "oom", "pattern": "poison"}])
    with pytest.raises(BackendError):
        client.solve("poison 6 * 7 = ?")
    assert client.solve("6 * 7 = ?").answer == "42"


def test_a_prompt_that_is_too_long_names_the_context(connect: Connect) -> None:
    client = connect(deployment={"limits": {"max_context_tokens": 64}})
    with pytest.raises(ContextLengthError, match="64"):
        client.solve("6 * 7 = ? " * 100)


# --- verifiers -----------------------------------------------------------------------------------


def test_a_verifier_that_accepts_ends_the_run(connect: Connect) -> None:
    result = connect().solve("6 * 7 = ?", verifier="exact=42")
    assert (result.answer, result.receipt.stop_reason) == ("42", "verifier")
    scores = {sample.answer: sample.score for sample in result.samples if sample.score is not None}
    assert scores["42"] == 1.0


def test_a_verifier_that_accepts_nothing_leaves_the_best_score(connect: Connect) -> None:
    """The answer is handed back with its score; what it is worth is for the caller to judge."""

    def score(_prompt: str, text: str) -> float:
        return 0.5 if "41" in text else 0.1

    result = connect().solve("6 * 7 = ?", verifier=score, seed=1)
    assert (result.answer, result.receipt.stop_reason) == ("41", "budget")


def test_a_verifier_judges_every_answer_that_may_be_returned(connect: Connect) -> None:
    """Also at temperature 0, and where one sample would do for the objective."""
    seen: list[str] = []

    def judge(_prompt: str, text: str) -> bool:
        seen.append(text)
        return True

    client = connect()
    for objective in (Objective(max_samples=1), Objective(quality=0.3, prefer="cost")):
        for temperature in (None, 0.0):
            seen.clear()
            result = client.solve(
                "6 * 7 = ?", verifier=judge, objective=objective, temperature=temperature
            )
            assert result.text in seen
            assert result.receipt.stop_reason == "verifier"


def test_an_async_verifier_is_awaited(connect: Connect) -> None:
    async def judge(_prompt: str, text: str) -> bool:
        await asyncio.sleep(0)
        return "42" in text

    assert connect().solve("6 * 7 = ?", verifier=judge).answer == "42"


def test_a_raising_verifier_is_an_error_of_the_verifier(connect: Connect) -> None:
    """Never a verdict: no sample counts as refused."""

    def broken(_prompt: str, _text: str) -> bool:
        raise ValueError("oops")

    with pytest.raises(VerifierError, match=r"ValueError: oops"):
        connect().solve("6 * 7 = ?", verifier=broken)


def test_a_verifier_that_raises_at_times_is_a_warning(connect: Connect) -> None:
    def picky(_prompt: str, text: str) -> bool:
        if "41" in text or "24" in text:
            raise ValueError("oops")
        return "42" in text

    result = connect().solve("6 * 7 = ?", verifier=picky, seed=1)
    assert result.answer == "42"
    judged = [sample for sample in result.samples if sample.answer in ("41", "24")]
    assert all(sample.score is None for sample in judged)
    if judged:
        assert any("could not be judged" in warning for warning in result.warnings)


# --- objectives ----------------------------------------------------------------------------------


def test_an_objective_out_of_reach_is_a_warning_and_the_nearest_plan(connect: Connect) -> None:
    result = connect().solve("6 * 7 = ?", objective=Objective(quality=0.999, max_samples=4))
    assert result.answer is not None
    assert result.plan.chosen is not None
    assert not result.plan.chosen.feasible
    assert result.plan.chosen.violates == ("quality",)
    (warning,) = [warning for warning in result.warnings if "no plan meets" in warning]
    assert "quality: 0.999 wanted" in warning


def test_under_strict_it_is_an_error_that_names_the_constraint(connect: Connect) -> None:
    client = connect()
    objective = Objective(quality=0.999, max_samples=4)
    with pytest.raises(InfeasibleError, match=r"quality: 0\.999 wanted") as caught:
        client.solve("6 * 7 = ?", objective=objective, strict=True)
    assert caught.value.exit_code == 3
    assert client.plan("6 * 7 = ?", objective=objective, strict=True).chosen is None


def test_strict_costs_nothing_where_a_plan_is_feasible(connect: Connect) -> None:
    assert connect().solve("6 * 7 = ?", strict=True).answer is not None


# --- interrupts ----------------------------------------------------------------------------------


async def interrupted(client: AsyncClient, after: int) -> Result:
    """Run until ``after`` samples have ended, interrupt, and go on to the end."""
    async with client.stream("6 * 7 = ?", stop="beta:0.9999") as run:
        async for event in run:
            if isinstance(event, Progress) and event.drawn and len(event.finished) >= after:
                run.interrupt()
        return run.result


@pytest.mark.anyio
async def test_an_interrupt_returns_the_best_so_far(connect_async: ConnectAsync) -> None:
    async with connect_async(answers=[RIGHT], deployment=TWO_AT_ONCE, **SLOW) as client:
        result = await interrupted(client, after=3)
    assert (result.answer, result.receipt.stop_reason) == ("42", "interrupted")
    assert result.receipt.samples_finished >= 3


@pytest.mark.anyio
async def test_an_interrupt_before_any_answer_returns_none(connect_async: ConnectAsync) -> None:
    """No error: whoever interrupted knows why there is no answer."""
    async with connect_async(**SLOW) as client:
        result = await interrupted(client, after=0)
    assert (result.answer, result.receipt.stop_reason) == (None, "interrupted")
    assert result.receipt.samples_finished == 0
    assert result.warnings == ()


@pytest.mark.anyio
async def test_a_second_interrupt_changes_nothing(connect_async: ConnectAsync) -> None:
    async with connect_async(answers=[RIGHT], deployment=TWO_AT_ONCE, **SLOW) as client:
        result = await interrupted(client, after=3)
        again = await client.solve("6 * 7 = ?")
    assert result.receipt.stop_reason == "interrupted"
    assert again.receipt.stop_reason == "settled"


# --- what a failed run leaves --------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_run_that_fails_after_drawing_keeps_its_receipt(
    connect_async: ConnectAsync,
) -> None:
    """What was drawn was paid for: the error holds the result so far, and the store its receipt."""
    async with connect_async(answers=[RIGHT], **SLOW) as client:
        with pytest.raises(DeadlineExceeded) as caught:
            await client.solve("6 * 7 = ?", objective=Objective(max_latency_s=2))
        partial = caught.value.partial
        assert isinstance(partial, Result)
        assert partial.receipt.samples_drawn > 0
        assert "no sample held an answer" not in " ".join(partial.warnings)
        await client.feedback(partial.id, correct=False)


def test_feedback_takes_true_or_false_only(connect: Connect) -> None:
    """A word such as "no" would count as true."""
    client = connect(answers=[RIGHT])
    result = client.solve("6 * 7 = ?")
    with pytest.raises(InvalidRequestError, match="'no'"):
        client.feedback(result.id, correct=cast("bool", "no"))


def test_no_request_loosens_the_configured_locality(connect: Connect) -> None:
    client = connect(answers=[RIGHT], top={"objective": {"locality": "local"}})
    plan = client.plan("6 * 7 = ?", objective=Objective(quality=0.5))
    assert (plan.objective.locality, plan.objective.quality) == ("local", 0.5)


def test_an_unknown_backend_is_a_rejected_deployment(configure: Callable[..., Config]) -> None:
    """The others still serve."""
    strange = {"id": "strange", "backend": "no-such", "model": "mock", "hardware": "mock"}
    with Client(configure(top={"deployments": ["mock", strange]})) as client:
        plan = client.plan("6 * 7 = ?")
    assert [(one.deployment, "no-such" in one.reason) for one in plan.rejected] == [
        ("strange", True)
    ]
