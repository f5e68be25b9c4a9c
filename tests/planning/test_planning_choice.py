"""What the planner chooses, what it advises, and how it explains itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tt_compute.planning.choice import QUALITY_SLACK
from tt_compute.planning.estimates import Estimates
from tt_compute.planning.explain import explain, frontier
from tt_compute.planning.planner import Planner, PlanRequest
from tt_compute.planning.types import Candidate, Objective, Plan, Prediction, Preference
from tt_compute.profiles.schema import DeploymentSpec
from tt_compute.types import Capabilities, Clock

Make = Callable[..., DeploymentSpec]
ALL = Capabilities(native_n=True, prefix_sharing=True)
REQUEST = PlanRequest(task="math", input_tokens=200)
LIMITS = ("max_cost_usd", "max_latency_s", "max_energy_j")
PREDICTED = {
    "max_cost_usd": "cost_usd",
    "max_latency_s": "latency_p95_s",
    "max_energy_j": "energy_j",
    "quality": "quality",
}

quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def planner_of(specs: Sequence[DeploymentSpec], clock: Clock) -> Planner:
    capabilities = dict.fromkeys((spec.id for spec in specs), ALL)
    return Planner(specs, capabilities, {}, Estimates(), clock)


def chosen(plan: Plan) -> Candidate:
    assert plan.chosen is not None
    return plan.chosen


def figure(candidate: Candidate, constraint: str) -> float:
    value = getattr(candidate.predicted, PREDICTED[constraint])
    assert isinstance(value, float)
    return value


objectives = st.builds(
    Objective,
    quality=st.none() | st.floats(0.05, 0.99),
    max_cost_usd=st.none() | st.floats(0, 0.01),
    max_latency_s=st.none() | st.floats(0.01, 20),
    max_samples=st.integers(1, 20),
    prefer=st.sampled_from(("quality", "cost", "latency", "energy")),
)
requests = st.builds(
    PlanRequest,
    task=st.just("math"),
    input_tokens=st.integers(1, 6000),
    has_verifier=st.booleans(),
)


# --- the choice ----------------------------------------------------------------------------------


@quick
@given(request_=requests, objective=objectives)
def test_the_choice_keeps_its_constraints_and_its_promise(
    fleet: list[DeploymentSpec], clock: Clock, request_: PlanRequest, objective: Objective
) -> None:
    """Feasible wherever anything is; then nothing feasible beats it in the preferred quantity."""
    plan = planner_of(fleet, clock).plan(request_, objective)
    feasible = [one for one in plan.candidates if one.feasible]
    best = chosen(plan)
    assert best in plan.candidates
    assert best.feasible == bool(feasible)
    assert bool(plan.advice) == (not feasible)
    if feasible and objective.prefer in ("cost", "latency"):
        name = "max_cost_usd" if objective.prefer == "cost" else "max_latency_s"
        known = [one for one in feasible if getattr(one.predicted, PREDICTED[name]) is not None]
        if known:
            assert figure(best, name) == min(figure(one, name) for one in known)
    if feasible and objective.prefer == "quality":
        top = max(one.predicted.quality or 0 for one in feasible)
        assert (best.predicted.quality or 0) >= top - QUALITY_SLACK - 1e-12


@quick
@given(request_=requests, objective=objectives)
def test_the_choice_lies_on_the_frontier(
    fleet: list[DeploymentSpec], clock: Clock, request_: PlanRequest, objective: Objective
) -> None:
    """No feasible candidate is as good in everything and better in something."""
    plan = planner_of(fleet, clock).plan(request_, objective)
    best = chosen(plan)
    if not best.feasible:
        return

    def gains(one: Candidate) -> list[float]:
        predicted = one.predicted
        burdens = (predicted.cost_usd, predicted.latency_p95_s, predicted.energy_j)
        quality = -1.0 if predicted.quality is None else predicted.quality
        return [quality, *(-1e9 if burden is None else -burden for burden in burdens)]

    mine = gains(best)
    for one in plan.candidates:
        theirs = gains(one)
        if one.feasible and all(a >= b for a, b in zip(theirs, mine, strict=True)):
            assert theirs == mine


@quick
@given(request_=requests, objective=objectives, tighter=st.floats(0.1, 1))
def test_tightening_never_makes_a_plan_feasible(
    fleet: list[DeploymentSpec],
    clock: Clock,
    request_: PlanRequest,
    objective: Objective,
    tighter: float,
) -> None:
    """Of any candidate, feasible under tighter limits implies feasible under looser ones."""
    limits = {
        name: limit * tighter for name in LIMITS if (limit := getattr(objective, name)) is not None
    }
    planner = planner_of(fleet, clock)
    loose = planner.plan(request_, objective)
    tight = planner.plan(request_, msgspec.structs.replace(objective, **limits))
    for before, after in zip(loose.candidates, tight.candidates, strict=True):
        assert before.deployment == after.deployment
        assert before.feasible >= after.feasible


@quick
@given(request_=requests, objective=objectives)
def test_violations_are_real_and_complete(
    fleet: list[DeploymentSpec], clock: Clock, request_: PlanRequest, objective: Objective
) -> None:
    """Exactly the constraints that the predictions miss, or that nothing is known about."""
    plan = planner_of(fleet, clock).plan(request_, objective)
    for one in plan.candidates:
        expected: set[str] = set()
        for name, key in PREDICTED.items():
            wanted, found = getattr(objective, name), getattr(one.predicted, key)
            if wanted is None:
                continue
            if found is None:
                expected.add(f"{name.removeprefix('max_')}: unknown")
            elif found < wanted if name == "quality" else found > wanted:
                expected.add(name)
        assert set(one.violates) == expected
        assert one.feasible == (not expected)


@quick
@given(request_=requests, objective=objectives)
def test_what_the_advice_asks_for_would_do(
    fleet: list[DeploymentSpec], clock: Clock, request_: PlanRequest, objective: Objective
) -> None:
    """Giving way on what the nearest candidate misses, to what it reaches, makes it feasible."""
    planner = planner_of(fleet[:3], clock)
    plan = planner.plan(request_, objective)
    best = chosen(plan)
    if best.feasible:
        return
    assert not any("unknown" in name for name in best.violates if "energy" not in name)
    for name in best.violates:
        assert name in plan.advice
    given_way = {name: figure(best, name) for name in best.violates}
    relaxed = planner.plan(request_, msgspec.structs.replace(objective, **given_way))
    assert chosen(relaxed).feasible
    assert not relaxed.advice


def test_the_tightest_constraint_is_named_first(make_service: Make, clock: Clock) -> None:
    """By how many times it is exceeded; the advice says what the nearest plan needs."""
    request = msgspec.structs.replace(REQUEST, strategy="single")
    planner = planner_of([make_service("one")], clock)
    free = chosen(planner.plan(request, Objective())).predicted
    assert free.cost_usd is not None
    assert free.latency_p95_s is not None
    objective = Objective(max_cost_usd=free.cost_usd / 2, max_latency_s=free.latency_p95_s / 5)
    plan = planner.plan(request, objective)
    assert chosen(plan).violates == ("max_latency_s", "max_cost_usd")
    assert plan.advice.startswith(
        f"max_latency_s: {free.latency_p95_s / 5:.4g} s wanted, "
        f"the nearest plan needs {free.latency_p95_s:.4g} s; max_cost_usd: "
    )
    assert plan.advice.endswith("(nearest plan: one, single)")


def test_strict_chooses_nothing_rather_than_a_miss(
    fleet: list[DeploymentSpec], clock: Clock
) -> None:
    planner = planner_of(fleet, clock)
    impossible = Objective(quality=0.999, max_latency_s=0.5)
    assert planner.plan(REQUEST, impossible, strict=True).chosen is None
    assert planner.plan(REQUEST, impossible, strict=True).advice
    assert planner.plan(REQUEST, Objective(), strict=True).chosen is not None


def test_within_half_a_point_of_quality_the_cheaper_wins(make_service: Make, clock: Clock) -> None:
    """And beyond it the better one."""
    request = msgspec.structs.replace(REQUEST, strategy="single")

    def winner(success_rate: float) -> str:
        specs = [
            make_service("cheap", usd_per_mtok=0.5, success_rate=0.6),
            make_service("dear", usd_per_mtok=5.0, success_rate=success_rate),
        ]
        return chosen(planner_of(specs, clock).plan(request, Objective())).deployment

    assert winner(0.604) == "cheap"
    assert winner(0.606) == "dear"


def test_equal_costs_are_decided_by_speed_and_equal_speeds_by_name(
    make_service: Make, clock: Clock
) -> None:
    request = msgspec.structs.replace(REQUEST, strategy="single")
    slow, quicker = make_service("a", tokens_per_s=50.0), make_service("b", tokens_per_s=60.0)
    assert chosen(planner_of([slow, quicker], clock).plan(request, Objective())).deployment == "b"
    twins = [make_service("z"), make_service("y")]
    for order in (twins, twins[::-1]):
        assert chosen(planner_of(order, clock).plan(request, Objective())).deployment == "y"


def test_at_equal_cost_and_speed_the_better_wins(make_service: Make, clock: Clock) -> None:
    """Even by less than half a point."""
    request = msgspec.structs.replace(REQUEST, strategy="single")
    specs = [make_service("a", success_rate=0.6), make_service("b", success_rate=0.603)]
    assert chosen(planner_of(specs, clock).plan(request, Objective())).deployment == "b"


def test_among_options_that_fail_by_unknowns_only_preference_decides(
    make_service: Make, clock: Clock
) -> None:
    """Not how far below its other limits one stays."""
    request = msgspec.structs.replace(REQUEST, strategy="single")
    specs = [
        make_service("cheap", tokens_per_s=None, usd_per_mtok=0.1, success_rate=0.4),
        make_service("good", tokens_per_s=None, usd_per_mtok=0.5, success_rate=0.8),
    ]
    objective = Objective(max_latency_s=5, max_cost_usd=1)
    plan = planner_of(specs, clock).plan(request, objective)
    assert chosen(plan).deployment == "good"
    assert chosen(plan).violates == ("latency_s: unknown",)


def test_the_same_request_gets_the_same_plan(fleet: list[DeploymentSpec], clock: Clock) -> None:
    """From a fresh planner and from one that has its tables; only the times differ."""
    planner = planner_of(fleet, clock)

    def decided(by: Planner) -> Plan:
        plan = by.plan(REQUEST, Objective(quality=0.7))
        return msgspec.structs.replace(plan, elapsed_us=0, setup_us=0)

    assert decided(planner) == decided(planner) == decided(planner_of(fleet, clock))


def test_times_add_up_to_the_call(local: DeploymentSpec, clock: Clock) -> None:
    """On a clock that ticks once per look, the choice takes one tick and the rest two."""
    plan = planner_of([local], clock).plan(REQUEST, Objective())
    assert (plan.elapsed_us, plan.setup_us) == pytest.approx((1000, 2000))


# --- the explanation -----------------------------------------------------------------------------


def test_the_explanation_marks_the_chosen_among_the_frontier(
    fleet: list[DeploymentSpec], clock: Clock
) -> None:
    plan = planner_of(fleet, clock).plan(REQUEST, Objective(quality=0.5, prefer="cost"))
    explanation = explain(plan, rows=4)
    assert len(explanation.rows) <= 4
    assert [candidate for candidate, marked in explanation.rows if marked] == [plan.chosen]
    qualities = [candidate.predicted.quality or 0 for candidate, _ in explanation.rows]
    assert qualities == sorted(qualities, reverse=True)


def test_the_explanation_says_what_more_would_buy(
    fleet: list[DeploymentSpec], clock: Clock
) -> None:
    """What a better candidate would bring, and what it would take."""
    plan = planner_of(fleet, clock).plan(REQUEST, Objective(quality=0.5, prefer="cost"))
    text = "\n".join(explain(plan).reasons)
    assert "Chosen for the least cost" in text
    assert "Better: large, majority" in text
    assert "but $" in text


def test_an_infeasible_plan_is_explained_by_its_advice(
    fleet: list[DeploymentSpec], clock: Clock
) -> None:
    plan = planner_of(fleet, clock).plan(REQUEST, Objective(quality=0.9999), strict=True)
    explanation = explain(plan)
    assert not any(marked for _, marked in explanation.rows)
    assert explanation.reasons[0].startswith("0 of ")
    assert plan.advice in explanation.reasons[1]


def test_the_frontier_holds_what_nothing_beats(fleet: list[DeploymentSpec], clock: Clock) -> None:
    """Against the definition, for all pairs."""
    request = msgspec.structs.replace(REQUEST, has_verifier=True)
    candidates = planner_of(fleet, clock).plan(request, Objective()).candidates

    def beats(one: Prediction, other: Prediction) -> bool:
        def burden(value: float | None) -> float:
            return float("inf") if value is None else value

        mine = (-(one.quality or -1), burden(one.cost_usd), burden(one.latency_p95_s))
        theirs = (-(other.quality or -1), burden(other.cost_usd), burden(other.latency_p95_s))
        return mine != theirs and all(a <= b for a, b in zip(mine, theirs, strict=True))

    found = frontier(candidates)
    for one in candidates:
        beaten = any(beats(other.predicted, one.predicted) for other in candidates)
        same = any(other.predicted == one.predicted for other in found)
        assert same != beaten


@pytest.mark.parametrize(
    ("prefer", "what"),
    [
        ("quality", "How good usc on model of b is at math tasks"),
        ("cost", "What usc on model of b costs"),
        ("latency", "How long usc on model of b takes"),
        ("energy", "How much energy usc on model of b takes"),
    ],
)
def test_where_nothing_is_foreseen_the_cheaper_tokens_decide_and_not_the_name(
    make_service: Make, clock: Clock, prefer: Preference, what: str
) -> None:
    """And nothing is said to have been chosen for what nobody knows."""
    specs = [make_service(name, usd_per_mtok=usd) for name, usd in (("a", 5), ("b", 2), ("c", 9))]
    request = msgspec.structs.replace(REQUEST, strategy="usc")
    plan = planner_of(specs, clock).plan(request, Objective(prefer=prefer))
    assert chosen(plan).deployment == "b"
    said = f"{what} is not known, so that {prefer} decides nothing; the cheaper and the quicker one wins."
    assert said in explain(plan).reasons
