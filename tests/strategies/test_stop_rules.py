"""All stop rules of votes: what they say against their definitions, and that waves never waste a sample."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cache

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tt_compute.errors import InvalidRequestError, UnknownNameError
from tt_compute.stopping import (
    NO_VOTE,
    STOP_RULES,
    CertainRule,
    EscRule,
    LeadRule,
    OpenPprRule,
    PprRule,
    SprtRule,
    StopRule,
    Votes,
    certain,
    decided,
    dirichlet_posterior,
    esc_samples,
    fewest_more,
    parse_stop_rule,
    ppr_ratio,
    top_two,
)

RULES = (
    "beta",
    "beta:0.8",
    "dirichlet",
    "dirichlet:0.7",
    "esc:2",
    "esc:3",
    "lead",
    "lead:1",
    "lead:2",
    "sprt",
    "sprt:0.7,0.05,0.1",
    "sprt:0.6,0.3,0.3",
    "ppr:0.3,2",
    "ppr:0.3,4",
    "ppr:0.6",
    "agreement",
    "agreement:0.6,3",
    "agreement:1.0,4",
    "certain",
)
NAMES = st.sampled_from(RULES)
ORDER = st.lists(st.integers(NO_VOTE, 3), max_size=8)


def over(rule: StopRule, votes: Votes, remaining: int) -> bool:
    """Whether the rule itself ends the vote; ``certain`` also takes what remains."""
    if isinstance(rule, CertainRule):
        return certain(votes, remaining)
    return rule.settled(votes)


@settings(deadline=None, max_examples=400)
@given(NAMES, ORDER, st.integers(0, 5))
def test_min_more_is_the_least_number_of_votes_that_could_settle(
    name: str, order: list[int], remaining: int
) -> None:
    """Over every continuation of that many votes, abstentions and new answers included."""
    rule = parse_stop_rule(name)
    for more in range(remaining + 1):
        continuations = itertools.product((NO_VOTE, 0, 1, 2, 3, 4), repeat=more)
        if any(over(rule, Votes([*order, *rest]), remaining - more) for rest in continuations):
            break
    else:
        more = remaining
    assert rule.min_more(Votes(order), remaining) == more


def end_of(rule: StopRule, order: Sequence[int], rest: Sequence[int]) -> int:
    """After how many of ``rest``, drawn one by one, the run is over."""
    for step in range(len(rest)):
        if decided(rule, Votes([*order, *rest[:step]]), len(rest) - step):
            return step
    return len(rest)


def completions(
    coming: Sequence[int | None], remaining: int, answers: int
) -> Iterator[tuple[int, ...]]:
    anything = (NO_VOTE, *range(answers))
    known = [anything if vote is None else (vote,) for vote in coming]
    return itertools.product(*known, *[anything] * (remaining - len(coming)))


@settings(deadline=None, max_examples=300)
@given(
    name=NAMES,
    order=ORDER,
    coming=st.lists(st.one_of(st.none(), st.integers(NO_VOTE, 3)), max_size=4),
    more=st.integers(0, 2),
)
@example(name="esc:3", order=[0, 0, 2, 1], coming=[None, None], more=4)
def test_fewest_more_is_the_earliest_end_over_everything_that_could_still_come(
    name: str, order: list[int], coming: list[int | None], more: int
) -> None:
    rule = parse_stop_rule(name)
    remaining = len(coming) + more
    ends = (end_of(rule, order, rest) for rest in completions(coming, remaining, 4))
    assert fewest_more(rule, Votes(order), remaining, coming) == min(ends)


@settings(deadline=None)
@given(NAMES, st.lists(st.integers(NO_VOTE, 3), min_size=1, max_size=24))
def test_waves_draw_what_one_by_one_draws(name: str, samples: list[int]) -> None:
    """A wave of ``fewest_more``, waited for as a whole, never reaches past the end of one-by-one drawing."""
    rule = parse_stop_rule(name)
    drawn = 0
    while more := fewest_more(rule, Votes(samples[:drawn]), len(samples) - drawn):
        drawn += more
    assert drawn == end_of(rule, [], samples)


@settings(deadline=None)
@given(NAMES, ORDER)
def test_a_rule_sees_no_more_than_it_says(name: str, order: list[int]) -> None:
    """Votes with the same top two, or the same counts, are the same to it."""
    rule = parse_stop_rule(name)
    votes = Votes(order)
    if rule.sees == "top_two":
        assert rule.settled(votes) == rule.settled(top_two(votes))
    if rule.sees == "counts":
        assert rule.settled(votes) == rule.settled(sorted(votes))


@pytest.mark.parametrize("name", STOP_RULES)
def test_without_votes_nothing_is_settled_and_there_is_no_figure(name: str) -> None:
    rule = parse_stop_rule(name)
    for votes in (Votes(), Votes([NO_VOTE] * 7)):
        assert not rule.settled(votes)
        assert rule.posterior(votes) is None


@pytest.mark.parametrize("name", [*RULES, *STOP_RULES, "ppr:0.05,10", "ppr:0.01", "esc:8"])
def test_a_name_is_read_as_the_rule_that_it_names(name: str) -> None:
    rule = parse_stop_rule(name)
    assert parse_stop_rule(rule.name) == rule
    assert rule.name == name


def test_parameters_that_are_the_defaults_are_left_out_of_the_name() -> None:
    assert parse_stop_rule("sprt:0.5001, 0.05").name == "sprt"
    assert parse_stop_rule("agreement:0.75,2").name == "agreement"
    assert parse_stop_rule("ppr:0.05").name == "ppr"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("dirichlet:1", "between 0.5 and 1"),
        ("dirichlet:x", "number"),
        ("esc:1", "window"),
        ("esc:2.5", "whole number"),
        ("lead:0", "lead"),
        ("lead:-3", "lead"),
        ("lead:99999999999", "lead"),
        ("lead:3,4", "one parameter"),
        ("sprt:0.5", "p1"),
        ("sprt:0.7,0.5,0.5", "alpha and beta"),
        ("sprt:0.7,0,0.5", "alpha and beta"),
        ("sprt:0.7,,0.5", "number"),
        ("ppr:0", "between 0 and 1"),
        ("ppr:0.05,1", "possible answers"),
        ("ppr:0.05,many", "whole number"),
        ("ppr:nan,3", "finite"),
        ("agreement:0.5", "above 0.5"),
        ("agreement:1.1", "above 0.5"),
        ("agreement:0.8,0", "votes"),
        ("certain:1", "parameters"),
        ("threshold:1", "scores"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(text: str, word: str) -> None:
    with pytest.raises(InvalidRequestError, match=word) as raised:
        parse_stop_rule(text)
    assert raised.value.hint


def test_an_unknown_rule_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownNameError) as raised:
        parse_stop_rule("xyzzy")
    assert "pandora" in str(raised.value.hint)


# --- dirichlet -----------------------------------------------------------------------------------


@cache
def last_to_finish(leader: int, others: tuple[int, ...]) -> Fraction:
    """P(the leader's gamma variable is the largest): of Poisson processes, it is the last to finish.

    Each next event belongs to any of the unfinished processes alike.
    """
    left = tuple(sorted(one for one in others if one))
    if leader == 0 or not left:
        return Fraction(int(not left))
    ways = [last_to_finish(leader - 1, left)]
    for place, one in enumerate(left):
        ways.append(last_to_finish(leader, (*left[:place], one - 1, *left[place + 1 :])))
    return sum(ways, Fraction(0)) / len(ways)


@pytest.mark.parametrize(
    "votes",
    [(0, 0, 0), (3, 0), (3, 1, 0), (5, 2, 2, 1, 0), (2, 2, 2, 0), (1, 4, 0), (9, 3, 1, 1, 1, 1, 0)],
)
def test_the_dirichlet_posterior_is_its_integral(votes: tuple[int, ...]) -> None:
    exact = last_to_finish(votes[0] + 1, tuple(count + 1 for count in votes[1:]))
    assert dirichlet_posterior(votes) == pytest.approx(float(exact), abs=1e-12)


@given(st.integers(0, 400), st.integers(0, 400))
def test_of_two_answers_the_dirichlet_posterior_is_that_of_beta(first: int, second: int) -> None:
    beta = parse_stop_rule("beta").posterior([first, second]) if first >= second > 0 else None
    if beta is not None:
        assert dirichlet_posterior((first, second)) == pytest.approx(beta, abs=1e-11)


def test_a_single_answer_is_judged_as_beta_judges_it() -> None:
    """The other class is the one that nobody has given yet."""
    dirichlet, beta = parse_stop_rule("dirichlet"), parse_stop_rule("beta")
    for votes in range(1, 9):
        found = beta.posterior([votes])
        assert dirichlet.posterior([votes]) == pytest.approx(found, abs=1e-12)


# --- esc -----------------------------------------------------------------------------------------


def test_esc_asks_for_whole_windows() -> None:
    """Five equal answers across two windows settle nothing; nor does an abstention agree."""
    rule = EscRule(5)
    assert rule.settled(Votes([0] * 5))
    assert not rule.settled(Votes([1, *[0] * 8]))
    assert rule.settled(Votes([1, *[0] * 9]))
    assert not rule.settled(Votes([NO_VOTE] * 5))


def test_esc_without_the_order_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="order"):
        EscRule().settled([5])


@pytest.mark.parametrize(
    ("shares", "window", "budget"), [((0.8, 0.1, 0.1), 5, 40), ((0.5, 0.3), 4, 24), ((1.0,), 5, 40)]
)
def test_the_mean_of_esc_is_its_formula(
    shares: tuple[float, ...], window: int, budget: int
) -> None:
    rng = random.Random(11)
    answers, weights = [*range(len(shares)), NO_VOTE], [*shares, 1 - sum(shares)]
    rule, runs = EscRule(window), 4000
    drawn = 0
    for _ in range(runs):
        order = rng.choices(answers, weights, k=budget)
        drawn += next(
            (n for n in range(window, budget, window) if rule.settled(Votes(order[:n]))), budget
        )
    assert drawn / runs == pytest.approx(esc_samples(shares, window, budget), rel=0.03)


# --- sprt ----------------------------------------------------------------------------------------


@given(st.integers(0, 2000), st.integers(0, 2000))
def test_consols_default_test_is_a_lead_of_three(first: int, second: int) -> None:
    assert SprtRule().settled([first, second]) == LeadRule(3).settled([first, second])


@given(st.integers(0, 600))
def test_consols_lower_bound_is_out_of_reach_of_any_usual_budget(votes: int) -> None:
    """log(beta / (1 - alpha)), where ConSol gives up: not before 1200 votes, even of a tie."""
    rule = SprtRule()
    ratio = votes * (math.log(rule.p1 / 0.5) + math.log((1 - rule.p1) / 0.5))
    assert ratio > math.log(rule.beta / (1 - rule.alpha))


# --- ppr -----------------------------------------------------------------------------------------


@given(st.integers(0, 60), st.integers(0, 60))
def test_the_ratio_is_prior_over_posterior_at_even_odds(first: int, second: int) -> None:
    """1 / f is the integral of (2u)^v1 (2 - 2u)^v2 over [0, 1]."""
    n = first + second
    integral = Fraction(
        2**n * math.factorial(first) * math.factorial(second), math.factorial(n + 1)
    )
    assert ppr_ratio(first, second) == pytest.approx(float(1 / integral), rel=1e-12)


def test_fewest_equal_votes_that_ppr_wants() -> None:
    fewest = {
        name: next(n for n in range(1, 50) if parse_stop_rule(name).settled([n]))
        for name in ("ppr:0.05,2", "ppr:0.05,5", "ppr:0.05,10", "ppr")
    }
    assert fewest == {"ppr:0.05,2": 8, "ppr:0.05,5": 10, "ppr:0.05,10": 12, "ppr": 10}


def misses(rule: StopRule, shares: Sequence[float], budget: int, runs: int, seed: int) -> float:
    """Share of the votes that the rule itself ends with another answer than answer 0, the most probable."""
    rng = random.Random(seed)
    missed = 0
    for _ in range(runs):
        counts = [0] * len(shares)
        for answer in rng.choices(range(len(shares)), shares, k=budget):
            counts[answer] += 1
            if rule.settled(counts):
                missed += counts[0] < max(counts)
                break
    return missed / runs


@pytest.mark.parametrize(
    "shares",
    [(0.5, 0.49, 0.01), (0.26, 0.25, 0.25, 0.24), (0.1, *[0.09] * 10), (0.4, *[0.02] * 30)],
    ids=["two", "four", "eleven", "many"],
)
@pytest.mark.parametrize("delta", [0.1, 0.4])
def test_ppr_ends_at_another_than_the_most_probable_answer_at_most_as_often_as_it_says(
    shares: tuple[float, ...], delta: float
) -> None:
    """With the number of answers, with P(most probable) >= 1/K, and without knowing anything."""
    runs = 400
    limit = delta + 3 * math.sqrt(delta * (1 - delta) / runs)
    bound = math.ceil(1 / shares[0])
    for rule in (PprRule(delta, len(shares)), PprRule(delta, bound), OpenPprRule(delta)):
        assert misses(rule, shares, 150, runs, seed=3) <= limit


def test_an_open_set_spends_its_error_over_the_answers_that_turn_up() -> None:
    """What is spent on d = 1, 2, ... different answers adds up to delta."""
    rule = OpenPprRule(0.05)
    levels = [0.05 * 6 / (math.pi * d) ** 2 for d in range(1, 100_000)]
    assert sum(levels) == pytest.approx(0.05, rel=1e-4)
    for others in range(4):
        for votes in range(2, 30):
            counts = [votes, *[1] * others]
            enough = ppr_ratio(votes - 1, min(others, 1)) <= levels[others]
            assert rule.settled(counts) == enough


@pytest.mark.parametrize("name", ["ppr:0.1,3", "ppr:0.1"])
@given(counts=st.lists(st.integers(0, 30), min_size=1, max_size=4))
def test_the_figure_of_ppr_passes_its_threshold_when_it_is_settled(
    name: str, counts: list[int]
) -> None:
    rule = parse_stop_rule(name)
    assert isinstance(rule, PprRule | OpenPprRule)
    figure = rule.posterior(counts)
    if figure is not None:
        assert (figure >= rule.threshold - 1e-12) >= rule.settled(counts)
        assert rule.settled(counts) >= (figure >= rule.threshold + 1e-12)
