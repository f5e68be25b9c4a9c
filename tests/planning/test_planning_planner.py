"""The planner: what it weighs, what it rejects, what it chooses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from tt_compute.errors import (
    BackendUnavailable,
    ContextLengthError,
    InfeasibleError,
    InvalidRequestError,
    TTComputeError,
    UnknownNameError,
    UnsupportedError,
)
from tt_compute.planning.estimates import Estimates
from tt_compute.planning.observations import Observation
from tt_compute.planning.planner import Planner, PlanRequest
from tt_compute.planning.types import Candidate, Objective, Plan, Prediction
from tt_compute.profiles.schema import DeploymentSpec, Limits
from tt_compute.stopping import STOP_RULES
from tt_compute.types import Capabilities, Clock, SamplingParams

Make = Callable[..., DeploymentSpec]
ALL = Capabilities(
    native_n=True, prefix_sharing=True, max_logprobs=1, seed="exact", json_schema=True
)
REQUEST = PlanRequest(task="math", input_tokens=200)


def planner_of(specs: Sequence[DeploymentSpec], clock: Clock, **changes: Any) -> Planner:
    arguments: dict[str, Any] = {
        "specs": specs,
        "capabilities": dict.fromkeys((spec.id for spec in specs), ALL),
        "unavailable": {},
        "estimates": Estimates(),
        "clock": clock,
        **changes,
    }
    return Planner(**arguments)


def chosen(plan: Plan) -> Candidate:
    assert plan.chosen is not None
    return plan.chosen


# --- what is weighed -----------------------------------------------------------------------------


def test_every_strategy_is_weighed_at_every_budget(local: DeploymentSpec, clock: Clock) -> None:
    """Budgets double up to ``max_samples``, which counts itself; ``best_of_n`` needs a verifier."""
    planner = planner_of([local], clock)

    def budgets(request: PlanRequest) -> dict[str, set[int]]:
        found: dict[str, set[int]] = {}
        for candidate in planner.plan(request, Objective(max_samples=12)).candidates:
            found.setdefault(candidate.strategy, set()).add(candidate.max_samples)
        return found

    assert budgets(REQUEST) == {"single": {1}, "majority": {2, 4, 8, 12}}
    judged = msgspec.structs.replace(REQUEST, has_verifier=True)
    assert budgets(judged)["best_of_n"] == {2, 4, 8, 12}


def test_no_wave_is_wider_than_the_deployment_allows(service: DeploymentSpec, clock: Clock) -> None:
    limited = msgspec.structs.replace(service.deployment, limits=Limits(max_concurrency=3))
    planner = planner_of([msgspec.structs.replace(service, deployment=limited)], clock)
    request = msgspec.structs.replace(REQUEST, has_verifier=True)
    plan = planner.plan(request, Objective(max_samples=64))
    assert {candidate.wave for candidate in plan.candidates} == {1, 2, 3}


def test_best_of_n_never_gets_worse_with_a_larger_budget(
    service: DeploymentSpec, clock: Clock
) -> None:
    request = msgspec.structs.replace(REQUEST, strategy="best_of_n", has_verifier=True)
    plan = planner_of([service], clock).plan(request, Objective(max_samples=64))
    by_budget = sorted((one.max_samples, one.predicted.quality or 0) for one in plan.candidates)
    qualities = [quality for _, quality in by_budget]
    assert qualities == sorted(qualities)
    assert qualities[0] < qualities[-1]


def test_wide_contests_are_quicker_and_dearer(service: DeploymentSpec, clock: Clock) -> None:
    """Both ends stay on offer: what is in flight when a sample is accepted was paid for."""
    request = msgspec.structs.replace(REQUEST, strategy="best_of_n", has_verifier=True)
    plan = planner_of([service], clock).plan(request, Objective())
    of_16 = {one.wave: one.predicted for one in plan.candidates if one.max_samples == 16}
    narrow, wide = of_16[min(of_16)], of_16[max(of_16)]
    assert (narrow.latency_p95_s or 0) > (wide.latency_p95_s or 0)
    assert (narrow.cost_usd or 0) < (wide.cost_usd or 0)


def test_a_lone_sample_is_greedy_and_others_vary(local: DeploymentSpec, clock: Clock) -> None:
    plan = planner_of([local], clock).plan(REQUEST, Objective())
    drawn = {one.strategy: one.sampling for one in plan.candidates}
    assert (drawn["single"].temperature, drawn["single"].top_p) == (0.0, None)
    assert (drawn["majority"].temperature, drawn["majority"].top_p) == (0.8, 0.95)


def test_the_callers_sampling_wins(local: DeploymentSpec, clock: Clock) -> None:
    wishes = SamplingParams(temperature=0.3, top_k=5, max_tokens=150, stop=("END",), seed=4)
    request = msgspec.structs.replace(REQUEST, sampling=wishes)
    for candidate in planner_of([local], clock).plan(request, Objective()).candidates:
        sampling = candidate.sampling
        assert (sampling.temperature, sampling.top_k, sampling.max_tokens) == (0.3, 5, 150)
        assert (sampling.stop, sampling.seed) == (("END",), 4)


def test_at_temperature_0_only_a_single_sample_makes_sense(
    local: DeploymentSpec, clock: Clock
) -> None:
    request = msgspec.structs.replace(REQUEST, sampling=SamplingParams(temperature=0))
    plan = planner_of([local], clock).plan(request, Objective())
    assert {candidate.strategy for candidate in plan.candidates} == {"single"}


def test_the_token_limit_follows_the_known_lengths(local: DeploymentSpec, clock: Clock) -> None:
    """Twice the 95th percentile of 200, in steps of 64; where none is known, by kind of task."""
    planner = planner_of([local], clock)
    assert chosen(planner.plan(REQUEST, Objective())).sampling.max_tokens == 448
    unknown = msgspec.structs.replace(REQUEST, task="code")
    assert chosen(planner.plan(unknown, Objective())).sampling.max_tokens == 2048


def test_the_token_limit_shrinks_with_the_room(local: DeploymentSpec, clock: Clock) -> None:
    request = msgspec.structs.replace(REQUEST, input_tokens=8192 - 150)
    plan = planner_of([local], clock).plan(request, Objective())
    assert chosen(plan).sampling.max_tokens == 150


def test_samples_that_must_be_cut_have_no_known_quality(
    local: DeploymentSpec, clock: Clock
) -> None:
    """Below the mean length most answers would be lost, however able the model."""
    request = msgspec.structs.replace(REQUEST, sampling=SamplingParams(max_tokens=20))
    plan = planner_of([local], clock).plan(request, Objective(quality=0.1))
    assert chosen(plan).violates == ("quality: unknown",)
    assert "max_tokens=20" in plan.advice


def test_a_stop_rule_asks_for_a_vote(local: DeploymentSpec, clock: Clock) -> None:
    request = msgspec.structs.replace(REQUEST, stop_rule="beta:0.99")
    plan = planner_of([local], clock).plan(request, Objective())
    assert {(one.strategy, one.stop_rule) for one in plan.candidates} == {("majority", "beta:0.99")}


def test_a_stop_rule_of_scores_asks_for_a_verifier(local: DeploymentSpec, clock: Clock) -> None:
    """Its quality is unknown: it depends on scores that no profile states."""
    planner = planner_of([local], clock)
    request = msgspec.structs.replace(REQUEST, stop_rule="threshold:0.50")
    with pytest.raises(InvalidRequestError, match="needs a verifier"):
        planner.plan(request, Objective())
    plan = planner.plan(msgspec.structs.replace(request, has_verifier=True), Objective(quality=0.5))
    assert {(one.strategy, one.stop_rule) for one in plan.candidates} == {
        ("best_of_n", "threshold:0.5")
    }
    assert chosen(plan).predicted.quality is None
    assert "threshold:0.5" in plan.advice


@pytest.mark.parametrize(
    ("strategy", "rule"), [("majority", "pandora"), ("best_of_n", "lead"), ("single", "threshold")]
)
def test_a_stop_rule_of_another_strategy_is_refused(
    local: DeploymentSpec, clock: Clock, strategy: str, rule: str
) -> None:
    request = msgspec.structs.replace(REQUEST, strategy=strategy, stop_rule=rule, has_verifier=True)
    with pytest.raises(InvalidRequestError, match=rule):
        planner_of([local], clock).plan(request, Objective())


@pytest.mark.parametrize("rule", STOP_RULES)
def test_votes_under_every_rule_are_predicted(
    local: DeploymentSpec, clock: Clock, rule: str
) -> None:
    request = msgspec.structs.replace(REQUEST, stop_rule=rule)
    predicted = chosen(planner_of([local], clock).plan(request, Objective())).predicted
    assert None not in (predicted.quality, predicted.samples_mean, predicted.latency_p95_s)


def test_a_stricter_rule_draws_more(local: DeploymentSpec, clock: Clock) -> None:
    planner = planner_of([local], clock)

    def samples(rule: str) -> float:
        request = msgspec.structs.replace(REQUEST, stop_rule=rule, ahead=1.0)
        plan = planner.plan(request, Objective())
        return max(one.predicted.samples_mean or 0 for one in plan.candidates)

    assert samples("beta:0.8") < samples("beta") < samples("beta:0.999")


def test_votes_ahead_of_need_are_weighed_and_taken_where_time_counts(
    local: DeploymentSpec, clock: Clock
) -> None:
    """They have the quality of those that wait, in less time and with more samples."""
    planner = planner_of([local], clock)
    request = msgspec.structs.replace(REQUEST, stop_rule="beta")
    plan = planner.plan(request, Objective())
    of_all = sorted(
        (one for one in plan.candidates if one.max_samples == 16), key=lambda one: one.ahead
    )
    eager, patient = of_all[0], of_all[-1]
    assert eager.ahead < patient.ahead == 1
    assert eager.predicted.quality == patient.predicted.quality
    assert (eager.predicted.latency_p95_s or 0) < 0.8 * (patient.predicted.latency_p95_s or 0)
    assert (eager.predicted.samples_mean or 0) > (patient.predicted.samples_mean or 0)
    limit = 1.05 * (eager.predicted.latency_p95_s or 0)
    assert chosen(planner.plan(request, Objective(max_latency_s=limit))).ahead < 1
    assert chosen(planner.plan(request, Objective(prefer="energy"))).ahead == 1


@pytest.mark.parametrize("ahead", [0.0, 0.5, 1.0])
def test_a_pinned_chance_leaves_votes_that_draw_so(
    local: DeploymentSpec, clock: Clock, ahead: float
) -> None:
    request = msgspec.structs.replace(REQUEST, ahead=ahead)
    plan = planner_of([local], clock).plan(request, Objective())
    assert {one.ahead for one in plan.candidates if one.strategy == "majority"} == {ahead}
    assert {one.strategy for one in plan.candidates} == (
        {"majority"} if ahead < 1 else {"single", "majority"}
    )


def test_what_is_drawn_one_by_one_or_of_unknown_lengths_is_not_drawn_ahead(
    local: DeploymentSpec, clock: Clock
) -> None:
    alone = msgspec.structs.replace(
        local,
        deployment=msgspec.structs.replace(local.deployment, limits=Limits(max_concurrency=1)),
    )
    plan = planner_of([alone], clock).plan(REQUEST, Objective())
    assert {one.ahead for one in plan.candidates} == {1.0}


# --- unknowns ------------------------------------------------------------------------------------


def test_what_is_unknown_is_null_and_explained(make_service: Make, clock: Clock) -> None:
    """No ability, no speed, no price: a single sample can still be planned, with nothing predicted."""
    bare = make_service("bare", tokens_per_s=None, usd_per_mtok=None, success_rate=None)
    planner = planner_of([bare], clock)
    plan = planner.plan(REQUEST, Objective())
    assert chosen(plan).strategy == "single"
    assert chosen(plan).predicted == Prediction(samples_mean=1.0)
    why = planner.unknowns(REQUEST, Objective())["bare"]
    assert why["quality"] == ("abilities.math.success_rate of model of bare is unknown",)
    assert why["cost_usd"] == ("price.usd_per_mtok.input of bare is unknown",)
    assert why["latency_s"][0].startswith("decode speed of bare")


def test_a_pinned_vote_of_unknown_ability_gets_the_whole_budget(
    make_service: Make, clock: Clock
) -> None:
    """Nothing tells smaller ones apart."""
    request = msgspec.structs.replace(REQUEST, strategy="majority")
    specs = [make_service("blind", success_rate=None)]
    plan = planner_of(specs, clock).plan(request, Objective(max_samples=12))
    assert [one.max_samples for one in plan.candidates] == [12]


def test_a_constraint_on_an_unknown_counts_as_not_met(
    fleet: list[DeploymentSpec], clock: Clock
) -> None:
    """It ranks after what is known to be feasible and before what is known not to be."""
    planner = planner_of(fleet, clock)
    known = planner.plan(REQUEST, Objective(max_latency_s=5))
    assert chosen(known).feasible
    assert chosen(known).deployment != "blind"
    too_tight = planner.plan(REQUEST, Objective(max_latency_s=0.01))
    assert chosen(too_tight).deployment == "blind"
    assert chosen(too_tight).violates == ("latency_s: unknown",)
    assert too_tight.advice.startswith("latency_s: unknown (decode speed of blind")


def test_evidence_moves_the_prediction(make_service: Make, clock: Clock) -> None:
    spec = make_service("one", success_rate=0.5)
    right = (Observation(right=1),) * 20
    seen = Estimates(greedy={(spec.model.id, "math"): right})
    request = msgspec.structs.replace(REQUEST, strategy="single")
    plan = planner_of([spec], clock, estimates=seen).plan(request, Objective())
    assert chosen(plan).predicted.quality == pytest.approx(0.75)


# --- rejections ----------------------------------------------------------------------------------


def rejection(plan: Plan) -> dict[str, str]:
    return {one.deployment: one.reason for one in plan.rejected}


def test_deployments_that_cannot_serve_are_rejected_with_the_reason(
    local: DeploymentSpec, service: DeploymentSpec, make_service: Make, clock: Clock
) -> None:
    specs = [local, service, make_service("gone")]
    planner = planner_of(specs, clock, unavailable={"gone": "no key in GONE_API_KEY"})
    private = planner.plan(REQUEST, Objective(locality="local"))
    assert {one.deployment for one in private.candidates} == {"local"}
    assert rejection(private)["service"] == "prompts would leave this machine (fleet is not local)"
    assert rejection(planner.plan(REQUEST, Objective())) == {"gone": "no key in GONE_API_KEY"}


@pytest.mark.parametrize(
    ("need", "named"),
    [
        ({"logprobs": 5}, "logprobs=5"),
        ({"exact_seed": True}, "an exact seed"),
        ({"json_schema": True}, "JSON schemas"),
        ({"tools": True}, "tools"),
        ({"continue_assistant": True}, "unfinished assistant message"),
    ],
)
def test_a_hard_need_that_is_not_known_to_be_met_rejects(
    local: DeploymentSpec, service: DeploymentSpec, clock: Clock, need: dict[str, Any], named: str
) -> None:
    """Capabilities that nobody has stated yet count as lacking."""
    everything = Capabilities(
        max_logprobs=5, seed="exact", json_schema=True, tools=True, continue_assistant=True
    )
    capabilities = {"local": everything, "service": None}
    planner = planner_of([local, service], clock, capabilities=capabilities)
    plan = planner.plan(msgspec.structs.replace(REQUEST, **need), Objective())
    assert {one.deployment for one in plan.candidates} == {"local"}
    assert named in rejection(plan)["service"]


def test_a_context_too_small_rejects(
    local: DeploymentSpec, service: DeploymentSpec, clock: Clock
) -> None:
    """The prompt and a usual answer (100 tokens) must fit; with a limit of the caller's, all of it."""
    tight = msgspec.structs.replace(service.deployment, limits=Limits(max_context_tokens=1000))
    planner = planner_of([local, msgspec.structs.replace(service, deployment=tight)], clock)

    def rejected(tokens: int, max_tokens: int | None) -> set[str]:
        sampling = SamplingParams(max_tokens=max_tokens)
        request = msgspec.structs.replace(REQUEST, input_tokens=tokens, sampling=sampling)
        return set(rejection(planner.plan(request, Objective())))

    assert rejected(900, None) == set()
    assert rejected(901, None) == {"service"}
    assert rejected(700, 300) == set()
    assert rejected(701, 300) == {"service"}


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"input_tokens": 9000}, ContextLengthError),
        ({"tools": True}, UnsupportedError),
        ({"unavailable": {"service": "openai is not installed"}}, BackendUnavailable),
        ({"locality": "local"}, InfeasibleError),
    ],
)
def test_when_all_are_rejected_the_error_says_why(
    service: DeploymentSpec, clock: Clock, changes: dict[str, Any], error: type[TTComputeError]
) -> None:
    planner = planner_of([service], clock, unavailable=changes.get("unavailable", {}))
    objective = Objective(locality=changes.get("locality", "any"))
    asked = {name: changes[name] for name in changes.keys() & {"input_tokens", "tools"}}
    with pytest.raises(error, match="service: ") as raised:
        planner.plan(msgspec.structs.replace(REQUEST, **asked), objective)
    assert raised.value.hint


@pytest.mark.parametrize(
    ("pin", "known"),
    [
        ({"deployment": "servce"}, "did you mean 'service'"),
        ({"stop_rule": "gamma"}, "beta"),
    ],
)
def test_an_unknown_name_lists_the_known_ones(
    service: DeploymentSpec, clock: Clock, pin: dict[str, str], known: str
) -> None:
    with pytest.raises(UnknownNameError) as raised:
        planner_of([service], clock).plan(msgspec.structs.replace(REQUEST, **pin), Objective())
    assert known in str(raised.value.hint)


def test_best_of_n_without_a_verifier_is_refused(service: DeploymentSpec, clock: Clock) -> None:
    with pytest.raises(InvalidRequestError, match="needs a verifier"):
        planner_of([service], clock).plan(
            msgspec.structs.replace(REQUEST, strategy="best_of_n"), Objective()
        )


@pytest.mark.parametrize("pinned", [{"strategy": "majority"}, {"stop_rule": "beta"}])
def test_a_vote_at_temperature_0_is_refused(
    local: DeploymentSpec, clock: Clock, pinned: dict[str, Any]
) -> None:
    """Equal samples agree, which says nothing of the answer."""
    request = msgspec.structs.replace(REQUEST, sampling=SamplingParams(temperature=0), **pinned)
    with pytest.raises(InvalidRequestError, match="temperature 0"):
        planner_of([local], clock).plan(request, Objective())
