from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tt_compute.errors import InvalidRequestError, UnknownNameError
from tt_compute.stopping import (
    NO_VOTE,
    BetaRule,
    beta_posterior,
    certain,
    decided,
    fewest_more,
    parse_stop_rule,
    top_two,
)

COUNTS = st.lists(st.integers(0, 12), max_size=5)


def _simpson(first: int, second: int, low: float, high: float) -> float:
    """Integral of p^first (1-p)^second, by a rule that is far finer than the tolerance asked."""
    steps = 4000
    width = (high - low) / steps

    def value(p: float) -> float:
        return p**first * (1 - p) ** second

    inner = math.fsum(
        (4 if step % 2 else 2) * value(low + step * width) for step in range(1, steps)
    )
    return (value(low) + inner + value(high)) * width / 3


@pytest.mark.parametrize("first", [0, 1, 2, 4, 7, 20, 40])
@pytest.mark.parametrize("second", [0, 1, 3, 9, 20, 40])
def test_the_beta_posterior_is_the_integral_of_its_definition(first: int, second: int) -> None:
    upper = _simpson(first, second, 0.5, 1.0)
    whole = _simpson(first, second, 0.0, 1.0)
    assert beta_posterior(first, second) == pytest.approx(upper / whole, abs=1e-9)


@given(st.integers(0, 300), st.integers(0, 300))
def test_the_beta_posterior_is_the_binomial_tail(first: int, second: int) -> None:
    trials = first + second + 1
    ways = sum(math.comb(trials, successes) for successes in range(first + 1))
    assert beta_posterior(first, second) == float(Fraction(ways, 2**trials))


def test_four_equal_votes_are_the_fewest_that_settle() -> None:
    rule = BetaRule()
    assert beta_posterior(4, 0) == 0.96875
    assert [rule.settled([votes]) for votes in range(1, 6)] == [False, False, False, True, True]


def test_the_largest_budget_overflows_nothing() -> None:
    assert beta_posterior(4096, 0) == 1.0
    assert beta_posterior(2048, 2048) == pytest.approx(0.5, abs=0.01)


def test_without_votes_there_is_no_posterior() -> None:
    """Unknown is None, and nothing is settled by it."""
    assert BetaRule().posterior([]) is None
    assert BetaRule().posterior([0, 0]) is None
    assert not BetaRule().settled([])


@given(COUNTS, st.integers(0, 40))
def test_min_more_is_the_first_number_of_leader_votes_that_settles(
    counts: list[int], remaining: int
) -> None:
    rule = BetaRule()
    leader, rival = top_two(counts)
    enough = (more for more in range(remaining + 1) if rule.settled([leader + more, rival]))
    assert rule.min_more(counts, remaining) == next(enough, remaining)


@given(COUNTS)
def test_the_order_of_the_counts_is_free(counts: list[int]) -> None:
    assert BetaRule().posterior(counts) == BetaRule().posterior(sorted(counts))


@given(st.lists(st.integers(0, 4), min_size=1, max_size=3), st.integers(0, 6))
def test_certain_means_that_no_way_to_spend_the_rest_ties_the_leader(
    counts: list[int], remaining: int
) -> None:
    leader = counts.index(max(counts))
    others = [*counts, 0]
    could_tie = any(
        any(
            votes + extra.count(place) >= others[leader] + extra.count(leader)
            for place, votes in enumerate(others)
            if place != leader
        )
        for extra in itertools.combinations_with_replacement([*range(len(others))], remaining)
    )
    assert certain(counts, remaining) is not could_tie


def test_a_budget_of_four_is_over_after_three_equal_votes() -> None:
    """The fourth could not change the answer any more, though the rule itself wants it."""
    assert not BetaRule().settled([3])
    assert decided(BetaRule(), [3], 1)
    assert fewest_more(BetaRule(), [], 4) == 3


def test_without_a_rule_the_whole_budget_is_drawn() -> None:
    assert not decided(None, [9], 1)
    assert fewest_more(None, [9], 7, [NO_VOTE]) == 7


def _end(rule: BetaRule, counts: Sequence[int], rest: Sequence[int]) -> int:
    """After how many of ``rest``, counted one by one, the run is over."""
    votes = [*counts, *[0] * 10]
    for step, vote in enumerate(rest):
        if decided(rule, votes, len(rest) - step):
            return step
        if vote != NO_VOTE:
            votes[vote] += 1
    return len(rest)


def _completions(
    coming: Sequence[int | None], remaining: int, answers: int
) -> Iterator[tuple[int, ...]]:
    anything = (NO_VOTE, *range(answers))
    known = [anything if vote is None else (vote,) for vote in coming]
    return itertools.product(*known, *[anything] * (remaining - len(coming)))


@settings(deadline=None)
@given(
    counts=st.lists(st.integers(1, 5), max_size=3),
    coming=st.lists(st.one_of(st.none(), st.integers(-1, 3)), max_size=4),
    more=st.integers(0, 2),
    threshold=st.sampled_from([0.6, 0.8, 0.95]),
)
def test_fewest_more_is_the_earliest_end_over_everything_that_could_still_come(
    counts: list[int], coming: list[int | None], more: int, threshold: float
) -> None:
    """So a wave of that size never holds a sample that one-by-one drawing would have saved."""
    rule = BetaRule(threshold)
    remaining = len(coming) + more
    ends = (_end(rule, counts, rest) for rest in _completions(coming, remaining, 4))
    assert fewest_more(rule, counts, remaining, coming) == min(ends)


@pytest.mark.parametrize("text", ["beta", "beta:0.99", "beta:0.9"])
def test_a_rule_is_named_by_what_parses_to_it(text: str) -> None:
    assert parse_stop_rule(text).name == text


def test_the_default_threshold_needs_no_parameter() -> None:
    assert parse_stop_rule("beta") == parse_stop_rule("beta:0.95") == BetaRule(0.95)


def test_an_unknown_rule_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match="'betta'") as caught:
        parse_stop_rule("betta")
    assert caught.value.hint == "did you mean 'beta'?"


@pytest.mark.parametrize("text", ["beta:high", "beta:1", "beta:0.5", "beta:nan", "beta:-1"])
def test_a_threshold_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="beta"):
        parse_stop_rule(text)
