"""Panels that a plan weighs by itself: which are offered, what they come to, and when one is chosen."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from tt_compute.conditions import Conditions
from tt_compute.planning.estimates import Estimates
from tt_compute.planning.explain import explain
from tt_compute.planning.panels import predict_panel
from tt_compute.planning.plan_file import load_plan, save_plan
from tt_compute.planning.planner import Planner, PlanRequest
from tt_compute.planning.types import Candidate, Objective, Plan, Prediction
from tt_compute.profiles.schema import Ability, DeploymentSpec, Fact
from tt_compute.strategies import get_strategy
from tt_compute.strategies.panel import Panel
from tt_compute.types import Clock, SamplingParams

Make = Callable[..., DeploymentSpec]
REQUEST = PlanRequest(task="math", input_tokens=256)
GREEDY = msgspec.structs.replace(REQUEST, sampling=SamplingParams(temperature=0.0))
CHEAPEST = Objective(quality=0.92, prefer="cost")


def without_votes(spec: DeploymentSpec) -> DeploymentSpec:
    """Of how its samples agree nothing is known."""
    unknown = Fact(value=None)
    ability = msgspec.structs.replace(
        spec.model.abilities["math"], concentration=unknown, wrong_agreement=unknown
    )
    model = msgspec.structs.replace(spec.model, abilities={"math": ability})
    return msgspec.structs.replace(spec, model=model)


@pytest.fixture
def trio(make_service: Make) -> list[DeploymentSpec]:
    """Two cheap ones that are about equally good, and a better one that is dear; of all only success rates."""
    made = (("one", 0.1, 0.85), ("two", 0.12, 0.84), ("best", 10.0, 0.95))
    return [
        without_votes(make_service(name, usd_per_mtok=usd, success_rate=rate))
        for name, usd, rate in made
    ]


def plan_of(
    specs: Sequence[DeploymentSpec],
    clock: Clock,
    objective: Objective = CHEAPEST,
    request: PlanRequest = REQUEST,
    conditions: dict[str, Conditions] | None = None,
) -> Plan:
    planner = Planner(specs, {}, {}, Estimates(), clock)
    return planner.plan(request, objective, conditions=conditions or {})


def panels_of(plan: Plan) -> list[Candidate]:
    return [one for one in plan.candidates if one.members]


def single_of(plan: Plan, deployment: str) -> Prediction:
    return next(
        one.predicted
        for one in plan.candidates
        if (one.deployment, one.strategy) == (deployment, "single")
    )


# --- when one is chosen --------------------------------------------------------------------------


def test_a_panel_is_chosen_where_it_reaches_a_quality_for_less(
    trio: list[DeploymentSpec], clock: Clock
) -> None:
    plan = plan_of(trio, clock)
    chosen = plan.chosen
    assert chosen is not None
    assert (chosen.strategy, chosen.deployment) == ("panel=one,two,best", "one")
    assert [one.deployment for one in chosen.members] == ["one", "two", "best"]
    assert (chosen.max_samples, chosen.wave, chosen.stop_rule) == (3, 2, None)
    assert chosen.sampling.temperature == 0
    assert {one.sampling.temperature for one in chosen.members} == {0.0}
    dear, cost = single_of(plan, "best").cost_usd, chosen.predicted.cost_usd
    assert cost is not None
    assert dear is not None
    assert cost < dear / 2


def test_a_panels_name_is_that_of_the_strategy_that_runs(
    trio: list[DeploymentSpec], clock: Clock
) -> None:
    for one in panels_of(plan_of(trio, clock)):
        strategy = get_strategy(one.strategy)
        assert isinstance(strategy, Panel)
        assert strategy == Panel(tuple(member.deployment for member in one.members))
        assert strategy.name == one.strategy


def test_what_the_caller_wishes_of_samples_holds_for_each_member(
    trio: list[DeploymentSpec], clock: Clock
) -> None:
    request = msgspec.structs.replace(
        REQUEST, sampling=SamplingParams(temperature=0.5, max_tokens=256)
    )
    chosen = plan_of(trio, clock, request=request).chosen
    assert chosen is not None
    assert {(one.sampling.temperature, one.sampling.max_tokens) for one in chosen.members} == {
        (0.5, 256)
    }


@pytest.mark.parametrize(
    ("objective", "changes"),
    [
        (Objective(max_samples=2), {}),
        (Objective(), {"task": "choice"}),
        (Objective(), {"has_verifier": True}),
        (Objective(), {"one_deployment": True}),
        (Objective(), {"deployment": "best"}),
        (Objective(), {"strategy": "single"}),
        (Objective(), {"stop_rule": "beta"}),
    ],
    ids=["budget", "task", "verifier", "one", "pinned", "strategy", "stop"],
)
def test_no_panel_is_offered_where_it_could_not_run_or_nothing_is_known_of_it(
    trio: list[DeploymentSpec],
    clock: Clock,
    objective: Objective,
    changes: dict[str, object],
) -> None:
    for spec in trio:
        spec.model.abilities["choice"] = spec.model.abilities["math"]
    request = msgspec.structs.replace(REQUEST, **changes)
    assert not panels_of(plan_of(trio, clock, objective, request))


def test_panels_are_of_three_models(trio: list[DeploymentSpec], clock: Clock) -> None:
    """Two deployments of one model, or two of anything, make none."""
    one, two, best = trio
    again = msgspec.structs.replace(two, model=one.model)
    assert not panels_of(plan_of([one, again, best], clock))
    assert not panels_of(plan_of([one, best], clock))


def test_where_votes_of_all_are_known_panels_are_left_to_temperature_0(
    trio: list[DeploymentSpec], make_service: Make, clock: Clock
) -> None:
    """There nothing else is to be had of several samples; one model without known votes is enough elsewhere."""
    known = [
        make_service(spec.id, usd_per_mtok=usd, success_rate=rate)
        for spec, usd, rate in zip(trio, (0.1, 0.12, 10.0), (0.85, 0.84, 0.95), strict=True)
    ]
    assert not panels_of(plan_of(known, clock))
    assert panels_of(plan_of([known[0], trio[1], known[2]], clock))
    assert panels_of(plan_of(known, clock, request=GREEDY))


def test_a_model_of_unknown_ability_is_in_no_panel(
    trio: list[DeploymentSpec], make_service: Make, clock: Clock
) -> None:
    blind = without_votes(make_service("blind", usd_per_mtok=0.01, success_rate=None))
    found = panels_of(plan_of([*trio, blind], clock))
    assert found
    assert all("blind" not in one.strategy for one in found)


# --- what it comes to ----------------------------------------------------------------------------


def alone(plan: Plan, panel: Candidate) -> list[Prediction]:
    return [single_of(plan, member.deployment) for member in panel.members]


@pytest.mark.parametrize("tokens", [1, 64, 256, 4096])
def test_a_panel_in_the_menu_is_predicted_as_one_that_is_named(
    trio: list[DeploymentSpec], clock: Clock, tokens: int
) -> None:
    """From its members' samples at the same prompt: exactly where the prompt's length is a power of two."""
    request = msgspec.structs.replace(REQUEST, input_tokens=tokens)
    plan = plan_of(trio, clock, request=request)
    for one in panels_of(plan):
        wanted = predict_panel(alone(plan, one), 2)
        for name in ("quality", "samples_mean", "cost_usd", "latency_p50_s", "latency_p95_s"):
            assert getattr(one.predicted, name) == pytest.approx(getattr(wanted, name)), name


def test_between_known_lengths_the_latency_is_told_within_two_hundredths(
    trio: list[DeploymentSpec], local: DeploymentSpec, clock: Clock
) -> None:
    """Against the members' samples at each length, with a prefill that grows faster than the prompt."""
    free = without_votes(local)
    planner = Planner([*trio, free], {}, {}, Estimates(), clock)
    seen: set[str] = set()
    for tokens in random.Random(3).sample(range(1, 7000), 25):
        plan = planner.plan(msgspec.structs.replace(REQUEST, input_tokens=tokens), Objective())
        for one in panels_of(plan):
            seen.update(member.deployment for member in one.members)
            wanted = predict_panel(alone(plan, one), 2)
            for name in ("latency_p50_s", "latency_p95_s"):
                told, exact = getattr(one.predicted, name), getattr(wanted, name)
                assert exact * 0.98 <= told <= exact * 1.02, (tokens, one.strategy, name)
    assert "best" in seen


def test_no_three_models_reach_more_for_less_than_what_is_offered(
    make_service: Make, clock: Clock
) -> None:
    """Against all threes of five models whose best nothing beats: each is matched in quality and cost."""
    rng = random.Random(8)
    for _ in range(4):
        specs = [
            without_votes(
                make_service(
                    f"m{place}",
                    usd_per_mtok=10 ** rng.uniform(-1.5, 1.2),
                    success_rate=rng.uniform(0.5, 0.97),
                )
            )
            for place in range(5)
        ]
        plan = plan_of(specs, clock, Objective())
        offered = [one.predicted for one in plan.candidates if one.predicted.quality is not None]
        singles = {spec.id: single_of(plan, spec.id) for spec in specs}
        for three in itertools.combinations(singles.values(), 3):
            *pair, last = sorted(three, key=lambda one: one.quality or 0)
            if any(as_good(one, last) and one is not last for one in singles.values()):
                continue
            made = predict_panel([*pair, last], 2)
            assert any(as_good(one, made) for one in offered)


def as_good(one: Prediction, other: Prediction) -> bool:
    assert one.quality is not None
    assert other.quality is not None
    assert one.cost_usd is not None
    assert other.cost_usd is not None
    return one.quality >= other.quality - 1e-9 and one.cost_usd <= other.cost_usd * (1 + 1e-9)


def test_an_unknown_price_of_one_member_leaves_the_cost_unknown(
    trio: list[DeploymentSpec], make_service: Make, clock: Clock
) -> None:
    secret = without_votes(make_service("secret", usd_per_mtok=None, success_rate=0.88))
    limit = Objective(quality=0.9, max_cost_usd=1e-7)
    plan = plan_of([*trio[:2], secret], clock, limit)
    (panel,) = panels_of(plan)
    assert panel.predicted.cost_usd is None
    assert "cost_usd: unknown" in panel.violates


# --- where its deployments stand -----------------------------------------------------------------


def test_local_prompts_make_no_panel_that_leaves_the_machine(
    trio: list[DeploymentSpec], local: DeploymentSpec, clock: Clock
) -> None:
    plan = plan_of([*trio, without_votes(local)], clock, Objective(locality="local"))
    assert not panels_of(plan)


def test_a_deployment_that_is_out_takes_its_panels_with_it(
    trio: list[DeploymentSpec], clock: Clock
) -> None:
    """Whichever of the three it is: too small a context, or failing just now."""
    for place, spec in enumerate(trio):
        small = msgspec.structs.replace(
            spec, model=msgspec.structs.replace(spec.model, max_context_tokens=200)
        )
        rest = [*trio[:place], small, *trio[place + 1 :]]
        assert not panels_of(plan_of(rest, clock))
        failing = {spec.id: Conditions(retry_in_s=4.0)}
        assert not panels_of(plan_of(trio, clock, conditions=failing))


def waits(**seconds: float) -> dict[str, Conditions]:
    return {name: Conditions(wait_s=value, patience_s=60.0) for name, value in seconds.items()}


def test_members_that_are_asked_at_once_wait_at_the_same_time(
    trio: list[DeploymentSpec], clock: Clock
) -> None:
    """The longer of two waits is added, that of the last one in those runs that come to it."""

    def p95(**seconds: float) -> float:
        (panel,) = panels_of(plan_of(trio, clock, Objective(), conditions=waits(**seconds)))
        assert panel.predicted.latency_p95_s is not None
        return panel.predicted.latency_p95_s

    free = p95()
    assert p95(one=3.0) == pytest.approx(free + 3)
    assert p95(two=2.0) == pytest.approx(free + 2)
    assert p95(one=3.0, two=2.0) == pytest.approx(free + 3)
    assert p95(one=2.0, two=3.0) == pytest.approx(free + 3)
    assert free < p95(best=3.0) <= free + 3 + 1e-9


def test_the_choice_and_the_candidates_hold_the_same_figures(
    trio: list[DeploymentSpec], clock: Clock
) -> None:
    """A limit on the latency just above a panel's own, waits included, lets it through, one below does not."""
    busy = waits(two=2.0, best=1.0)
    (panel,) = panels_of(plan_of(trio, clock, conditions=busy))
    told = panel.predicted.latency_p95_s
    assert told is not None
    for limit_s, taken in ((told * 1.0001, True), (told * 0.9999, False)):
        objective = msgspec.structs.replace(CHEAPEST, max_latency_s=limit_s)
        chosen = plan_of(trio, clock, objective, conditions=busy).chosen
        assert chosen is not None
        assert (chosen.strategy == panel.strategy) == taken


# --- what is told and kept -----------------------------------------------------------------------


def test_what_is_told_names_a_panels_deployments_once(make_service: Make, clock: Clock) -> None:
    made = (("one", 0.1, 0.9), ("two", 0.2, 0.89), ("best", 0.4, 0.91))
    near = [
        without_votes(make_service(name, usd_per_mtok=usd, success_rate=rate))
        for name, usd, rate in made
    ]
    told = explain(plan_of(near, clock, Objective(prefer="cost"))).reasons
    assert any(
        one.startswith("Better: panel=one,two,best of up to 3, 2 at once has") for one in told
    )
    missed = plan_of(near, clock, Objective(quality=0.999), GREEDY)
    assert "(nearest plan: panel=one,two,best of up to 3)" in missed.advice


def test_a_plan_that_chose_a_panel_is_kept_whole(
    trio: list[DeploymentSpec], clock: Clock, tmp_path: Path
) -> None:
    plan = plan_of(trio, clock)
    save_plan(plan, tmp_path / "plan.json")
    assert load_plan(tmp_path / "plan.json") == plan


def test_stated_success_rates_are_all_that_a_panel_needs(
    trio: list[DeploymentSpec], clock: Clock
) -> None:
    """Without lengths its quality is known, and what it takes is not."""
    bare = [
        msgspec.structs.replace(
            spec,
            model=msgspec.structs.replace(
                spec.model,
                abilities={"math": Ability(success_rate=spec.model.abilities["math"].success_rate)},
            ),
        )
        for spec in trio
    ]
    found = panels_of(plan_of(bare, clock, Objective()))
    for one in found:
        assert one.predicted.quality is not None
        assert one.predicted.latency_p95_s is None
