"""Assertions about plans and results hold where they should, and say what was there where they do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import tt_compute as tt
from tt_compute.testing import (
    Scenario,
    VirtualClock,
    assert_cost_at_most,
    assert_fell_back,
    assert_no_fallback,
    assert_plan,
    assert_rejected,
    assert_samples,
    assert_stopped_early,
)

ABILITY = {"success_rate": 0.9, "concentration": 1000, "wrong_agreement": 1, "abstain_rate": 0}
SEVEN: dict[str, Any] = {
    "answers": ["The answer is 7."],
    "profile": {"model": {"abilities": {"math": ABILITY}}},
}
CHEAP = {"id": "cheap", **SEVEN}
DEAR = {"id": "dear", "usd_per_mtok": {"output": 1000}, **SEVEN}
QUESTION = "What is 3 plus 4?"


def solve(*deployments: dict[str, Any], **options: Any) -> tt.Result:
    config = Scenario.from_mapping({"deployments": list(deployments)}).ready(environ={})
    with tt.Client(config, clock=VirtualClock(), environ={}) as client:
        return client.solve(QUESTION, seed=1, **options)


def able(success_rate: float) -> dict[str, Any]:
    lengths = {"completion_tokens_mean": 20, "completion_tokens_p95": 30}
    math = {**ABILITY, **lengths, "success_rate": success_rate}
    return {"model": {"abilities": {"math": math}}}


def fails(check: Callable[[], None]) -> str:
    with pytest.raises(AssertionError) as caught:
        check()
    return str(caught.value)


def test_what_was_chosen_and_why() -> None:
    """Of a plan and of a result; a wrong expectation shows both deployments and the reasons."""
    result = solve(CHEAP, DEAR, strategy="majority", stop="beta")
    for decided in (result, result.plan):
        assert_plan(decided, deployment="cheap", strategy="majority", stop_rule="beta")
        assert_plan(decided, feasible=True, why="Chosen for the best quality")
    message = fails(lambda: assert_plan(result, deployment="dear", strategy="single"))
    assert "deployment is 'cheap', not 'dear'; strategy is 'majority', not 'single'" in message
    assert "chosen: majority of up to 16 at cheap, quality " in message
    assert "the best of dear: quality " in message
    assert "Chosen for the best quality among them" in message
    message = fails(lambda: assert_plan(result, why="the moon"))
    assert "no reason for the choice says 'the moon'" in message


def test_a_deployment_that_was_not_weighed() -> None:
    """The reason is checked, and shown."""
    wanted = tt.Objective(locality="local", max_samples=1)
    result = solve({**CHEAP, "locality": "local"}, DEAR, objective=wanted)
    assert_rejected(result, "dear", why="local")
    assert "dear was rejected: " in fails(lambda: assert_plan(result, deployment="dear"))
    assert "rejected for another reason than 'price'" in fails(
        lambda: assert_rejected(result, "dear", why="price")
    )
    message = fails(lambda: assert_rejected(result, "cheap"))
    assert message.startswith("cheap was weighed; weighed: cheap; rejected: dear")
    assert "gone was not there" in fails(lambda: assert_rejected(result, "gone"))


def test_how_many_samples_were_drawn() -> None:
    """All of them count, however they ended."""
    faults = [{"kind": "server_error", "samples": [1]}]
    local = {**CHEAP, "locality": "local", "faults": faults}
    result = solve(local, strategy="majority", objective=tt.Objective(max_samples=4), stop="esc:4")
    drawn = result.receipt.samples_drawn
    assert_samples(result, drawn=drawn, at_least=drawn, at_most=drawn, failed=1, cancelled=0)
    message = fails(
        lambda: assert_samples(result, drawn=9, at_least=9, at_most=1, failed=0, cancelled=7)
    )
    assert f"{drawn} samples were drawn, not 9; " in message
    assert f"{drawn} samples were drawn, fewer than 9; " in message
    assert f"{drawn} samples were drawn, more than 1; " in message
    assert "1 samples failed, not 0; 0 samples were cancelled, not 7" in message
    assert "sample 1 at cheap: failed, answer None" in message
    assert "an attempt at cheap failed: ServerError" in message


def test_no_count_at_all_is_no_assertion() -> None:
    """It would hold of every run."""
    with pytest.raises(tt.UsageError, match="given no count"):
        assert_samples(solve(CHEAP))


def test_a_vote_that_was_settled_early() -> None:
    """A run that drew its whole budget did not stop early; neither did one for another reason."""
    early = solve(CHEAP, strategy="majority", objective=tt.Objective(max_samples=16))
    assert_stopped_early(early)
    assert_stopped_early(early, reason="settled")
    assert "ended with 'settled', not 'deadline'" in fails(
        lambda: assert_stopped_early(early, reason="deadline")
    )
    whole = solve(CHEAP, strategy="single")
    assert "all 1 samples of the budget were drawn" in fails(lambda: assert_stopped_early(whole))


def test_where_samples_came_from() -> None:
    """A fallback has a planned deployment, another one, and a reason."""
    failing = {**CHEAP, "faults": [{"kind": "rate_limit", "retry_after_s": 1000}]}
    fell = solve(failing, DEAR, strategy="single")
    assert_fell_back(fell)
    assert_fell_back(fell, source="cheap", to="dear", because="RateLimitError")
    message = fails(
        lambda: assert_fell_back(fell, source="dear", to="cheap", because="ServerError")
    )
    assert "the plan was for cheap, not for dear" in message
    assert "samples came from dear, and none from cheap" in message
    assert "attempts at cheap failed with RateLimitError, not ServerError" in message
    assert "planned for cheap came from dear" in fails(lambda: assert_no_fallback(fell))
    stayed = solve(CHEAP, DEAR, strategy="single")
    assert_no_fallback(stayed)
    assert "every sample came from cheap, as planned" in fails(lambda: assert_fell_back(stayed))


@pytest.mark.parametrize("strategy", ["panel=cheap,dear", "mixture=cheap,dear"])
def test_a_strategy_that_names_its_deployments_does_not_fall_back(strategy: str) -> None:
    """Each is asked for itself, and nothing stands in for one that fails."""
    ran = solve(CHEAP, DEAR, strategy=strategy)
    assert {sample.deployment for sample in ran.samples} == {"cheap", "dear"}
    assert_no_fallback(ran)
    assert "came from cheap, dear, as planned" in fails(lambda: assert_fell_back(ran))
    failing = {**CHEAP, "faults": [{"kind": "rate_limit", "retry_after_s": 1000}]}
    assert_no_fallback(solve(failing, DEAR, strategy=strategy))


def test_the_second_deployment_of_a_cascade_is_planned() -> None:
    """Else none that goes on to it could be told from one that fell back."""
    said = {"latency": {"ttft_s": 1, "tokens_per_s": 100}, "completion_tokens": 20}
    torn = {"script": ["The answer is 7.", "The answer is 8."] * 4, "profile": able(0.5)}
    cheap = {"id": "cheap", **said, **torn}
    ran = solve(cheap, {**DEAR, **said, "profile": able(0.95)}, strategy="cascade")
    assert {sample.deployment for sample in ran.samples} == {"cheap", "dear"}
    assert_no_fallback(ran)


def test_what_a_run_cost() -> None:
    """An unknown cost is not at most anything."""
    result = solve(DEAR, strategy="single")
    cost = result.receipt.cost_usd
    assert cost == pytest.approx(0.005)
    assert_cost_at_most(result, 0.005)
    assert "the run cost $0.005, more than $0.004" in fails(
        lambda: assert_cost_at_most(result, 0.004)
    )
    unknown = solve({**DEAR, "usd_per_mtok": None}, strategy="single")
    message = fails(lambda: assert_cost_at_most(unknown, 1))
    assert "is not known, so it is not at most $1" in message
    assert "the price of dear is not known" in message
