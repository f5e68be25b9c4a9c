"""How deployments stand now: waits and loads are part of latencies, what is closed is left out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import pytest

from tt_compute.planning.conditions import Condition
from tt_compute.planning.estimates import Estimates
from tt_compute.planning.explain import explain
from tt_compute.planning.planner import Planner, PlanRequest
from tt_compute.planning.types import Objective, Plan
from tt_compute.profiles.schema import DeploymentSpec
from tt_compute.types import Clock

Make = Callable[..., DeploymentSpec]
REQUEST = PlanRequest(task="math", input_tokens=100, strategy="single")
RESTING = Condition(wait_s=30.0, why="near has used its 10 requests per minute")
BROKEN = Condition(wait_s=math.inf, why="near failed too often just now")


@pytest.fixture
def decide(make_service: Make, clock: Clock) -> Callable[..., Plan]:
    """Over ``near``, which is the quicker one, and ``far``."""
    specs = [make_service("near", tokens_per_s=500), make_service("far", tokens_per_s=50)]
    planner = Planner(specs, {}, {}, Estimates(), clock)

    def plan(conditions: Mapping[str, Condition], **objective: object) -> Plan:
        wanted = Objective(prefer="latency", **objective)  # type: ignore[arg-type]
        return planner.plan(REQUEST, wanted, conditions=conditions)

    return plan


def latencies(plan: Plan) -> dict[str, tuple[float | None, float | None]]:
    return {
        one.deployment: (one.predicted.latency_p50_s, one.predicted.latency_p95_s)
        for one in plan.candidates
    }


def test_a_wait_is_part_of_both_latencies_and_sends_the_plan_elsewhere(
    decide: Callable[..., Plan],
) -> None:
    ready, resting = decide({}), decide({"near": RESTING})
    assert (ready.chosen and ready.chosen.deployment) == "near"
    assert (resting.chosen and resting.chosen.deployment) == "far"
    before, after = latencies(ready)["near"], latencies(resting)["near"]
    assert all(
        old is not None and new == pytest.approx(old + 30)
        for old, new in zip(before, after, strict=True)
    )
    assert latencies(ready)["far"] == latencies(resting)["far"]


def test_a_limit_on_latency_counts_the_wait(decide: Callable[..., Plan]) -> None:
    plan = decide({"near": RESTING}, max_latency_s=20)
    assert [one.feasible for one in plan.candidates if one.deployment == "near"] == [False]


def test_what_is_closed_is_rejected_with_the_reason(decide: Callable[..., Plan]) -> None:
    plan = decide({"near": BROKEN})
    assert [(one.deployment, one.reason) for one in plan.rejected] == [("near", BROKEN.why)]
    assert {one.deployment for one in plan.candidates} == {"far"}


def test_when_all_are_closed_the_run_finds_out(decide: Callable[..., Plan]) -> None:
    """The planner is no judge of that: one of them may be back when the request arrives."""
    plan = decide({"near": BROKEN, "far": BROKEN})
    assert {one.deployment for one in plan.candidates} == {"near", "far"}
    assert latencies(plan) == latencies(decide({}))


def test_a_plan_says_what_its_latencies_hold(decide: Callable[..., Plan]) -> None:
    plan = decide({"near": RESTING, "far": Condition(load_s=3.0)})
    said = explain(plan).reasons
    assert f"Latencies at near include 30 s of waiting: {RESTING.why}." in said
    assert "Latencies at far include 3 s to load its model." in said
    assert not decide({}).delays


def test_loading_goes_on_while_a_limit_rests() -> None:
    assert Condition(wait_s=2.0, load_s=5.0).delay_s == 5.0
    assert Condition(wait_s=7.0, load_s=5.0).delay_s == 7.0
