"""Abilities: moments of the success rate, evidence, unknowns; and lengths."""

from __future__ import annotations

import math
import random
import statistics

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tt_compute.planning.ability import Success, ability_of
from tt_compute.planning.estimates import AbilityEvidence, Estimates, LengthEvidence, blend
from tt_compute.planning.lengths import Lengths
from tt_compute.profiles.schema import Ability, Fact, ModelProfile

KEY = ("llama-3.1-8b", "math")


@pytest.mark.parametrize(("mean", "concentration"), [(0.5, 2.0), (0.2, 0.5), (0.9, 30.0)])
@pytest.mark.parametrize(("right", "rest"), [(0, 0), (1, 0), (3, 5), (0, 16)])
def test_moments_are_those_of_the_beta_distribution(
    mean: float, concentration: float, right: int, rest: int
) -> None:
    """E[p^right (1-p)^rest] = B(a + right, b + rest) / B(a, b), here by the gamma function."""
    a, b = mean * concentration, (1 - mean) * concentration

    def log_beta(x: float, y: float) -> float:
        return math.lgamma(x) + math.lgamma(y) - math.lgamma(x + y)

    expected = math.exp(log_beta(a + right, b + rest) - log_beta(a, b))
    moment = Success(mean=mean, concentration=concentration).moments()
    assert moment(right, rest) == pytest.approx(expected, rel=1e-9)


@given(mean=st.floats(0, 1), concentration=st.floats(0.05, 100), n=st.integers(1, 64))
def test_more_samples_pass_more_often(mean: float, concentration: float, n: int) -> None:
    """pass@n lies between the success rate and 1 and grows with n."""
    success = Success(mean=mean, concentration=concentration)
    assert mean - 1e-6 <= success.pass_at(n) <= success.pass_at(n + 1) <= 1


def test_pass_at_n_agrees_with_simulation() -> None:
    rng = random.Random(2)
    success = Success(mean=0.17, concentration=1.3)
    rates = [rng.betavariate(0.17 * 1.3, 0.83 * 1.3) for _ in range(40_000)]
    simulated = statistics.fmean(1 - (1 - p) ** 16 for p in rates)
    assert success.pass_at(16) == pytest.approx(simulated, abs=0.01)


def test_the_abstain_rate_becomes_a_share_of_what_is_not_right(model: ModelProfile) -> None:
    """4 % of all samples at a success rate of 60 % are 10 % of the others."""
    found = ability_of(model, "math", Estimates())
    assert (found.mean, found.wrong_agreement, found.abstain_share) == (0.6, 0.4, 0.1)
    assert found.unknown_quality == found.unknown_lengths == ()


def test_without_an_ability_everything_is_unknown(model: ModelProfile) -> None:
    """Each missing fact is named; nothing is guessed."""
    found = ability_of(model, "code", Estimates())
    assert (found.mean, found.success, found.tokens_mean, found.votes_known) == (
        None, None, None, False,
    )  # fmt: skip
    assert "abilities.code.success_rate of llama-3.1-8b is unknown" in found.unknown_quality
    assert found.unknown_lengths[0].startswith("abilities.code.completion_tokens_mean")


def test_evidence_weighs_half_after_twenty_questions(model: ModelProfile) -> None:
    """A conjugate update: the profile's 60 % counts as 20 judged questions."""
    seen = Estimates(abilities={KEY: AbilityEvidence(correct=16, wrong=4)})
    assert ability_of(model, "math", seen).mean == pytest.approx((0.6 + 0.8) / 2)


def test_evidence_alone_gives_a_rate_but_no_spread(model: ModelProfile) -> None:
    """Without a profile's word the rate starts at one question, half right; votes stay unknown."""
    seen = Estimates(abilities={("llama-3.1-8b", "code"): AbilityEvidence(correct=9, wrong=0)})
    found = ability_of(model, "code", seen)
    assert found.mean == pytest.approx(0.95)
    assert (found.success, found.votes_known) == (None, False)


def test_lengths_move_with_evidence(model: ModelProfile) -> None:
    """Halfway, geometrically, after ten samples."""
    seen = Estimates(lengths={KEY: LengthEvidence(n=10, mean=400, p95=800)})
    found = ability_of(model, "math", seen)
    assert found.tokens_mean == pytest.approx(200)
    assert found.tokens_p95 == pytest.approx(400)


def test_empty_completions_do_not_break_the_lengths(model: ModelProfile) -> None:
    seen = Estimates(lengths={KEY: LengthEvidence(n=10**6, mean=0, p95=0)})
    assert ability_of(model, "math", seen).tokens_mean == pytest.approx(1, rel=0.01)


@given(prior=st.floats(0.01, 1e6), observed=st.floats(0.01, 1e6), n=st.integers(0, 10**6))
def test_a_blend_lies_between_prior_and_observation(prior: float, observed: float, n: int) -> None:
    mixed = blend(prior, observed, n, 5)
    assert min(prior, observed) * (1 - 1e-9) <= mixed <= max(prior, observed) * (1 + 1e-9)
    assert blend(prior, observed, 0, 5) == pytest.approx(prior)


def test_the_widest_concentration_is_kept(model: ModelProfile, ability: Ability) -> None:
    """A profile that knows the rate but not the spread predicts single samples only."""
    vague = msgspec.structs.replace(ability, concentration=Fact())
    found = ability_of(
        msgspec.structs.replace(model, abilities={"math": vague}), "math", Estimates()
    )
    assert (found.mean, found.success) == (0.6, None)


@pytest.mark.parametrize("p95", [120.0, 200.0, 300.0])
def test_lengths_have_the_mean_and_percentile_they_were_given(p95: float) -> None:
    lengths = Lengths(mean=100, p95=p95)
    assert lengths.mean_cut == 100
    assert lengths.quantile(0.95) == pytest.approx(p95)


@pytest.mark.parametrize("samples", [2, 4, 16])
@pytest.mark.parametrize("p95", [150.0, 300.0])
def test_longest_and_shortest_agree_with_simulation(samples: int, p95: float) -> None:
    """Of log-normal lengths through the same mean and percentile, within 2 %."""
    lengths = Lengths(mean=100, p95=p95)
    spread = math.log(lengths.quantile(0.95) / lengths.quantile(0.5)) / 1.6448536
    rng = random.Random(samples)
    waves = [
        [rng.lognormvariate(math.log(lengths.quantile(0.5)), spread) for _ in range(samples)]
        for _ in range(20_000)
    ]
    longest = statistics.fmean(map(max, waves))
    shortest = statistics.fmean(map(min, waves))
    assert lengths.mean_of_longest(samples) == pytest.approx(longest, rel=0.02)
    assert lengths.mean_of_shortest(samples) == pytest.approx(shortest, rel=0.02)
    assert lengths.quantile_of_longest(samples, 0.95) == pytest.approx(
        statistics.quantiles(map(max, waves), n=20)[-1], rel=0.03
    )


def test_no_length_passes_the_limit() -> None:
    """The mean of the cut lengths is E[min(L, limit)], here by simulation."""
    lengths = Lengths(mean=100, p95=200, max_tokens=120)
    free = Lengths(mean=100, p95=200)
    levels = [(i + 0.5) / 5000 for i in range(5000)]
    simulated = statistics.fmean(min(120, free.quantile(level)) for level in levels)
    assert lengths.mean_cut == pytest.approx(simulated, rel=1e-3)
    assert lengths.quantile_of_longest(16, 0.99) == 120


def test_a_greedy_sample_has_a_success_rate_of_its_own() -> None:
    """Where the profile states one; feedback moves it like the other."""
    stated = Ability(
        success_rate=Fact(value=0.2),
        greedy_success_rate=Fact(value=0.5),
        concentration=Fact(value=2),
    )
    model = ModelProfile(id="m", abilities={"math": stated})
    ability = ability_of(model, "math", Estimates())
    assert (ability.mean, ability.greedy().mean) == (0.2, 0.5)
    evidence = Estimates(abilities={("m", "math"): AbilityEvidence(correct=20, wrong=0)})
    moved = ability_of(model, "math", evidence)
    assert moved.greedy_mean == pytest.approx(0.75)


def test_without_a_greedy_rate_that_of_varied_samples_stands_for_it() -> None:
    model = ModelProfile(id="m", abilities={"math": Ability(success_rate=Fact(value=0.2))})
    assert ability_of(model, "math", Estimates()).greedy().mean == 0.2
