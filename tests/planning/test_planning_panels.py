"""What a panel is predicted to come to."""

from __future__ import annotations

import math
import random
from collections import Counter

import hypothesis
import hypothesis.strategies as some
import pytest

from tt_compute.planning.panels import (
    MOST_MEMBERS,
    SAME_MISTAKE,
    TOGETHER,
    agreement_confidence,
    courses,
    predict_panel,
)
from tt_compute.planning.types import Prediction
from tt_compute.stopping import fewest_to_agree

rates = some.lists(some.floats(0, 1), min_size=2, max_size=5)


def play(rng: random.Random, rates: list[float], agree: int) -> list[str]:
    """What the members of a panel say of one question, made up as the module describes it."""
    together = rng.random() < TOGETHER
    level = rng.random()
    said: list[str] = []
    while wanted := fewest_to_agree([*Counter(said).values()], agree, len(rates) - len(said)):
        for place in range(len(said), len(said) + wanted):
            luck = level if together else rng.random()
            if luck < rates[place]:
                said.append("right")
            else:
                same = rng.random() < math.sqrt(SAME_MISTAKE)
                said.append("popular" if same else f"own {place}")
    return said


def simulated(rates: list[float], agree: int, trials: int) -> tuple[float, float]:
    """(quality, samples) of questions that are made up one by one."""
    rng = random.Random(0)
    right = asked = 0
    for _ in range(trials):
        said = play(rng, rates, agree)
        votes = Counter(said)
        leaders = [one for one in said if votes[one] == max(votes.values())]
        right += leaders[-1] == "right"
        asked += len(said)
    return right / trials, asked / trials


@pytest.mark.parametrize(
    ("members", "agree"),
    [((0.87, 0.8, 0.96), 2), ((0.5, 0.5), 2), ((0.9, 0.7, 0.8, 0.6), 3), ((0.3, 0.4, 0.2, 0.9), 2)],
)
def test_all_courses_together_are_what_a_simulation_finds(
    members: tuple[float, ...], agree: int
) -> None:
    found = list(courses(members, agree))
    quality, samples = simulated(list(members), agree, 40_000)
    assert sum(one.chance for one in found if one.right) == pytest.approx(quality, abs=0.01)
    assert sum(one.chance * sum(one.asked) for one in found) == pytest.approx(samples, rel=0.01)


@hypothesis.given(members=rates, data=some.data())
def test_the_chances_of_all_courses_are_one(members: list[float], data: some.DataObject) -> None:
    agree = data.draw(some.integers(2, len(members)))
    assert sum(one.chance for one in courses(members, agree)) == pytest.approx(1)


@hypothesis.given(members=rates)
def test_nobody_beyond_the_first_two_is_asked_where_those_are_always_right(
    members: list[float],
) -> None:
    found = [one for one in courses([1.0, 1.0, *members], 2) if one.chance > 1e-12]
    assert {one.asked for one in found} == {(2,)}
    assert all(one.right for one in found)


@pytest.mark.parametrize(
    ("members", "agree"), [((0.87, 0.8, 0.96), 2), ((0.6, 0.5, 0.4, 0.7), 3), ((0.4, 0.5), 2)]
)
def test_confidence_is_how_often_such_answers_are_right(
    members: tuple[float, ...], agree: int
) -> None:
    """Of made-up questions, told apart by who agreed with whom."""
    rng = random.Random(1)
    right: Counter[tuple[tuple[int, ...], ...]] = Counter()
    seen: Counter[tuple[tuple[int, ...], ...]] = Counter()
    for _ in range(60_000):
        said = play(rng, list(members), agree)
        groups = [tuple(at for at, one in enumerate(said) if one == name) for name in {*said}]
        ranked = tuple(sorted(groups, key=lambda places: (-len(places), -places[-1])))
        seen[ranked] += 1
        right[ranked] += said[ranked[0][0]] == "right"
    for groups_seen, count in seen.items():
        if count > 2000:
            found = agreement_confidence(members, groups_seen)
            assert found == pytest.approx(right[groups_seen] / count, abs=0.03)


def test_what_nobody_could_have_said_has_no_confidence() -> None:
    assert agreement_confidence((0.8, 0.9), ()) is None
    assert agreement_confidence((1.0, 1.0), ((0,), (1,))) is None


def member(quality: float, latency_s: float, cost_usd: float | None = 0.0) -> Prediction:
    return Prediction(
        quality=quality,
        latency_p50_s=latency_s,
        latency_p95_s=latency_s,
        cost_usd=cost_usd,
        energy_j=1.0,
        samples_mean=1.0,
    )


def test_a_batch_takes_as_long_as_its_slowest_member_and_costs_count_for_those_asked() -> None:
    """Of two that differ on every question, a third is always asked after the slower of them."""
    made = predict_panel([member(1, 1.0), member(0, 2.0, 0.5), member(1, 4.0, 3.0)], 2)
    assert (made.latency_p50_s, made.latency_p95_s) == (6.0, 6.0)
    assert (made.cost_usd, made.energy_j, made.samples_mean) == (3.5, 3.0, 3.0)
    assert made.quality == pytest.approx(1)


def test_latencies_spread_as_those_of_the_members() -> None:
    """One lognormal member decides; the other is quick."""
    slow = Prediction(quality=1.0, latency_p50_s=1.0, latency_p95_s=3.0, samples_mean=1.0)
    made = predict_panel([slow, member(1, 0.001)], 2)
    assert made.latency_p50_s == pytest.approx(1.0, rel=0.1)
    assert made.latency_p95_s == pytest.approx(3.0, rel=0.15)


@pytest.mark.parametrize("name", ["quality", "latency_p95_s", "cost_usd", "energy_j"])
def test_what_is_unknown_of_one_member_is_unknown_of_the_panel(name: str) -> None:
    known = member(0.8, 1.0)
    fields = {field: getattr(known, field) for field in known.__struct_fields__}
    made = predict_panel([known, Prediction(**{**fields, name: None})], 2)
    assert getattr(made, name) is None
    assert (made.samples_mean is None) == (name == "quality")


def test_of_very_large_panels_nothing_is_known() -> None:
    assert predict_panel([member(0.8, 1.0)] * (MOST_MEMBERS + 1), 2) == Prediction()


@hypothesis.given(
    counts=some.lists(some.integers(0, 5), max_size=4),
    agree=some.integers(2, 6),
    remaining=some.integers(0, 6),
)
def test_as_many_are_asked_as_could_end_it_at_the_earliest(
    counts: list[int], agree: int, remaining: int
) -> None:
    """Found by giving the leader one vote after the other."""
    ranked = [*sorted(counts, reverse=True), 0, 0]
    steps = next(
        more
        for more in range(remaining + 1)
        if ranked[0] + more >= agree
        or ranked[0] + more - ranked[1] > remaining - more
        or more == remaining
    )
    assert fewest_to_agree(counts, agree, remaining) == steps
