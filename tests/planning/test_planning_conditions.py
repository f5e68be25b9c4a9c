"""What the present state of deployments does to plans, against figures worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import pytest

from tt_compute.conditions import Allowance, Conditions
from tt_compute.planning.estimates import Estimates
from tt_compute.planning.explain import explain
from tt_compute.planning.planner import Planner, PlanRequest
from tt_compute.planning.types import Candidate, Objective, Plan, Prediction
from tt_compute.profiles.schema import (
    Ability,
    DeploymentSpec,
    Fact,
    Limits,
    Memory,
    Placement,
    Price,
)
from tt_compute.types import Capabilities, Clock

SHARING = Capabilities(native_n=True, prefix_sharing=True)
PROMPT, MOST = 200, 648
"""Tokens: of the prompt, and with the longest answer, twice the p95 of 200 in steps of 64."""
SINGLE = PlanRequest(task="math", input_tokens=PROMPT, strategy="single")
CONTEST = PlanRequest(task="math", input_tokens=PROMPT, strategy="best_of_n", has_verifier=True)
FULL = Allowance(axis="requests", amount=4, window_s=60, left=4)


def planner_of(clock: Clock, *specs: DeploymentSpec) -> Planner:
    capabilities = dict.fromkeys((spec.id for spec in specs), SHARING)
    return Planner(specs, capabilities, {}, Estimates(), clock)


def with_deployment(spec: DeploymentSpec, **changes: Any) -> DeploymentSpec:
    return msgspec.structs.replace(
        spec, deployment=msgspec.structs.replace(spec.deployment, **changes)
    )


def hopeless(spec: DeploymentSpec) -> DeploymentSpec:
    """One that is never right, so that a contest draws its whole budget."""
    ability = Ability(
        success_rate=Fact(value=1e-12),
        concentration=Fact(value=1e6),
        wrong_agreement=Fact(value=0.4),
        abstain_rate=Fact(value=0),
        completion_tokens_mean=Fact(value=100),
        completion_tokens_p95=Fact(value=200),
    )
    return msgspec.structs.replace(
        spec, model=msgspec.structs.replace(spec.model, abilities={"math": ability})
    )


def p95_s(prediction: Prediction) -> float:
    assert prediction.latency_p95_s is not None
    return prediction.latency_p95_s


def p50_s(prediction: Prediction) -> float:
    assert prediction.latency_p50_s is not None
    return prediction.latency_p50_s


def added_s(planner: Planner, now: Conditions, request: PlanRequest = SINGLE) -> float:
    """What the state of the one deployment adds to the p95 of the first candidate."""
    before = planner.plan(request, Objective()).candidates[0]
    name = before.deployment
    after = planner.plan(request, Objective(), conditions={name: now}).candidates[0]
    shift_s = p95_s(after.predicted) - p95_s(before.predicted)
    assert (after.strategy, after.wave) == (before.strategy, before.wave)
    return shift_s


# --- limits over time ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cost", "wait_s"),
    [
        (4, 0),
        (7, 30),  # 3 of the 6 that are taken, which leave evenly from 20 s to 40 s
        (10, 40),
        (14, 60),  # a window's worth, and then the 4 that were free at first
        (17, 90),
        (20, 100),
        (21, 120),
    ],
)
def test_who_takes_more_than_is_left_waits(cost: float, wait_s: float) -> None:
    limit = Allowance(
        axis="tokens", amount=10, window_s=60, left=4, frees_from_s=20, frees_until_s=40
    )
    assert limit.wait_s(cost) == pytest.approx(wait_s)


@pytest.mark.parametrize("amount", [0.001, 0.1, 1 / 3, 0.7, 49.3])
def test_what_fills_whole_windows_of_a_limit_of_fractions_waits_for_these(amount: float) -> None:
    """However the multiples of the amount are rounded."""
    limit = Allowance(axis="requests", amount=amount, window_s=60, left=amount)
    for windows in range(2, 2000):
        waited_s = limit.wait_s(windows * amount)
        assert waited_s in {60 * (windows - 1), 60 * windows}


def test_a_limit_that_was_lowered_below_what_is_taken_waits_for_more_to_leave() -> None:
    limit = Allowance(
        axis="requests", amount=5, window_s=60, left=-5, frees_from_s=10, frees_until_s=50
    )
    assert limit.wait_s(5) == 50
    assert limit.wait_s(1) == pytest.approx(10 + 40 * 6 / 10)


# --- what is added to a prediction ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "seconds"),
    [
        (Conditions(wait_s=7.0), 7),
        (Conditions(loaded=False, load_s=8.0), 8),
        (Conditions(loaded=True, load_s=8.0), 0),
        (Conditions(load_s=8.0), 0),
        (Conditions(wait_s=7.0, loaded=False, load_s=8.0), 8),
        (Conditions(retry_in_s=0.0, live_rows=0, queued_rows=0, allowances=()), 0),
    ],
    ids=["rest", "cold", "warm", "unknown", "both at once", "nothing in the way"],
)
def test_a_run_begins_when_the_longest_wait_is_over(
    service: DeploymentSpec, clock: Clock, now: Conditions, seconds: float
) -> None:
    assert added_s(planner_of(clock, service), now) == pytest.approx(seconds)


def test_a_wait_is_part_of_the_median_too(service: DeploymentSpec, clock: Clock) -> None:
    planner = planner_of(clock, service)
    before, after = (
        planner.plan(SINGLE, Objective(), conditions=conditions).candidates[0].predicted
        for conditions in ({}, {"service": Conditions(wait_s=7.0)})
    )
    assert p50_s(after) == pytest.approx(p50_s(before) + 7)


def test_a_machine_by_the_hour_is_paid_for_while_it_loads(
    local: DeploymentSpec, clock: Clock
) -> None:
    """36 USD an hour are a cent a second."""
    rented = with_deployment(local, price=Price(usd_per_hour=Fact(value=36)))
    planner = planner_of(clock, rented)
    cold = {"local": Conditions(loaded=False, load_s=8.0)}
    before = planner.plan(SINGLE, Objective()).candidates[0].predicted.cost_usd
    after = planner.plan(SINGLE, Objective(), conditions=cold).candidates[0].predicted.cost_usd
    assert before is not None
    assert after == pytest.approx(before + 0.08)


def test_state_is_not_kept(service: DeploymentSpec, clock: Clock) -> None:
    planner = planner_of(clock, service)
    before = planner.plan(SINGLE, Objective()).candidates
    planner.plan(SINGLE, Objective(), conditions={"service": Conditions(wait_s=7.0)})
    assert planner.plan(SINGLE, Objective()).candidates == before


@pytest.mark.parametrize(
    ("wave", "passes_anyway"),
    [(8, 0.0), (1, 7 / 8)],
    ids=["all at once", "one after the other"],
)
def test_more_samples_than_a_minute_allows_wait_for_the_next_one(
    service: DeploymentSpec, clock: Clock, wave: int, passes_anyway: float
) -> None:
    """8 requests at 4 a minute: the last four may go after 60 s, and do not wait for what passes anyway."""
    planner = planner_of(clock, hopeless(service))

    def of_wave(conditions: dict[str, Conditions]) -> float:
        plan = planner.plan(CONTEST, Objective(max_samples=8), conditions=conditions)
        return next(
            p95_s(one.predicted)
            for one in plan.candidates
            if (one.max_samples, one.wave) == (8, wave)
        )

    alone_s = of_wave({})
    held_s = of_wave({"service": Conditions(allowances=(FULL,))})
    assert held_s - alone_s == pytest.approx(60 - alone_s * passes_anyway)


def test_stated_limits_count_as_unused_where_nothing_is_known(
    service: DeploymentSpec, clock: Clock
) -> None:
    limited = with_deployment(hopeless(service), limits=Limits(requests_per_minute=4))
    planner = planner_of(clock, limited)

    def widest(conditions: dict[str, Conditions]) -> float:
        plan = planner.plan(CONTEST, Objective(max_samples=8), conditions=conditions)
        found = [one for one in plan.candidates if (one.max_samples, one.wave) == (8, 8)]
        return p95_s(found[0].predicted)

    free = {"service": Conditions(allowances=())}
    assert widest({}) - widest(free) == pytest.approx(60)


def test_a_sample_reserves_the_most_that_it_may_take(service: DeploymentSpec, clock: Clock) -> None:
    def waits_s(left: float) -> float:
        limit = Allowance(
            axis="tokens",
            amount=9000,
            window_s=60,
            left=left,
            frees_from_s=25,
            frees_until_s=25,
        )
        return added_s(planner_of(clock, service), Conditions(allowances=(limit,)))

    assert waits_s(MOST) == 0
    assert waits_s(MOST - 1) == pytest.approx(25)


def test_ended_samples_took_the_mean(service: DeploymentSpec, clock: Clock) -> None:
    """At the last of 8 drawn 4 at once, 4 have reserved 648 and 4 have taken 200 + 100 tokens: 3,792 in all."""
    planner = planner_of(clock, hopeless(service))

    def waits(left: float) -> bool:
        limit = Allowance(
            axis="tokens",
            amount=9000,
            window_s=60,
            left=left,
            frees_from_s=50,
            frees_until_s=50,
        )
        conditions = {"service": Conditions(allowances=(limit,))}
        plan = planner.plan(CONTEST, Objective(max_samples=8), conditions=conditions)
        before = planner.plan(CONTEST, Objective(max_samples=8))
        found, free = (
            next(one for one in of.candidates if (one.max_samples, one.wave) == (8, 4))
            for of in (plan, before)
        )
        return p95_s(found.predicted) > p95_s(free.predicted)

    assert not waits(3792)
    assert waits(3785)


def test_rows_of_others_make_every_step_longer(local: DeploymentSpec, clock: Clock) -> None:
    """A step of 10 rows at 250 tokens of context over one of 1.

    Of 11 ms and 131,072 / 1.6e12 s for each row and token: (11 + 0.2048) / (11 + 0.02048).
    """
    planner = planner_of(clock, local)
    alone = planner.plan(SINGLE, Objective()).candidates[0].predicted
    busy = {"local": Conditions(live_rows=9)}
    beside = planner.plan(SINGLE, Objective(), conditions=busy).candidates[0].predicted
    # All but the time to first token, 3 x (prefill + one step), is decoding.
    prefill_s = PROMPT * (16e9 + PROMPT * 2 * 32 * 32 * 128) / 4e14
    decode_s = p95_s(alone) - 3 * (prefill_s + 0.011)
    assert p95_s(beside) - p95_s(alone) == pytest.approx(
        decode_s * (11.2048 / 11.02048 - 1), rel=0.01
    )


def test_rows_beyond_a_full_batch_take_turns(local: DeploymentSpec, clock: Clock) -> None:
    """10 rows in batches of 2 take five times as long, and a little for the batch of two."""
    narrow = with_deployment(local, placement=Placement(max_sequences=2))
    added = added_s(planner_of(clock, narrow), Conditions(live_rows=9))
    wide = added_s(planner_of(clock, local), Conditions(live_rows=9))
    decode_s = wide / (11.2048 / 11.02048 - 1)
    assert added == pytest.approx(decode_s * (11.04096 / 11.02048 * 5 - 1), rel=0.01)


def test_a_service_is_no_slower_for_others(service: DeploymentSpec, clock: Clock) -> None:
    assert added_s(planner_of(clock, service), Conditions(live_rows=50)) == 0


@pytest.mark.parametrize(
    ("now", "seconds"),
    [
        (Conditions(live_rows=3, queued_rows=2, place_s=8.0), 4),
        (Conditions(live_rows=3, queued_rows=0, place_s=8.0), 0),
        (Conditions(live_rows=4, queued_rows=0, place_s=None), 0),
    ],
    ids=["two too many for four places", "the last place", "unknown"],
)
def test_who_finds_no_place_waits_for_one(
    service: DeploymentSpec, clock: Clock, now: Conditions, seconds: float
) -> None:
    crowded = with_deployment(service, limits=Limits(max_concurrency=4))
    assert added_s(planner_of(clock, crowded), now) == pytest.approx(seconds)


# --- who is no choice now ------------------------------------------------------------------------


DAY = Allowance(
    axis="requests", amount=10, window_s=86_400, left=0, frees_from_s=4000, frees_until_s=4000
)
SMALL = Allowance(axis="tokens", amount=600, window_s=60, left=600)
REFUSED = {
    "left alone": (Conditions(retry_in_s=4.0), "tried again in 4 s"),
    "a long rest": (Conditions(wait_s=90.0, patience_s=60), "left alone for another 90 s"),
    "a day's limit": (
        Conditions(patience_s=60, allowances=(DAY,)),
        "used its 10 requests per day, and must rest for 4000 s",
    ),
    "never fits": (Conditions(allowances=(SMALL,)), "648 tokens never fits its 600 tokens"),
    "no money": (Conditions(spend_left_usd=0.0019, spend_cap="of 24 hours"), "cap of 24 hours"),
}


def refused(planner: Planner, conditions: Mapping[str, Conditions]) -> list[str]:
    plan = planner.plan(SINGLE, Objective(), conditions=conditions)
    assert not {one.deployment for one in plan.candidates} & {
        one.deployment for one in plan.rejected
    }
    return [f"{one.deployment}: {one.reason}" for one in plan.rejected]


@pytest.mark.parametrize(("now", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_a_deployment_that_would_take_nothing_is_rejected(
    service: DeploymentSpec, local: DeploymentSpec, clock: Clock, now: Conditions, reason: str
) -> None:
    (told,) = refused(planner_of(clock, service, local), {"service": now})
    assert told.startswith("service: ")
    assert reason in told


def test_when_all_are_closed_the_run_finds_out(
    service: DeploymentSpec, local: DeploymentSpec, clock: Clock
) -> None:
    """The planner is no judge of that: one of them may be back when the request arrives."""
    planner = planner_of(clock, service, local)
    broken = {name: Conditions(retry_in_s=4.0) for name in ("service", "local")}
    assert refused(planner, broken) == []
    long_prompt = msgspec.structs.replace(SINGLE, input_tokens=500)
    small = with_deployment(local, limits=Limits(max_context_tokens=300))
    plan = planner_of(clock, service, small).plan(
        long_prompt, Objective(), conditions={"service": Conditions(retry_in_s=4.0)}
    )
    assert [one.deployment for one in plan.rejected] == ["local"]


def test_what_would_take_nothing_now_may_stand_in_later(
    make_service: Callable[..., DeploymentSpec], clock: Clock
) -> None:
    planner = planner_of(clock, *map(make_service, ("a", "b")))
    conditions = {"a": Conditions(retry_in_s=4.0)}
    assert planner.plan(SINGLE, Objective(), conditions=conditions).resting == ("a",)


def test_a_cap_counts_what_a_sample_may_cost_at_most(
    service: DeploymentSpec, local: DeploymentSpec, clock: Clock
) -> None:
    """200 tokens at 1 USD and 448 at 4 USD per million are 0.001992 USD."""
    planner = planner_of(clock, service, local)
    assert not refused(planner, {"service": Conditions(spend_left_usd=0.001992)})
    assert refused(planner, {"service": Conditions(spend_left_usd=0.00199)})


def test_what_costs_nothing_more_needs_no_money(
    service: DeploymentSpec, local: DeploymentSpec, clock: Clock
) -> None:
    broke = {name: Conditions(spend_left_usd=0.0) for name in ("service", "local")}
    (told,) = refused(planner_of(clock, service, local), broke)
    assert told.startswith("service: ")


def test_under_a_cap_a_price_must_be_known(
    make_service: Callable[..., DeploymentSpec], local: DeploymentSpec, clock: Clock
) -> None:
    planner = planner_of(clock, make_service("blind", usd_per_mtok=None), local)
    (told,) = refused(planner, {"blind": Conditions(spend_left_usd=9.0)})
    assert "price is not known" in told


# --- the memory ----------------------------------------------------------------------------------


def in_memory(local: DeploymentSpec, rows: int, **changes: Any) -> DeploymentSpec:
    """Room for so many rows of 200 + 100 tokens, of 131,072 bytes each, beside 16 GB of weights."""
    memory = msgspec.structs.replace(
        local.hardware.memory, bytes=Fact(value=16e9 + 131_072 * 300 * rows)
    )
    hardware = msgspec.structs.replace(local.hardware, memory=memory, **changes)
    return msgspec.structs.replace(local, hardware=hardware)


def waves(plan: Plan) -> set[int]:
    return {one.wave for one in plan.candidates}


def test_no_wave_is_wider_than_its_keys_and_values_have_room(
    local: DeploymentSpec, clock: Clock
) -> None:
    """Room for 5 rows is room for 4, widths being powers of two; a longer prompt leaves room for fewer."""
    planner = planner_of(clock, in_memory(local, 5))
    assert max(waves(planner.plan(CONTEST, Objective()))) == 4
    longer = msgspec.structs.replace(CONTEST, input_tokens=600)
    assert max(waves(planner.plan(longer, Objective()))) == 2
    assert planner.prepared(longer, Objective())
    endless = msgspec.structs.replace(CONTEST, input_tokens=6000)
    assert not planner.prepared(endless, Objective())
    planner.prepare(endless, Objective())
    assert planner.prepared(endless, Objective())
    assert waves(planner.plan(endless, Objective())) == {1}
    assert max(waves(planner.plan(CONTEST, Objective()))) == 4


def test_half_as_many_bytes_for_a_value_are_room_for_twice_the_rows(
    local: DeploymentSpec, clock: Clock
) -> None:
    quantised = with_deployment(in_memory(local, 5), placement=Placement(kv_dtype="fp8"))
    assert max(waves(planner_of(clock, quantised).plan(CONTEST, Objective()))) == 8


def test_stated_memory_is_all_for_keys_and_values(local: DeploymentSpec, clock: Clock) -> None:
    placement = Placement(memory_bytes=131_072 * 300 * 3)
    plan = planner_of(clock, with_deployment(local, placement=placement)).plan(CONTEST, Objective())
    assert max(waves(plan)) == 2


@pytest.mark.parametrize(
    "change",
    [{"local": False}, {"memory": Memory(bandwidth_bytes_per_s=Fact(value=3.2e12))}],
    ids=["a service", "unknown"],
)
def test_memory_that_is_not_known_or_not_ours_narrows_nothing(
    local: DeploymentSpec, clock: Clock, change: dict[str, Any]
) -> None:
    spec = in_memory(local, 1)
    spec = msgspec.structs.replace(spec, hardware=msgspec.structs.replace(spec.hardware, **change))
    assert max(waves(planner_of(clock, spec).plan(CONTEST, Objective()))) == 16


# --- the choice, and what is said of it ----------------------------------------------------------


def chosen(plan: Plan) -> Candidate:
    assert plan.chosen is not None
    return plan.chosen


def test_a_deadline_counts_the_wait(
    make_service: Callable[..., DeploymentSpec], clock: Clock
) -> None:
    planner = planner_of(clock, make_service("good", success_rate=0.9), make_service("poor"))
    objective = Objective(max_latency_s=10)

    def plan(wait_s: float) -> Plan:
        return planner.plan(
            SINGLE, objective, conditions={"good": Conditions(wait_s=wait_s, patience_s=60)}
        )

    assert chosen(plan(2)).deployment == "good"
    late = plan(20)
    assert chosen(late).deployment == "poor"
    assert [one.violates for one in late.candidates if one.deployment == "good"] == [
        ("max_latency_s",)
    ]


def test_of_equals_the_one_without_a_wait_is_taken(
    make_service: Callable[..., DeploymentSpec], clock: Clock
) -> None:
    planner = planner_of(clock, make_service("a"), make_service("b"))
    conditions = {"a": Conditions(wait_s=1.0)}
    assert chosen(planner.plan(SINGLE, Objective())).deployment == "a"
    assert chosen(planner.plan(SINGLE, Objective(), conditions=conditions)).deployment == "b"


def test_the_figures_of_a_plan_agree_with_its_constraints(
    fleet: Sequence[DeploymentSpec], clock: Clock
) -> None:
    """What is decided by and what is shown are one number, also once some deployments are out."""
    conditions = {
        "small": Conditions(retry_in_s=4.0),
        "middle": Conditions(allowances=(FULL,), wait_s=1.0),
        "large": Conditions(loaded=False, load_s=2.0),
    }
    request = msgspec.structs.replace(CONTEST, strategy=None)
    plan = planner_of(clock, *fleet).plan(
        request, Objective(max_latency_s=9), conditions=conditions
    )
    for one in plan.candidates:
        seconds = one.predicted.latency_p95_s
        known = math.inf if seconds is None else seconds
        assert (known <= 9) == (not one.violates)
    assert {one.feasible for one in plan.candidates} == {True, False}


@pytest.mark.parametrize(
    ("now", "says"),
    [
        (Conditions(loaded=False, load_s=8.0), "include 8 s to load its model."),
        (Conditions(loaded=False), "not loaded yet; how long that takes is unknown"),
        (Conditions(wait_s=7.0), "include 7 s of rest that it asked for."),
        (
            Conditions(allowances=(msgspec.structs.replace(FULL, left=0, frees_until_s=12),)),
            "include 3 s of waiting for its limits.",
        ),
        (Conditions(live_rows=9, queued_rows=0), "s because of other requests there."),
    ],
    ids=["cold", "cold, for how long is unknown", "rest", "limits", "company"],
)
def test_the_explanation_says_what_is_delay(
    local: DeploymentSpec, clock: Clock, now: Conditions, says: str
) -> None:
    plan = planner_of(clock, local).plan(SINGLE, Objective(), conditions={"local": now})
    assert len([line for line in explain(plan).reasons if says in line]) == 1


def test_a_plan_says_what_latencies_hold_elsewhere_too(
    make_service: Callable[..., DeploymentSpec], clock: Clock
) -> None:
    """Why the quicker one was not taken."""
    near, far = (
        make_service(name, tokens_per_s=rate) for name, rate in (("near", 500), ("far", 50))
    )
    conditions = {
        "near": Conditions(wait_s=30.0),
        "far": Conditions(loaded=False, load_s=3.0),
    }
    plan = planner_of(clock, near, far).plan(
        SINGLE, Objective(prefer="latency"), conditions=conditions
    )
    assert chosen(plan).deployment == "far"
    assert plan.delays == (
        "Latencies at near include 30 s of rest that it asked for.",
        "Latencies at far include 3 s to load its model.",
    )


def test_without_a_delay_nothing_is_said_of_one(local: DeploymentSpec, clock: Clock) -> None:
    plan = planner_of(clock, local).plan(
        SINGLE, Objective(), conditions={"local": Conditions(loaded=True, live_rows=0)}
    )
    assert not plan.delays


def test_the_json_contract_knows_nothing_of_it(local: DeploymentSpec, clock: Clock) -> None:
    planner = planner_of(clock, local)
    plain = planner.plan(SINGLE, Objective()).to_dict()
    cold = {"local": Conditions(loaded=False, load_s=8.0)}
    held = planner.plan(SINGLE, Objective(), conditions=cold).to_dict()
    assert held.keys() == plain.keys()
    assert held["chosen"].keys() == plain["chosen"].keys()
