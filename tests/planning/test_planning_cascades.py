"""Cascades: what is handed on, what it comes to, and when a plan is one."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import msgspec
import pytest

from tt_compute.errors import InvalidRequestError
from tt_compute.planning.ability import TaskAbility
from tt_compute.planning.escalation import TOGETHER, Escalation, by_verifier, by_vote
from tt_compute.planning.estimates import Estimates
from tt_compute.planning.planner import Planner, PlanRequest
from tt_compute.planning.questions import KINDS, RATES, Questions
from tt_compute.planning.types import Objective, Plan
from tt_compute.profiles.schema import DeploymentSpec
from tt_compute.stopping import beta_posterior
from tt_compute.types import Capabilities, Clock, Reliability

Make = Callable[..., DeploymentSpec]
REQUEST = PlanRequest(task="math", input_tokens=200)
WEAK = TaskAbility(mean=0.55, questions=Questions.stated(0.55, 1.5, 0.4), abstain_share=0.2)
STRONG = Questions.stated(0.8, 1.5, 0.4)


# --- what is handed on ---------------------------------------------------------------------------


def vote(answers: tuple[int, ...], budget: int, threshold: float) -> tuple[bool, int, int]:
    """(settled, samples, leading answer) of answers drawn one by one; -1 abstains."""
    counts: dict[int, int] = {}
    for drawn, answer in enumerate(answers[:budget], 1):
        if answer >= 0:
            counts[answer] = counts.get(answer, 0) + 1
        first, second = sorted([*counts.values(), 0, 0], reverse=True)[:2]
        if first and beta_posterior(first, second) >= threshold:
            leader = max(counts, key=counts.__getitem__)
            return True, drawn, leader
    return False, budget, -2


def enumerated(
    ability: TaskAbility, budget: int, threshold: float
) -> list[tuple[float, float, float]]:
    """For each kind of question: P(handed on), P(settled and right), mean samples, over all courses."""
    assert ability.abstain_share is not None
    found: list[tuple[float, float, float]] = []
    for rate, agreement in KINDS:
        rest = 1 - rate
        voting = rest * (1 - ability.abstain_share)
        chances = {
            0: rate,
            1: voting * agreement,
            2: voting * (1 - agreement),
            -1: rest * ability.abstain_share,
        }
        on = right = samples = 0.0
        for course in itertools.product(chances, repeat=budget):
            chance = 1.0
            for answer in course:
                chance *= chances[answer]
            # Wrong answers of their own never agree.
            named = tuple(10 + n if answer == 2 else answer for n, answer in enumerate(course))
            settled, drawn, leader = vote(named, budget, threshold)
            on += chance * (not settled)
            right += chance * (settled and leader == 0)
            samples += chance * drawn
        found.append((on, right, samples))
    return found


def test_what_a_vote_keeps_and_hands_on_is_that_of_all_its_courses() -> None:
    """Against an enumeration of every course of four samples, one by one."""
    assert WEAK.questions is not None
    courses = enumerated(WEAK, 4, 0.8)
    after = by_vote(WEAK, STRONG, "gate:beta:0.8", 4)
    weights = WEAK.questions.weights
    assert after.share == pytest.approx(
        sum(w * c[0] for w, c in zip(weights, courses, strict=True))
    )
    assert after.kept_right == pytest.approx(
        sum(w * c[1] for w, c in zip(weights, courses, strict=True))
    )
    assert after.samples_mean == pytest.approx(
        sum(w * c[2] for w, c in zip(weights, courses, strict=True))
    )


def laid_side_by_side(after_chance: dict[float, float], draws: int = 200_000) -> float:
    """Success rate of the strong model on what is handed on, by drawing questions for both models."""
    assert WEAK.questions is not None
    rng = random.Random(5)
    weak, strong = dict(WEAK.questions.rates()), dict(STRONG.rates())
    weak_ends = list(itertools.accumulate(weak.get(rate, 0.0) for rate in RATES))
    strong_ends = list(itertools.accumulate(strong.get(rate, 0.0) for rate in RATES))

    def at(ends: list[float], level: float) -> float:
        return next(rate for rate, end in zip(RATES, ends, strict=True) if level < end + 1e-12)

    total = right = 0.0
    for _ in range(draws):
        level = rng.random()
        other = level if rng.random() < TOGETHER else rng.random()
        chance = after_chance[at(weak_ends, level)]
        total += chance
        right += chance * at(strong_ends, other)
    return right / total


def test_kinds_that_are_handed_on_follow_by_bayes_from_the_mixture() -> None:
    """Against questions drawn at random: of each the two models' levels, the same or independent."""
    weak = msgspec.structs.replace(WEAK, questions=Questions.stated(0.55, 1.5, 0.4))
    exact = Reliability()
    after = by_verifier(weak, STRONG, exact, budget=3, wave=3)
    drawn = laid_side_by_side({rate: (1 - rate) ** 3 for rate in RATES})
    assert after.questions.success_rate == pytest.approx(drawn, abs=0.005)
    assert after.questions.success_rate < STRONG.success_rate


def test_an_exact_verifier_keeps_only_what_is_right() -> None:
    """P(at least one of n right), and the rest is handed on; one wave draws all of it."""
    assert WEAK.questions is not None
    after = by_verifier(WEAK, STRONG, Reliability(), budget=4, wave=4)
    assert after.kept_right == pytest.approx(WEAK.questions.pass_at(4))
    assert after.share == pytest.approx(1 - WEAK.questions.pass_at(4))
    assert after.samples_mean == pytest.approx(4)


def test_where_nothing_is_handed_on_the_second_model_keeps_its_questions() -> None:
    sure = TaskAbility(mean=1.0, questions=Questions.stated(1.0, 50, 0.4), abstain_share=0.0)
    after = by_vote(sure, STRONG, "gate:beta:0.8", 4)
    assert isinstance(after, Escalation)
    assert after.share == pytest.approx(0.0, abs=1e-6)


# --- the plan ------------------------------------------------------------------------------------


@pytest.fixture
def strong(service: DeploymentSpec) -> DeploymentSpec:
    """Dear, and better than ``local``."""
    model, deployment = service.model, service.deployment
    ability = model.abilities["math"]
    better = msgspec.structs.replace(
        ability, success_rate=msgspec.structs.replace(ability.success_rate, value=0.9)
    )
    model = msgspec.structs.replace(model, id="strong", abilities={"math": better})
    deployment = msgspec.structs.replace(deployment, id="strong", model="strong")
    return msgspec.structs.replace(service, model=model, deployment=deployment)


def plan_of(
    specs: list[DeploymentSpec], clock: Clock, objective: Objective, request: PlanRequest = REQUEST
) -> Plan:
    able = Capabilities(native_n=True, prefix_sharing=True)
    names = {spec.id: able for spec in specs}
    return Planner(specs, names, {}, Estimates(), clock).plan(request, objective)


def test_a_cascade_is_chosen_where_it_reaches_a_quality_for_less(
    local: DeploymentSpec, strong: DeploymentSpec, clock: Clock
) -> None:
    objective = Objective(quality=0.85, prefer="cost", max_samples=8)
    plan = plan_of([local, strong], clock, objective)
    assert plan.chosen is not None
    assert (plan.chosen.strategy, plan.chosen.deployment) == ("cascade", "local")
    assert plan.chosen.then is not None
    assert plan.chosen.then.deployment == "strong"
    alone = [one for one in plan.candidates if one.deployment == "strong" and one.feasible]
    cost, dearer = plan.chosen.predicted.cost_usd, [one.predicted.cost_usd for one in alone]
    assert cost is not None
    assert all(one is not None and cost < one for one in dearer)


def test_a_cascade_is_at_least_as_good_as_its_second_model_on_what_it_hands_on(
    local: DeploymentSpec, strong: DeploymentSpec, clock: Clock
) -> None:
    """Quality lies between that of the first model alone and one, the cost below that of asking both always."""
    plan = plan_of([local, strong], clock, Objective(max_samples=8))
    cascades = [one for one in plan.candidates if one.strategy == "cascade"]
    assert cascades
    single = next(
        one for one in plan.candidates if (one.deployment, one.strategy) == ("strong", "single")
    )
    for one in cascades:
        assert one.then is not None
        assert one.then.share is not None
        assert 0 < one.then.share < 1
        assert one.predicted.quality is not None
        assert 0.6 < one.predicted.quality < 1
        assert one.predicted.latency_p50_s is not None
        assert one.predicted.latency_p95_s is not None
        assert one.predicted.latency_p50_s < one.predicted.latency_p95_s
        if one.then.max_samples == 1:
            assert one.predicted.cost_usd is not None
            assert single.predicted.cost_usd is not None
            assert one.predicted.cost_usd == pytest.approx(
                one.then.share * single.predicted.cost_usd, rel=0.01
            )


def test_max_samples_is_of_both_deployments_together(
    local: DeploymentSpec, strong: DeploymentSpec, clock: Clock
) -> None:
    plan = plan_of([local, strong], clock, Objective(max_samples=5))
    for one in plan.candidates:
        assert one.max_samples <= 5
        if one.then is not None:
            assert one.first_samples + one.then.max_samples == one.max_samples


def test_a_deployment_that_is_out_takes_its_cascades_with_it(
    local: DeploymentSpec, strong: DeploymentSpec, clock: Clock
) -> None:
    """A prompt too long for the second model leaves the first one's own candidates."""
    small = msgspec.structs.replace(strong.model, max_context_tokens=150)
    plan = plan_of([local, msgspec.structs.replace(strong, model=small)], clock, Objective())
    assert {one.deployment for one in plan.candidates} == {"local"}
    assert all(one.then is None for one in plan.candidates)


def test_one_deployment_makes_no_cascade(local: DeploymentSpec, clock: Clock) -> None:
    request = msgspec.structs.replace(REQUEST, strategy="cascade")
    with pytest.raises(InvalidRequestError, match="no two of the deployments make a cascade"):
        plan_of([local], clock, Objective(), request)


def test_a_pinned_stop_rule_decides_what_is_handed_on(
    local: DeploymentSpec, strong: DeploymentSpec, clock: Clock
) -> None:
    request = msgspec.structs.replace(REQUEST, strategy="cascade", stop_rule="lead:2")
    plan = plan_of([local, strong], clock, Objective(), request)
    assert {one.stop_rule for one in plan.candidates} == {"lead:2"}


def test_a_rule_that_sees_the_order_of_votes_is_refused(
    local: DeploymentSpec, strong: DeploymentSpec, clock: Clock
) -> None:
    request = msgspec.structs.replace(REQUEST, strategy="cascade", stop_rule="esc")
    with pytest.raises(InvalidRequestError, match="'esc' cannot decide on going to another model"):
        plan_of([local, strong], clock, Objective(), request)


def test_with_a_verifier_what_it_refuses_is_handed_on(
    local: DeploymentSpec, strong: DeploymentSpec, clock: Clock
) -> None:
    request = msgspec.structs.replace(REQUEST, strategy="cascade", has_verifier=True)
    plan = plan_of([local, strong], clock, Objective(max_samples=16), request)
    assert {one.stop_rule for one in plan.candidates} == {None}
    assert {one.then.strategy for one in plan.candidates if one.then} == {"best_of_n"}
    whole = next(one for one in plan.candidates if one.first_samples == 8)
    assert WEAK.questions is not None
    assert whole.predicted.quality is not None
    assert whole.predicted.quality > 0.9
