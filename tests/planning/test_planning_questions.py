"""The distribution of questions: the grid against the densities it stands for, and what observations do to it."""

from __future__ import annotations

import itertools
import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tt_compute.planning.observations import (
    Observation,
    abstain_share_learned,
    questions_learned,
    wrong_votes,
)
from tt_compute.planning.questions import AGREEMENTS, KINDS, RATES, Questions

BETAS = [(0.5, 2.0), (0.2, 0.5), (0.9, 30.0), (0.263, 6.31), (0.05, 0.2)]


def of_one_kind(p: float, agreement: float) -> Questions:
    return Questions(tuple(float(kind == (p, agreement)) for kind in KINDS))


@pytest.mark.parametrize(("mean", "concentration"), BETAS)
@pytest.mark.parametrize(("right", "rest"), [(0, 0), (1, 0), (0, 1), (3, 5), (0, 16), (8, 8)])
def test_moments_are_nearly_those_of_the_beta_density(
    mean: float, concentration: float, right: int, rest: int
) -> None:
    """Half a point from E[p^right (1-p)^rest] = B(a + right, b + rest) / B(a, b); means are exact."""
    a, b = mean * concentration, (1 - mean) * concentration

    def log_beta(x: float, y: float) -> float:
        return math.lgamma(x) + math.lgamma(y) - math.lgamma(x + y)

    expected = math.exp(log_beta(a + right, b + rest) - log_beta(a, b))
    found = Questions.stated(mean, concentration, 0.4).moments()(right, rest)
    assert found == pytest.approx(expected, abs=1e-9 if right + rest <= 1 else 0.005)


@given(mean=st.floats(0, 1), concentration=st.floats(0.05, 200), agreement=st.floats(0.05, 0.98))
def test_stated_means_are_kept(mean: float, concentration: float, agreement: float) -> None:
    questions = Questions.stated(mean, concentration, agreement)
    assert questions.success_rate == pytest.approx(mean, abs=1e-6)
    assert questions.agreement == pytest.approx(agreement, abs=1e-9)
    assert min(questions.weights) >= 0
    assert sum(questions.weights) == pytest.approx(1)


@given(mean=st.floats(0, 1), concentration=st.floats(0.05, 100), n=st.integers(1, 64))
def test_more_samples_pass_more_often(mean: float, concentration: float, n: int) -> None:
    """pass@n lies between the success rate and 1 and grows with n."""
    questions = Questions.stated(mean, concentration, 0.4)
    assert mean - 1e-6 <= questions.pass_at(n) <= questions.pass_at(n + 1) + 1e-12 <= 1 + 2e-12


def test_pass_at_n_agrees_with_simulation() -> None:
    rng = random.Random(2)
    rates = [rng.betavariate(0.17 * 1.3, 0.83 * 1.3) for _ in range(40_000)]
    simulated = statistics.fmean(1 - (1 - p) ** 16 for p in rates)
    assert Questions.stated(0.17, 1.3, 0.4).pass_at(16) == pytest.approx(simulated, abs=0.01)


@given(mean=st.floats(0.01, 0.99), wanted=st.floats(0.02, 0.98))
def test_a_tilt_meets_the_rate_and_keeps_the_order(mean: float, wanted: float) -> None:
    """Another success rate changes nothing else: the ratio of weights grows or falls with the rate."""
    before = Questions.stated(mean, 2.0, 0.4)
    after = before.with_success_rate(wanted)
    assert after.success_rate == pytest.approx(wanted, abs=1e-6)
    ratios = [
        new / old
        for old, new in zip(before.weights, after.weights, strict=True)
        if old > 1e-12 and new > 1e-12
    ][: len(RATES)]
    steps = [second - first for first, second in itertools.pairwise(ratios)]
    assert all(step >= -1e-9 for step in steps) or all(step <= 1e-9 for step in steps)


def test_a_mixture_of_questions_is_found_again() -> None:
    """Half the questions are nearly always right, half nearly never with one popular error."""
    rng = random.Random(4)
    seen: list[Observation] = []
    for number in range(400):
        p = 0.95 if number % 2 else 0.03
        right = sum(rng.random() < p for _ in range(10))
        popular = sum(rng.random() < 0.8 for _ in range(10 - right))
        own = 10 - right - popular
        votes = [popular] * bool(popular) + [1] * own
        wrong = tuple(sorted(votes, reverse=True))
        seen.append(Observation(right=right, wrong=wrong))
    prior = Questions.stated(0.5, 1.0, 0.3)
    found = questions_learned(prior, 1.0, tuple(seen))
    assert found.success_rate == pytest.approx(0.49, abs=0.02)
    passed = sum(one.right > 0 for one in seen) / len(seen)
    assert found.pass_at(10) == pytest.approx(passed, abs=0.01)
    hard = [w * share for w, (rate, share) in zip(found.weights, KINDS, strict=True) if rate < 0.2]
    mass = [w for w, (rate, _) in zip(found.weights, KINDS, strict=True) if rate < 0.2]
    assert sum(hard) / sum(mass) == pytest.approx(0.8, abs=0.06)


@given(
    right=st.integers(0, 6),
    wrong=st.lists(st.integers(1, 4), max_size=3).map(tuple),
    unsure=st.lists(st.integers(1, 4), max_size=3).map(tuple),
    abstained=st.integers(0, 3),
    count=st.integers(1, 4),
)
def test_what_was_learned_is_a_distribution(
    right: int, wrong: tuple[int, ...], unsure: tuple[int, ...], abstained: int, count: int
) -> None:
    one = Observation(right=right, wrong=wrong, unsure=unsure, abstained=abstained)
    found = questions_learned(Questions.stated(0.5, 1.0, 0.4), 5.0, (one,) * count)
    assert min(found.weights) >= 0
    assert sum(found.weights) == pytest.approx(1)


def test_nothing_seen_changes_nothing() -> None:
    prior = Questions.stated(0.3, 2.0, 0.4)
    assert questions_learned(prior, 20.0, ()) is prior
    assert questions_learned(prior, 20.0, (Observation(),)) is prior


def test_votes_that_nobody_judged_move_no_success_rate_by_themselves() -> None:
    """Where right and wrong leaders are equally likely before, a clear vote tells nothing of either."""
    weights = tuple(0.5 * ((rate, share) in {(1.0, 0.4), (0.0, 0.98)}) for rate, share in KINDS)
    prior = Questions(weights)
    found = questions_learned(prior, 20.0, (Observation(unsure=(5,)),) * 20)
    assert found.success_rate == pytest.approx(0.5, abs=0.05)


def test_a_leader_known_to_be_wrong_leaves_the_others_open() -> None:
    """The outvoted answers may be right: the rate falls less than if they were known to be wrong."""
    prior = Questions.stated(0.5, 2.0, 0.4)
    open_ones = questions_learned(prior, 5.0, (Observation(wrong=(3,), unsure=(2,)),) * 10)
    closed = questions_learned(prior, 5.0, (Observation(wrong=(3, 2)),) * 10)
    assert closed.success_rate < open_ones.success_rate < 0.5


@pytest.mark.parametrize("agreement", AGREEMENTS)
def test_wrong_votes_of_two_samples_add_up_to_one(agreement: float) -> None:
    """Both the popular one, or two different answers: two alike of their own are the model's rare case."""
    popular, own = agreement, 1 - agreement
    total = wrong_votes((2,), popular, own) + wrong_votes((1, 1), popular, own)
    assert total == pytest.approx(1, abs=0.01)


def test_the_share_of_silent_samples_is_a_mean_over_questions() -> None:
    """One question that drew 100 samples does not outvote the others."""
    seen = (Observation(abstained=100), Observation(right=1), Observation(refused=1))
    found = abstain_share_learned(0.0, 0.5, 1e-9, seen)
    assert found == pytest.approx((1 / 3) / 0.5)
