"""Plans of votes that weigh."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tt_compute.errors import InvalidRequestError, PlanError
from tt_compute.planning.estimates import Estimates
from tt_compute.planning.plan_file import check_plan
from tt_compute.planning.planner import Planner, PlanRequest
from tt_compute.planning.types import Candidate, Objective, Plan
from tt_compute.profiles.schema import DeploymentSpec
from tt_compute.types import Capabilities, Clock

REQUEST = PlanRequest(task="math", input_tokens=50, weight="logprob")


def plan_of(spec: DeploymentSpec, clock: Clock, **changes: Any) -> Plan:
    capabilities = {spec.id: Capabilities(max_logprobs=5)}
    planner = Planner([spec], capabilities, {}, Estimates(), clock)
    return planner.plan(msgspec.structs.replace(REQUEST, **changes), Objective(max_samples=8))


def largest(plan: Plan) -> Candidate:
    return max(plan.candidates, key=lambda one: one.max_samples)


def test_a_weight_asks_for_a_vote_without_a_stop_rule(local: DeploymentSpec, clock: Clock) -> None:
    plan = plan_of(local, clock)
    assert {one.max_samples for one in plan.candidates} == {2, 4, 8}
    assert {(one.strategy, one.stop_rule, one.weight) for one in plan.candidates} == {
        ("majority", None, "logprob")
    }
    assert largest(plan).predicted.samples_mean == pytest.approx(8)


def test_a_models_own_confidence_is_predicted_to_help_nothing(
    local: DeploymentSpec, clock: Clock
) -> None:
    """As a plain vote of the whole budget, also where `certain` may end it sooner."""
    plain = plan_of(local, clock, weight=None, strategy="majority", stop_rule="certain")
    for stop in (None, "certain"):
        weighed = largest(plan_of(local, clock, stop_rule=stop))
        assert weighed.stop_rule == stop
        assert weighed.predicted.quality == pytest.approx(largest(plain).predicted.quality)
        assert weighed.predicted.samples_mean == pytest.approx(8)


def test_how_much_scores_help_is_unknown_but_not_what_the_samples_take(
    local: DeploymentSpec, clock: Clock
) -> None:
    plan = plan_of(local, clock, weight="verifier:0.5", has_verifier=True)
    (only,) = plan.candidates
    assert only.max_samples == 8
    assert only.predicted.quality is None
    assert only.predicted.latency_p95_s == largest(plan_of(local, clock)).predicted.latency_p95_s


def test_a_rule_that_counts_votes_is_refused(local: DeploymentSpec, clock: Clock) -> None:
    with pytest.raises(InvalidRequestError, match="counts votes"):
        plan_of(local, clock, stop_rule="beta")


def test_the_document_names_a_weight_only_where_votes_weigh(
    local: DeploymentSpec, clock: Clock
) -> None:
    assert largest(plan_of(local, clock)).to_dict()["weight"] == "logprob"
    assert "weight" not in largest(plan_of(local, clock, weight=None)).to_dict()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight": "logprobs"}, "there is no weight"),
        ({"stop_rule": "beta"}, "counts votes"),
        ({"strategy": "single", "max_samples": 1, "wave": 1}, "holds no vote"),
    ],
)
def test_a_plan_whose_weight_means_nothing_is_refused(
    local: DeploymentSpec, clock: Clock, changes: dict[str, Any], message: str
) -> None:
    plan = plan_of(local, clock)
    assert plan.chosen is not None
    check_plan(plan)
    wrong = msgspec.structs.replace(plan.chosen, **changes)
    with pytest.raises(PlanError, match=message):
        check_plan(msgspec.structs.replace(plan, chosen=wrong, candidates=(wrong,)))
