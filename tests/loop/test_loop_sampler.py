"""The sampler against brute force and against the formulas it cites."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tt_compute.errors import ServerError
from tt_compute_backends.engine.runtime import RowParams
from tt_compute_backends.loop.forward import F32
from tt_compute_backends.loop.sampler import Sampler, nucleus

LOGITS = np.array([2.0, 1.0, 0.0, -1.0, 1.5], dtype=np.float32)


def params(**changed: Any) -> RowParams:
    values: dict[str, Any] = {
        "max_tokens": 10,
        "seed": 3,
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": None,
        "stop": (),
        "logprobs": 0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "json_schema": None,
    }
    return RowParams(**{**values, **changed})


def sampler(**changed: Any) -> Sampler:
    return Sampler(params(**changed), str)


def softmax(logits: F32) -> F32:
    weights = np.exp(logits - logits.max())
    shares: F32 = weights / weights.sum()
    return shares


def shares(drawer: Sampler, draws: int = 20_000) -> list[float]:
    counts = Counter(drawer.draw(LOGITS.copy(), None).token for _ in range(draws))
    return [counts[token] / draws for token in range(LOGITS.size)]


def brute_nucleus(weights: F32, top_p: float, top_k: int | None) -> list[int]:
    """Sort all, cut at k, then take tokens until their sum reaches ``top_p`` of what is left."""
    order = sorted(range(weights.size), key=lambda token: (-weights[token], token))
    order = order[: top_k or weights.size]
    goal = top_p * sum(float(weights[token]) for token in order)
    kept: list[int] = []
    mass = 0.0
    for token in order:
        kept.append(token)
        mass += float(weights[token])
        if mass >= goal:
            break
    return kept


def test_tokens_come_as_often_as_the_model_says() -> None:
    assert shares(sampler()) == pytest.approx(softmax(LOGITS).tolist(), abs=0.015)


def test_temperature_divides_the_logits() -> None:
    assert shares(sampler(temperature=0.5)) == pytest.approx(
        softmax(LOGITS / 0.5).tolist(), abs=0.015
    )


def test_top_p_renormalises_what_it_leaves() -> None:
    kept = softmax(LOGITS) * np.array([1, 0, 0, 0, 1])
    assert shares(sampler(top_p=0.7)) == pytest.approx((kept / kept.sum()).tolist(), abs=0.015)


def test_temperature_0_takes_the_likeliest_whatever_the_seed() -> None:
    drawn = {
        sampler(temperature=0.0, seed=seed).draw(LOGITS.copy(), None).token for seed in range(20)
    }
    assert drawn == {0}


def test_equal_seeds_draw_equal_tokens_and_other_seeds_others() -> None:
    def tokens(seed: int) -> list[int]:
        row = sampler(seed=seed)
        return [row.draw(LOGITS.copy(), None).token for _ in range(200)]

    assert tokens(5) == tokens(5)
    assert tokens(5) != tokens(6)


def test_only_allowed_tokens_come() -> None:
    allowed = np.array([False, False, True, True, False])
    row = sampler()
    assert {row.draw(LOGITS.copy(), allowed).token for _ in range(200)} == {2, 3}


def test_penalties_count_what_the_row_has_drawn() -> None:
    """Each earlier occurrence costs the frequency penalty, and the first one the presence penalty too."""
    row = sampler(temperature=0.0, presence_penalty=0.3, frequency_penalty=0.3)
    drawn = [row.draw(LOGITS.copy(), None).token for _ in range(4)]
    # 2.0 -> 1.4; 1.5 -> 0.9; 1.4 -> 1.1 after the second; then 1.1 against 1.0
    assert drawn == [0, 4, 0, 0]


def test_logprobs_are_the_models_own_before_anything_else() -> None:
    allowed = np.array([False, True, True, True, True])
    drawn = sampler(temperature=0.0, logprobs=2, presence_penalty=1.0).draw(LOGITS.copy(), allowed)
    expected = np.log(softmax(LOGITS))
    assert drawn.logprob is not None
    assert drawn.token == 4
    assert drawn.logprob.logprob == pytest.approx(expected[4], abs=1e-6)
    assert [name for name, _ in drawn.logprob.top] == ["0", "4"]
    assert [value for _, value in drawn.logprob.top] == pytest.approx(
        [expected[0], expected[4]], abs=1e-6
    )


def test_self_certainty_is_the_divergence_from_guessing() -> None:
    """KL(uniform || p) = -log V - mean(log p), summed here term by term."""
    probabilities = softmax(LOGITS)
    expected = sum(0.2 * np.log(0.2 / p) for p in probabilities)
    drawn = sampler(logprobs=1).draw(LOGITS.copy(), None)
    assert drawn.certainty == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("broken", [np.nan, np.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_no_numbers_are_an_error_not_a_token(
    broken: float, temperature: float
) -> None:
    logits = LOGITS.copy()
    logits[2] = broken
    with pytest.raises(ServerError, match="not numbers"):
        sampler(temperature=temperature).draw(logits, None)


def test_an_undecided_model_has_no_certainty() -> None:
    drawn = sampler(logprobs=1).draw(np.zeros(7, dtype=np.float32), None)
    assert drawn.certainty == pytest.approx(0.0, abs=1e-6)


@given(
    logits=arrays(np.float32, st.integers(1, 60), elements=st.floats(-30, 30, width=32)),
    top_p=st.floats(0.01, 1.0),
    top_k=st.none() | st.integers(1, 70),
)
def test_the_nucleus_is_the_brute_force_one(logits: F32, top_p: float, top_k: int | None) -> None:
    """But where the sum meets ``top_p`` only up to rounding, when one token more or less may be in it."""
    weights = np.exp(logits - logits.max()).astype(np.float32)
    found = nucleus(weights, top_p, top_k)
    expected = brute_nucleus(weights, top_p, top_k)
    tokens = list(range(weights.size)) if found is None else found.tolist()
    if top_p == 1.0:
        assert set(expected) <= set(tokens)
        return
    assert abs(len(tokens) - len(expected)) <= 1
    shorter = min(len(tokens), len(expected))
    assert weights[tokens[:shorter]].tolist() == weights[expected[:shorter]].tolist()
