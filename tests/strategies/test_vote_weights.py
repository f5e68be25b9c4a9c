from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tt_compute.errors import InvalidRequestError, UnknownNameError
from tt_compute.types import Sample, TokenLogprob
from tt_compute.weights import (
    borda_weights,
    mean_logprob,
    parse_weight,
    score_weights,
    self_certainty,
    softmax_weights,
    tail_confidence,
    top_certainty,
    top_confidence,
)

CONFIDENCES = st.lists(st.floats(-50, 50), min_size=1, max_size=12)


def _token(*probabilities: float) -> TokenLogprob:
    """The likeliest tokens, the first of which was sampled."""
    top = tuple((str(place), math.log(p)) for place, p in enumerate(probabilities))
    return TokenLogprob(token="0", logprob=top[0][1], top=top)


def _sample(*tokens: TokenLogprob, self_certainty: float | None = None) -> Sample:
    return Sample(
        index=0,
        text="x",
        finish_reason="stop",
        logprobs=tokens,
        self_certainty=self_certainty,
    )


def _random_tokens(rng: random.Random, count: int, k: int) -> list[TokenLogprob]:
    tokens: list[TokenLogprob] = []
    for _ in range(count):
        masses = [rng.random() + 1e-3 for _ in range(k + 1)]
        tokens.append(_token(*(mass / sum(masses) for mass in masses[:k])))
    return tokens


def test_a_mean_logprob_is_the_log_of_the_geometric_mean_of_the_probabilities() -> None:
    found = mean_logprob(_sample(_token(0.5), _token(0.125)))
    assert found is not None
    assert math.exp(found) == pytest.approx(math.sqrt(0.5 * 0.125))


def test_a_certainty_over_listed_tokens_is_the_divergence_from_a_uniform_choice_among_them() -> (
    None
):
    rng = random.Random(1)
    for _ in range(100):
        tokens = _random_tokens(rng, rng.randint(1, 9), rng.randint(2, 6))
        brute = 0.0
        for token in tokens:
            listed = [math.exp(logprob) for _, logprob in token.top]
            shares = [one / sum(listed) for one in listed]
            brute += sum(math.log(1 / len(shares) / share) / len(shares) for share in shares)
        assert top_certainty(_sample(*tokens)) == pytest.approx(brute / len(tokens))


def test_a_uniform_choice_is_no_certainty() -> None:
    assert top_certainty(_sample(_token(0.2, 0.2, 0.2))) == pytest.approx(0)


def test_the_tail_is_the_mean_negative_logprob_of_the_last_tokens_listed_choices() -> None:
    rng = random.Random(2)
    for _ in range(100):
        tokens = _random_tokens(rng, rng.randint(1, 9), rng.randint(2, 6))
        last = rng.randint(1, 12)
        brute = [-sum(p for _, p in token.top) / len(token.top) for token in tokens][-last:]
        assert tail_confidence(_sample(*tokens), last) == pytest.approx(sum(brute) / len(brute))


def test_a_place_with_fewer_than_two_listed_tokens_leaves_confidences_unknown() -> None:
    sample = _sample(_token(0.5, 0.2), _token(0.5))
    assert top_confidence(sample.logprobs[1]) is None
    assert tail_confidence(sample) is None
    assert top_certainty(sample) is None
    assert tail_confidence(_sample()) is None
    assert mean_logprob(_sample()) is None


def test_certainties_are_measured_alike_for_all_samples_of_a_vote() -> None:
    """The whole distribution's figure is not held against one over the listed tokens."""
    told = _sample(_token(0.5, 0.2), self_certainty=9.0)
    untold = _sample(_token(0.4, 0.3))
    certainty = parse_weight("certainty")
    assert certainty.confidences([told, told]) == [self_certainty(told)] * 2
    assert certainty.confidences([told, untold]) == [top_certainty(told), top_certainty(untold)]


@given(CONFIDENCES, st.floats(0.05, 100))
def test_softmax_weights_are_ciscs_up_to_one_common_factor(
    confidences: list[float], temperature: float
) -> None:
    weights = softmax_weights(confidences, temperature)
    whole = [math.exp(one / temperature - max(confidences) / temperature) for one in confidences]
    cisc = [one / sum(whole) for one in whole]
    assert max(weights) == 1
    assert [one / sum(weights) for one in weights] == pytest.approx(cisc, abs=1e-12)


@given(CONFIDENCES)
def test_borda_weights_are_one_and_the_samples_that_are_less_sure(confidences: list[float]) -> None:
    """Equal ones share: each of two stands half the time before the other."""
    brute = [
        1 + sum((mine > other) + (mine == other) / 2 for other in confidences) - 0.5
        for mine in confidences
    ]
    assert borda_weights(confidences) == pytest.approx(brute)
    assert sum(borda_weights(confidences)) == pytest.approx(
        len(confidences) * (len(confidences) + 1) / 2
    )


def test_scores_are_their_own_weights_but_for_those_below_zero() -> None:
    assert score_weights([0.5, 3.0, -2.0]) == [0.5, 3.0, 0.0]


@given(st.floats(-30, 0), st.floats(0.05, 5))
def test_a_bounded_weight_is_at_most_one_and_in_proportion(
    confidence: float, temperature: float
) -> None:
    weighting = parse_weight(f"logprob:{temperature!r}")
    bounded = weighting.bounded_weight(confidence)
    assert 0 <= bounded <= 1
    first, second = weighting.weights([confidence, 0.0])
    assert bounded * second == pytest.approx(first * weighting.bounded_weight(0.0), abs=1e-12)


@pytest.mark.parametrize("text", ["logprob", "logprob:0.5", "certainty", "tail:2.0", "verifier"])
def test_a_weights_name_is_read_back(text: str) -> None:
    assert parse_weight(text).name == text


def test_an_unknown_weight_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(UnknownNameError, match="logprobs") as caught:
        parse_weight("logprobs")
    assert caught.value.hint == "did you mean 'logprob'?"


@pytest.mark.parametrize(
    "text", ["logprob:", "logprob:x", "tail:0", "tail:-1", "tail:nan", "tail:inf"]
)
def test_a_temperature_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="temperature"):
        parse_weight(text)
