"""What a vote comes to, against every possible course of it and against simulation."""

from __future__ import annotations

import itertools
import math
import random
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator

import pytest

from tt_compute.planning import questions
from tt_compute.planning.lengths import Lengths
from tt_compute.planning.questions import Questions
from tt_compute.planning.trials import vote_trials
from tt_compute.planning.votes import MAX_VOTE_BUDGET, hold_vote
from tt_compute.stopping import StopRule, decided, parse_stop_rule

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
    vote = hold_vote(of_one_kind(p, AGREEMENT), ABSTAIN, rule, budget)
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
    vote = hold_vote(stated, ABSTAIN, "beta", budget)
    # Three standard errors of the simulation come on top.
    noise = 3 * math.sqrt(0.25 / runs)
    assert vote.accuracy == pytest.approx(right / runs, abs=0.005 + noise)
    assert vote.samples_mean == pytest.approx(drawn / runs, rel=0.02 + 0.01)


@pytest.mark.parametrize("wave", [1, 3, 16])
@pytest.mark.parametrize("p", [0.3, 0.63])
def test_trials_draw_what_is_predicted_whatever_the_wave(p: float, wave: int) -> None:
    """Deficit waves draw what one-by-one draws; wider ones wait for fewer first tokens."""
    questions = of_one_kind(p)
    lengths = Lengths(mean=100, p95=200)
    rule = parse_stop_rule("beta")
    trials = vote_trials(questions, ABSTAIN, lengths, rule=rule, budget=16, wave=wave)
    predicted = hold_vote(questions, ABSTAIN, "beta", 16).samples_mean
    assert statistics.fmean(trial.samples for trial in trials) == pytest.approx(predicted, rel=0.06)
    assert all(rows <= wave for trial in trials for rows, _ in trial.rows)
    assert all(trial.waves == trial.samples for trial in trials if wave == 1)


def test_a_unanimous_question_takes_the_fewest_votes() -> None:
    """At p = 1 four votes settle a budget of 16 in one wave, and three a budget of four."""
    for budget, samples in ((16, 4), (4, 3)):
        vote = hold_vote(of_one_kind(1.0), 0.0, "beta", budget)
        assert (vote.accuracy, vote.samples_mean) == (1.0, samples)


def test_the_largest_vote_can_be_held() -> None:
    vote = hold_vote(of_one_kind(0.63, 0.2), 0.1, "beta", MAX_VOTE_BUDGET)
    assert 0.97 < vote.accuracy <= 1 + 1e-9
