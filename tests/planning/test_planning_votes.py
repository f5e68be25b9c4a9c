"""What a vote comes to, against every possible course of it and against simulation."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tt_compute.planning import questions
from tt_compute.planning.questions import AGREEMENTS, RATES, Questions
from tt_compute.planning.votes import MAX_VOTE_BUDGET, hold_vote
from tt_compute.stopping import StopRule, decided, fewest_more, parse_stop_rule

AGREEMENT, ABSTAIN = 0.4, 0.15
KINDS = ("right", "popular", "own", "none")


def chances(p: float) -> dict[str, float]:
    voting = (1 - p) * (1 - ABSTAIN)
    return {
        "right": p,
        "popular": voting * AGREEMENT,
        "own": voting * (1 - AGREEMENT),
        "none": (1 - p) * ABSTAIN,
    }


def course(kinds: Iterable[str], rule: StopRule | None, budget: int) -> tuple[int, float]:
    """Vote one by one: (samples drawn, chance that the right answer wins, ties drawn by lot)."""
    votes: Counter[object] = Counter()
    drawn = 0
    for kind in kinds:
        drawn += 1
        if kind != "none":
            votes[drawn if kind == "own" else kind] += 1
        if drawn == budget or decided(rule, list(votes.values()), budget - drawn):
            break
    most = max(votes.values(), default=0)
    leaders = [answer for answer, count in votes.items() if count == most]
    return drawn, leaders.count("right") / len(leaders) if leaders else 0.0


def simulated_kinds(p: float, rng: random.Random) -> Iterator[str]:
    share = chances(p)
    while True:
        yield rng.choices(KINDS, [share[kind] for kind in KINDS])[0]


def of_one_kind(p: float, agreement: float = AGREEMENT) -> Questions:
    return Questions(tuple(float(kind == (p, agreement)) for kind in questions.KINDS))


@pytest.mark.parametrize("rule", ["beta", "beta:0.8", None])
@pytest.mark.parametrize("budget", [1, 2, 3, 6])
@pytest.mark.parametrize("p", [0.0, 0.37, 0.7, 1.0])
def test_it_equals_the_sum_over_every_course(rule: str | None, budget: int, p: float) -> None:
    """Accuracy and samples are those of all 4^n courses, each with its probability."""
    stop = None if rule is None else parse_stop_rule(rule)
    share = chances(p)
    accuracy = samples = 0.0
    for kinds in itertools.product(KINDS, repeat=budget):
        chance = math.prod(share[kind] for kind in kinds)
        drawn, luck = course(kinds, stop, budget)
        samples += chance * drawn
        accuracy += chance * luck
    vote = hold_vote(of_one_kind(p, AGREEMENT), ABSTAIN, rule, budget, budget)
    assert vote.accuracy == pytest.approx(accuracy, abs=1e-12)
    assert vote.samples_mean == pytest.approx(samples, abs=1e-12)


@pytest.mark.parametrize("budget", [16, 40])
@pytest.mark.parametrize(("mean", "concentration"), [(0.3, 0.7), (0.55, 4.0), (0.9, 1.5)])
def test_it_agrees_with_simulation(budget: int, mean: float, concentration: float) -> None:
    """Over questions of every difficulty: half a point in accuracy, 2 % in samples."""
    rng = random.Random(5)
    rule = parse_stop_rule("beta")
    runs = 12_000
    drawn = right = 0.0
    for _ in range(runs):
        p = rng.betavariate(mean * concentration, (1 - mean) * concentration)
        count, luck = course(simulated_kinds(p, rng), rule, budget)
        drawn += count
        right += luck
    stated = Questions.stated(mean, concentration, AGREEMENT)
    vote = hold_vote(stated, ABSTAIN, "beta", budget, 8)
    # Three standard errors of the simulation come on top.
    noise = 3 * math.sqrt(0.25 / runs)
    assert vote.accuracy == pytest.approx(right / runs, abs=0.005 + noise)
    assert vote.samples_mean == pytest.approx(drawn / runs, rel=0.02 + 0.01)


@settings(max_examples=30, deadline=None)
@given(
    budget=st.integers(1, 20),
    wave=st.integers(1, 20),
    p=st.sampled_from(RATES),
    agreement=st.sampled_from(AGREEMENTS),
    abstain=st.floats(0, 1),
)
def test_the_wave_changes_neither_accuracy_nor_samples(
    budget: int, wave: int, p: float, agreement: float, abstain: float
) -> None:
    """Deficit waves draw what one-by-one draws, and their widths add up to the samples."""
    one = hold_vote(of_one_kind(p, agreement), abstain, "beta", budget, 1)
    wide = hold_vote(of_one_kind(p, agreement), abstain, "beta", budget, wave)
    assert wide.accuracy == pytest.approx(one.accuracy, abs=1e-9)
    assert wide.samples_mean == pytest.approx(one.samples_mean, abs=1e-9)
    assert 0 <= one.accuracy <= 1 + 1e-9
    assert all(width <= wave for one_wave in wide.waves for width, _ in one_wave.widths)
    if budget <= 16:
        in_waves = sum(width * share for each in wide.waves for width, share in each.widths)
        assert in_waves == pytest.approx(wide.samples_mean, abs=1e-9)


@pytest.mark.parametrize("wave", [2, 16])
def test_waves_are_those_of_a_simulated_vote(wave: int) -> None:
    """The mean number of waves, each as wide as could end the run."""
    rng = random.Random(3)
    rule = parse_stop_rule("beta")
    runs, waves = 8_000, 0
    for _ in range(runs):
        kinds = simulated_kinds(0.63, rng)
        votes: Counter[object] = Counter()
        left = 16
        while left and (more := fewest_more(rule, list(votes.values()), left)):
            waves += 1
            for _ in range(min(wave, more)):
                kind = next(kinds)
                if kind != "none":
                    votes[left if kind == "own" else kind] += 1
                left -= 1
    vote = hold_vote(of_one_kind(0.63), ABSTAIN, "beta", 16, wave)
    predicted = sum(each.reached for each in vote.waves)
    assert predicted == pytest.approx(waves / runs, rel=0.03)


def test_a_unanimous_question_takes_the_fewest_votes() -> None:
    """At p = 1 four votes settle a budget of 16 in one wave, and three a budget of four."""
    for budget, samples in ((16, 4), (4, 3)):
        vote = hold_vote(of_one_kind(1.0), 0.0, "beta", budget, 16)
        assert (vote.accuracy, vote.samples_mean) == (1.0, samples)
        assert [wave.reached for wave in vote.waves if wave.reached] == [1.0]


def test_the_largest_vote_can_be_held() -> None:
    """Its chances of being reached fall from wave to wave and its accuracy is that of a majority."""
    vote = hold_vote(of_one_kind(0.63, 0.2), 0.1, "beta", MAX_VOTE_BUDGET, 16)
    reached = [wave.reached for wave in vote.waves]
    assert reached == sorted(reached, reverse=True)
    assert vote.accuracy > 0.97
