"""Stop rules of scored samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tt_compute.errors import InvalidRequestError, UnknownNameError
from tt_compute.stopping import SCORE_RULES, PandoraRule, fair_cap, parse_score_rule

Stage = Callable[..., Any]
SCORES = st.lists(st.floats(0, 1), max_size=8)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=9), st.floats(1e-3, 10))
def test_the_fair_cap_is_where_one_more_is_worth_its_price(
    values: list[float], cost: float
) -> None:
    tau = fair_cap(values, cost)
    worth = sum(max(0.0, value - tau) for value in values) / len(values)
    assert worth == pytest.approx(cost, rel=1e-6)


@given(SCORES, st.floats(1e-3, 0.5))
def test_pandora_stops_when_what_is_left_to_gain_is_worth_less(
    scores: list[float], cost: float
) -> None:
    """(top - best) / (n + 1) <= c; the fair cap and this say the same."""
    left = (1 - max(scores, default=0)) / (len(scores) + 1)
    if scores and abs(left - cost) > 1e-9:
        assert PandoraRule(cost).settled(scores) == (left < cost)


@given(
    st.sampled_from(["threshold:0.7", "threshold", "pandora:0.1", "pandora:0.05,2.0"]),
    SCORES,
    st.integers(0, 3),
)
def test_min_more_is_the_least_number_of_samples_that_could_settle(
    name: str, scores: list[float], remaining: int
) -> None:
    """The best that could come is a sample at the top."""
    rule = parse_score_rule(name)
    best = 2.0
    ends = (more for more in range(remaining + 1) if rule.settled([*scores, *[best] * more]))
    assert rule.min_more(scores, remaining) == next(ends, remaining)


@pytest.mark.parametrize("name", SCORE_RULES)
def test_without_scores_nothing_is_settled(name: str) -> None:
    assert not parse_score_rule(name).settled([])


@pytest.mark.parametrize(
    "name", ["threshold", "threshold:0.85", "pandora", "pandora:0.2", "pandora:0.2,5.0"]
)
def test_a_name_is_read_as_the_rule_that_it_names(name: str) -> None:
    assert parse_score_rule(name).name == name


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("threshold:inf", "finite"),
        ("threshold:high", "number"),
        ("pandora:0", "above 0"),
        ("pandora:0.1,nan", "finite"),
        ("pandora:1,2,3", "parameters"),
        ("beta", "ends a vote"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(text: str, word: str) -> None:
    with pytest.raises(InvalidRequestError, match=word) as raised:
        parse_score_rule(text)
    assert raised.value.hint


def test_an_unknown_rule_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError) as raised:
        parse_score_rule("pandorra")
    assert raised.value.hint == "did you mean 'pandora'?"


@pytest.mark.anyio
async def test_a_threshold_takes_the_place_of_the_verifiers_own(stage: Stage) -> None:
    scores = {"a": 0.5, "b": 0.9, "c": 1.0}
    it = stage("best_of_n", [*"abc"], wave=1, scores=scores, stop_rule="threshold:0.8")
    outcome = await it.play()
    assert (outcome.answer.text, outcome.stop_reason, it.generation.drawn) == ("b", "settled", 2)
    higher = stage("best_of_n", [*"cab"], wave=1, scores=scores, stop_rule="threshold:1.5")
    assert (await higher.play()).stop_reason == "budget"


@pytest.mark.anyio
async def test_pandora_ends_a_contest(stage: Stage) -> None:
    """After 0.6 the rest is worth 0.4 / 3 > 0.1, after the third 0.4 / 4 <= 0.1."""
    scores = {"a": 0.2, "b": 0.6, "c": 0.1, "d": 0.9}
    it = stage("best_of_n", [*"abcd"], wave=1, scores=scores, stop_rule="pandora:0.1")
    outcome = await it.play()
    assert (outcome.answer.text, outcome.stop_reason, it.generation.drawn) == ("b", "settled", 3)


@pytest.mark.anyio
async def test_a_rule_of_votes_draws_nothing(stage: Stage) -> None:
    it = stage("best_of_n", ["a"], scores={"a": 1.0}, stop_rule="lead")
    with pytest.raises(InvalidRequestError, match="ends a vote"):
        await it.play()
    assert it.generation.drawn == 0
