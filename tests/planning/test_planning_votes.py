"""What a vote comes to, against every possible course of it and against simulation."""

from __future__ import annotations

import itertools
import math
import random
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import pytest

from tt_compute.planning import questions
from tt_compute.planning.lengths import Lengths
from tt_compute.planning.questions import Questions
from tt_compute.planning.trials import vote_trials
from tt_compute.planning.votes import MAX_VOTE_BUDGET, hold_vote, vote_table
from tt_compute.stopping import (
    NO_VOTE,
    STOP_RULES,
    StopRule,
    Votes,
    decided,
    esc_samples,
    parse_stop_rule,
)

AGREEMENT, ABSTAIN = 0.4, 0.15
RULES = (
    *STOP_RULES,
    "beta:0.8",
    "dirichlet:0.7",
    "esc:2",
    "esc:3",
    "lead:2",
    "sprt:0.7,0.3,0.2",
    "ppr:0.4,2",
    "ppr:0.7",
    "agreement:0.6,3",
)
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
    places: dict[object, int] = {}
    order: list[int] = []
    for kind in kinds:
        answer = f"own {len(order)}" if kind == "own" else kind
        if kind != "none":
            votes[answer] += 1
            order.append(places.setdefault(answer, len(places)))
        else:
            order.append(NO_VOTE)
        if len(order) == budget or decided(rule, Votes(order), budget - len(order)):
            break
    drawn = len(order)
    most = max(votes.values(), default=0)
    leaders = [answer for answer, count in votes.items() if count == most]
    return drawn, leaders.count("right") / len(leaders) if leaders else 0.0


def simulated_kinds(p: float, rng: random.Random) -> Iterator[str]:
    share = chances(p)
    while True:
        yield rng.choices(KINDS, [share[kind] for kind in KINDS])[0]


def of_one_kind(p: float, agreement: float = AGREEMENT) -> Questions:
    return Questions(tuple(float(kind == (p, agreement)) for kind in questions.KINDS))


@pytest.mark.parametrize("rule", [*RULES, None])
@pytest.mark.parametrize("budget", [1, 3, 6])
@pytest.mark.parametrize("p", [0.0, 0.37, 1.0])
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


@pytest.mark.parametrize(
    ("name", "budget"),
    [("beta", 16), ("beta", 40), *((name, 20) for name in STOP_RULES if name != "beta")],
)
@pytest.mark.parametrize(("mean", "concentration"), [(0.3, 0.7), (0.55, 4.0), (0.9, 1.5)])
def test_it_agrees_with_simulation(
    name: str, budget: int, mean: float, concentration: float
) -> None:
    """Over questions of every difficulty: half a point in accuracy, 1 % in samples."""
    rng = random.Random(5)
    rule = parse_stop_rule(name)
    runs = 12_000 if name == "beta" else 3_000
    drawn: list[int] = []
    right = 0.0
    for _ in range(runs):
        p = rng.betavariate(mean * concentration, (1 - mean) * concentration)
        count, luck = course(simulated_kinds(p, rng), rule, budget)
        drawn.append(count)
        right += luck
    stated = Questions.stated(mean, concentration, AGREEMENT)
    vote = hold_vote(stated, ABSTAIN, name, budget)
    # Three standard errors of the simulation come on top.
    noise = 3 * math.sqrt(0.25 / runs)
    assert vote.accuracy == pytest.approx(right / runs, abs=0.005 + noise)
    assert abs(vote.samples_mean / statistics.fmean(drawn) - 1) <= 0.01 + noise_of(drawn)


def noise_of(drawn: Sequence[int]) -> float:
    """Three standard errors of the mean, as a share of it."""
    return 3 * statistics.stdev(drawn) / math.sqrt(len(drawn)) / statistics.fmean(drawn)


@pytest.mark.parametrize("name", ["beta", "esc:3", "ppr:0.3", "agreement"])
@pytest.mark.parametrize("wave", [1, 3, 16])
@pytest.mark.parametrize("p", [0.3, 0.63])
def test_trials_draw_what_is_predicted_whatever_the_wave(p: float, wave: int, name: str) -> None:
    """Deficit waves draw what one-by-one draws; wider ones wait for fewer first tokens."""
    questions = of_one_kind(p)
    lengths = Lengths(mean=100, p95=200)
    rule = parse_stop_rule(name)
    trials = vote_trials(questions, ABSTAIN, lengths, rule=rule, budget=16, wave=wave)
    predicted = hold_vote(questions, ABSTAIN, name, 16).samples_mean
    drawn = [trial.samples for trial in trials]
    assert statistics.fmean(drawn) == pytest.approx(predicted, rel=noise_of(drawn))
    assert all(rows <= wave for trial in trials for rows, _ in trial.rows)
    assert all(trial.waves == trial.samples for trial in trials if wave == 1)


def test_a_unanimous_question_takes_the_fewest_votes() -> None:
    """At p = 1 four votes settle a budget of 16 in one wave, and three a budget of four."""
    for budget, samples in ((16, 4), (4, 3)):
        vote = hold_vote(of_one_kind(1.0), 0.0, "beta", budget)
        assert (vote.accuracy, vote.samples_mean) == (1.0, samples)


@pytest.mark.parametrize("rule", ["beta", "dirichlet", "esc"])
def test_the_largest_vote_can_be_held(rule: str) -> None:
    vote = hold_vote(of_one_kind(0.63, 0.2), 0.1, rule, MAX_VOTE_BUDGET)
    assert 0.97 < vote.accuracy <= 1 + 1e-9


@pytest.mark.parametrize(("p", "window", "budget"), [(0.8, 5, 20), (0.4, 3, 12)])
def test_esc_draws_what_its_own_formula_says(p: float, window: int, budget: int) -> None:
    """But for votes that end because the leader cannot be caught, which the formula knows nothing of."""
    shares = chances(p)
    formula = esc_samples([shares["right"], shares["popular"]], window, budget)
    found = hold_vote(of_one_kind(p), ABSTAIN, f"esc:{window}", budget).samples_mean
    assert found <= formula
    within = budget // 2
    # Up to half of the budget nothing is certain, so that there both stop alike.
    for drawn in range(window, within, window):
        stopped = _share_of_ends(f"esc:{window}", budget, p, drawn)
        agree = shares["right"] ** window + shares["popular"] ** window
        assert stopped == pytest.approx(agree * (1 - agree) ** (drawn // window - 1), abs=1e-12)


def _share_of_ends(rule: str, budget: int, p: float, drawn: int) -> float:
    """P(the vote ends after so many samples)."""
    ends = vote_table(rule, budget, AGREEMENT, ABSTAIN).ends
    return sum(
        term.weight * p**term.right * (1 - p) ** term.rest
        for term in ends
        if term.right + term.rest == drawn
    )
