"""Abilities: moments of the success rate, evidence, unknowns; and lengths."""

from __future__ import annotations

import math
import random
import statistics

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tt_compute.planning.ability import ability_of
from tt_compute.planning.estimates import Estimates, LengthEvidence, blend
from tt_compute.planning.lengths import Lengths
from tt_compute.planning.observations import Observation
from tt_compute.planning.similarity import length_band, similarity
from tt_compute.profiles.schema import Ability, Fact, ModelProfile

KEY = ("llama-3.1-8b", "math")


def test_the_abstain_rate_becomes_a_share_of_what_is_not_right(model: ModelProfile) -> None:
    """4 % of all samples at a success rate of 60 % are 10 % of the others."""
    found = ability_of(model, "math", Estimates())
    assert found.questions is not None
    assert found.questions.agreement == pytest.approx(0.4)
    assert found.abstain_share == pytest.approx(0.1)
    assert found.mean == 0.6
    assert found.unknown_quality == found.unknown_lengths == ()


def test_without_an_ability_everything_is_unknown(model: ModelProfile) -> None:
    """Each missing fact is named; nothing is guessed."""
    found = ability_of(model, "code", Estimates())
    assert (found.mean, found.questions, found.tokens_mean, found.votes_known) == (
        None, None, None, False,
    )  # fmt: skip
    assert "abilities.code.success_rate of llama-3.1-8b is unknown" in found.unknown_quality
    assert found.unknown_lengths[0].startswith("abilities.code.completion_tokens_mean")


def test_evidence_weighs_half_after_twenty_questions(model: ModelProfile) -> None:
    """The profile's 60 % counts as 20 questions; a question counts alike whatever it drew."""
    seen = (Observation(right=4, refused=1),) * 10 + (Observation(right=8, refused=2),) * 10
    found = ability_of(model, "math", Estimates(observations={KEY: seen}))
    assert found.mean == pytest.approx((0.6 + 0.8) / 2, abs=0.03)


def test_evidence_alone_tells_of_samples_and_votes(model: ModelProfile) -> None:
    """Without a profile's word it starts at one question, half right."""
    key = ("llama-3.1-8b", "code")
    found = ability_of(model, "code", Estimates(observations={key: (Observation(right=5),) * 9}))
    assert found.mean == pytest.approx(0.95, abs=0.04)
    assert found.votes_known


def test_votes_that_nobody_judged_start_no_estimate(model: ModelProfile) -> None:
    """Agreement is no proof."""
    key = ("llama-3.1-8b", "code")
    unsure = (Observation(unsure=(5, 1)),) * 9
    found = ability_of(model, "code", Estimates(observations={key: unsure}))
    assert (found.mean, found.votes_known) == (None, False)


def test_samples_without_an_answer_move_the_share_of_them(model: ModelProfile) -> None:
    """Twenty questions of which every sample was silent: half of all, which all are not right."""
    silent = (Observation(abstained=4),) * 20
    found = ability_of(model, "math", Estimates(observations={KEY: silent}))
    assert found.mean == pytest.approx(0.3, abs=0.05)
    assert found.abstain_share == pytest.approx((0.04 * 0.5 + 0.5) / 0.7, abs=0.1)


def test_lengths_move_with_evidence(model: ModelProfile) -> None:
    """Halfway, geometrically, after ten samples."""
    seen = Estimates(lengths={KEY: (LengthEvidence(n=10, mean=400, p95=800),)})
    found = ability_of(model, "math", seen)
    assert found.tokens_mean == pytest.approx(200)
    assert found.tokens_p95 == pytest.approx(400)


def test_empty_completions_do_not_break_the_lengths(model: ModelProfile) -> None:
    seen = Estimates(lengths={KEY: (LengthEvidence(n=10**6, mean=0, p95=0),)})
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
    assert (found.mean, found.questions) == (0.6, None)


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
    evidence = Estimates(greedy={("m", "math"): (Observation(right=1),) * 20})
    moved = ability_of(model, "math", evidence)
    assert moved.greedy_mean == pytest.approx(0.75)
    assert moved.mean == 0.2


def test_without_a_greedy_rate_that_of_varied_samples_stands_for_it() -> None:
    model = ModelProfile(id="m", abilities={"math": Ability(success_rate=Fact(value=0.2))})
    assert ability_of(model, "math", Estimates()).greedy().mean == 0.2


def test_questions_of_similar_length_count_more(model: ModelProfile) -> None:
    """Short ones were answered in a few tokens, long ones never and at length; the plan follows the prompt."""
    short = tuple(Observation(right=4, prompt_tokens=20) for _ in range(40))
    long = tuple(Observation(refused=4, prompt_tokens=200) for _ in range(40))
    lengths = (
        LengthEvidence(n=160, mean=20, p95=30, prompt_tokens=20),
        LengthEvidence(n=160, mean=500, p95=700, prompt_tokens=200),
    )
    seen = Estimates(observations={KEY: short + long}, lengths={KEY: lengths})
    easy = ability_of(model, "math", seen, 22)
    hard = ability_of(model, "math", seen, 180)
    any_length = ability_of(model, "math", seen)
    assert easy.mean is not None
    assert hard.mean is not None
    assert any_length.mean is not None
    assert hard.mean < 0.35 < any_length.mean < 0.65 < easy.mean
    assert easy.tokens_mean is not None
    assert hard.tokens_mean is not None
    assert easy.tokens_mean < 80
    assert hard.tokens_mean > 300


@given(tokens=st.integers(1, 10**6), other=st.integers(1, 10**6))
def test_similarity_is_symmetric_and_never_nothing(tokens: int, other: int) -> None:
    assert similarity(tokens, other) == similarity(other, tokens)
    assert 0.1 <= similarity(tokens, other) <= similarity(tokens, tokens) == 1
    assert similarity(tokens, None) == 1
    assert 0.7 < length_band(tokens) / tokens < 1.5
