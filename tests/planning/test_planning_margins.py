"""What a little more would buy and a little less would save, on candidates made by hand."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tt_compute.planning.estimates import Estimates
from tt_compute.planning.explain import explain
from tt_compute.planning.margins import Margin, margins
from tt_compute.planning.planner import Planner, PlanRequest
from tt_compute.planning.types import Candidate, Objective, Plan, Prediction
from tt_compute.profiles.schema import DeploymentSpec
from tt_compute.types import Capabilities, Clock


def one(
    name: str,
    quality: float | None,
    *,
    p95_s: float | None = 1.0,
    usd: float | None = 0.001,
    joules: float | None = 5.0,
    violates: tuple[str, ...] = (),
) -> Candidate:
    return Candidate(
        deployment=name,
        backend="b",
        model="m",
        strategy="majority",
        stop_rule="beta",
        max_samples=4,
        wave=2,
        feasible=not violates,
        violates=violates,
        predicted=Prediction(quality=quality, latency_p95_s=p95_s, cost_usd=usd, energy_j=joules),
    )


def plan_of(*candidates: Candidate, objective: Objective | None = None) -> Plan:
    """The first one is the chosen one."""
    return Plan(
        chosen=candidates[0],
        candidates=candidates,
        rejected=(),
        objective=objective or Objective(),
        task="math",
        elapsed_us=0,
        setup_us=0,
    )


def found(*candidates: Candidate) -> list[tuple[dict[str, float], dict[str, float], str]]:
    """What is given, what is gained, whose it is; sums of decimal fractions put right."""

    def put_right(figures: dict[str, float]) -> dict[str, float]:
        return {name: round(value, 9) for name, value in figures.items()}

    return [
        (put_right(one.give), put_right(one.gain), one.candidate.deployment)
        for one in margins(plan_of(*candidates))
    ]


PLAN = one("plan", 0.80)
LATE = ("max_latency_s",)
DEAR = ("max_cost_usd",)
POOR = ("quality",)


def test_a_second_more_buys_the_best_quality_within_it() -> None:
    """Up to and including one second; the limit on latency, and no other, is relaxed."""
    assert found(
        PLAN,
        one("better", 0.83, p95_s=1.5, violates=LATE),
        one("best", 0.85, p95_s=2.0, violates=LATE),
        one("too late", 0.95, p95_s=2.1, violates=LATE),
        one("too dear", 0.95, p95_s=1.5, usd=1, violates=(*LATE, *DEAR)),
        one("of unknown latency", 0.95, p95_s=None, usd=1, violates=("latency_s: unknown",)),
    ) == [({"latency_s": 1.0}, {"quality": 0.05}, "best")]


def test_limits_hold_though_decimal_fractions_do_not_add_up() -> None:
    """0.06 + 0.01 falls just short of 0.07, and 0.13 - 0.01 just above 0.12."""
    cent = one("cent", 0.9, p95_s=9, usd=0.07, violates=DEAR)
    assert [of for _, _, of in found(one("plan", 0.8, usd=0.06), cent)] == ["cent"]
    point = one("point", 0.12, usd=0.0004, violates=POOR)
    assert [of for _, _, of in found(one("plan", 0.13), point)] == ["point"]


def test_a_cent_more_buys_the_best_quality_within_it() -> None:
    assert found(
        PLAN,
        one("best", 0.85, p95_s=9, usd=0.011, violates=DEAR),
        one("too dear", 0.95, p95_s=9, usd=0.012, violates=DEAR),
        one("too late", 0.95, p95_s=9, violates=(*LATE, *DEAR)),
    ) == [({"cost_usd": 0.01}, {"quality": 0.05}, "best")]


def test_a_tenth_more_is_told_where_it_is_less_than_a_cent() -> None:
    tenth = one("tenth", 0.83, p95_s=9, usd=0.0011, violates=DEAR)
    cent = one("cent", 0.9, p95_s=9, usd=0.009, violates=DEAR)
    assert found(PLAN, tenth, cent) == [
        ({"cost_usd": 0.0001}, {"quality": 0.03}, "tenth"),
        ({"cost_usd": 0.01}, {"quality": 0.1}, "cent"),
    ]
    dear = one("plan", 0.80, usd=0.2)
    assert found(dear, one("tenth", 0.83, p95_s=9, usd=0.22, violates=DEAR)) == []


def test_what_a_tenth_more_buys_is_not_told_again() -> None:
    tenth = one("tenth", 0.83, p95_s=9, usd=0.0011, violates=DEAR)
    assert [give for give, _, _ in found(PLAN, tenth)] == [{"cost_usd": 0.0001}]


def test_of_equal_qualities_the_cheaper_is_named() -> None:
    """As the planner chooses: within half a point."""
    cheap = one("cheap", 0.897, p95_s=1.5, usd=0.1, violates=LATE)
    assert found(PLAN, one("best", 0.9, p95_s=1.5, usd=0.2, violates=LATE), cheap)[0][2] == "cheap"


def test_what_takes_nothing_more_is_no_concession() -> None:
    """A plan that prefers the latency leaves better ones aside that cost nothing either."""
    free = one("plan", 0.80, usd=0)
    assert [give for give, _, _ in found(free, one("better", 0.9, p95_s=1.5, usd=0))] == [
        {"latency_s": 1.0}
    ]
    assert found(PLAN, one("cheaper", 0.9, p95_s=9, usd=0.0001)) == []


def test_equal_quality_is_no_gain() -> None:
    assert found(PLAN, one("same", 0.804, p95_s=1.5, violates=LATE)) == []


def test_a_point_less_saves_in_each_quantity() -> None:
    """Each by the candidate that saves the most; one that saves the most of two is told once."""
    assert found(
        PLAN,
        one("frugal", 0.79, usd=0.0004, joules=1.0, violates=POOR),
        one("quick", 0.795, p95_s=0.2, usd=0.002, violates=POOR),
        one("too poor", 0.78, p95_s=0.1, usd=0.0001, joules=0.1, violates=POOR),
    ) == [
        ({"quality": 0.01}, {"cost_usd": 0.0006, "energy_j": 4.0}, "frugal"),
        ({"quality": 0.01}, {"latency_s": 0.8}, "quick"),
    ]


def test_a_plan_as_good_gives_no_point_up() -> None:
    """It may be quicker for a higher price; that is another trade."""
    assert found(PLAN, one("as good", 0.8, p95_s=0.2, usd=0.002)) == []


def test_what_a_plan_as_good_saves_is_no_gain_of_a_point() -> None:
    as_good = one("as good", 0.8, p95_s=0.2, usd=0.002)
    assert found(PLAN, as_good, one("worse", 0.795, p95_s=0.3, usd=0.002)) == []


def test_a_plan_that_misses_a_constraint_is_compared_with_what_misses_the_same() -> None:
    plan = one("plan", 0.80, violates=POOR)
    better = one("better", 0.85, p95_s=1.5, violates=(*LATE, *POOR))
    assert found(plan, better) == [({"latency_s": 1.0}, {"quality": 0.05}, "better")]


def test_the_unknown_is_no_gain() -> None:
    blind = one("plan", 0.8, p95_s=None, usd=None, joules=None)
    assert found(blind, one("other", 0.795), one("better", 0.9)) == []
    known = one("known", 0.795, violates=POOR)
    assert found(one("plan", 0.8, usd=None), known) == []
    assert found(one("plan", None), one("other", 0.9)) == []
    nothing = msgspec.structs.replace(plan_of(PLAN), chosen=None)
    assert margins(nothing) == ()


def test_sentences_show_what_a_margin_brings_and_takes() -> None:
    plan = plan_of(
        PLAN,
        one("late", 0.85, p95_s=1.5, usd=0.5, violates=LATE),
        one("tenth", 0.83, p95_s=9, usd=0.0011, violates=DEAR),
        one("cent", 0.9, p95_s=9, usd=0.009, violates=DEAR),
        one("frugal", 0.79, usd=0.0004, violates=POOR),
    )
    said = explain(plan)
    assert said.margins == margins(plan)
    vote = ", majority of up to 4, 2 at once has "
    assert [line.replace(vote, ": ") for line in said.reasons[-4:]] == [
        "One second more: late: quality 0.850 instead of quality 0.800, but $0.5 instead of $0.001, p95 1.5 s instead of p95 1 s.",
        "A tenth more cost: tenth: quality 0.830 instead of quality 0.800, but $0.0011 instead of $0.001, p95 9 s instead of p95 1 s.",
        "One cent more: cent: quality 0.900 instead of quality 0.800, but $0.009 instead of $0.001, p95 9 s instead of p95 1 s.",
        "One point of quality less: frugal: $0.0004 instead of $0.001, but quality 0.790 instead of quality 0.800.",
    ]


def test_no_sentence_without_a_margin() -> None:
    text = "\n".join(explain(plan_of(PLAN)).reasons)
    assert "more" not in text
    assert "less" not in text.replace("the least", "")


def test_a_margin_in_json_tells_its_candidate_from_all_others() -> None:
    margin = Margin(give={"latency_s": 1.0}, gain={"quality": 0.05}, candidate=PLAN)
    assert margin.to_dict() == {
        "give": {"latency_s": 1.0},
        "gain": {"quality": 0.05},
        "candidate": {
            "deployment": "plan",
            "strategy": "majority",
            "stop_rule": "beta",
            "max_samples": 4,
            "wave": 2,
            "ahead": 1.0,
        },
    }


def test_a_second_more_is_what_a_second_more_of_limit_gives(
    fleet: Sequence[DeploymentSpec], clock: Clock
) -> None:
    """By the planner itself: a limit a second above the plan's p95 leads to the margin's candidate."""
    able = dict.fromkeys((spec.id for spec in fleet), Capabilities())
    planner = Planner(fleet, able, {}, Estimates(), clock)
    request = PlanRequest(task="math", input_tokens=200)
    tight = planner.plan(request, Objective(max_latency_s=2))
    assert tight.chosen is not None
    p95_s = tight.chosen.predicted.latency_p95_s
    assert p95_s is not None
    (margin,) = (one for one in margins(tight) if "latency_s" in one.give)
    wide = planner.plan(request, Objective(max_latency_s=p95_s + 1)).chosen
    assert wide is not None
    assert margin.candidate.predicted == wide.predicted
