"""How many samples of a vote to have under way: those that it needs, and those that it will likely need."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from tt_compute.stopping.drawing import decided
from tt_compute.stopping.names import parse_stop_rule
from tt_compute.stopping.rule import Sees

__all__ = ["MOST_FORESEEN", "Standing", "chances_of_need", "worth_drawing"]

MOST_FORESEEN: dict[Sees, int] = {"top_two": 64, "counts": 32, "order": 0}
"""From this sample of a vote on nothing is drawn ahead of need, by what its rule sees: its courses are too many."""


class Standing(NamedTuple):
    """Of the samples that have ended."""

    leader: int = 0
    """Votes."""
    runner_up: int = 0
    others: int = 0
    """Votes of all other answers."""
    silent: int = 0
    """Samples without an answer."""


def worth_drawing(
    rule: str, counts: Sequence[int], abstained: int, budget: int, ahead: float
) -> int:
    """Samples, of those not known yet, that the vote comes to with a chance of at least ``ahead``.

    0 when it is over by all that have ended, and where nothing is foreseen: see ``chances_of_need``.

    Args:
        rule: Stop rule as ``parse_stop_rule`` reads it.
        counts: Votes of each answer, of all samples that have ended, even before their turn.
        abstained: Samples that ended without an answer.
        budget: Most samples, those that have ended included.
        ahead: From 0, all that the budget allows, to 1, only what the vote cannot end without.
    """
    if ahead <= 0:
        return budget - sum(counts) - abstained
    leader, runner_up, *others = (*sorted(counts, reverse=True), 0, 0)
    return _likely(rule, budget, Standing(leader, runner_up, sum(others), abstained), ahead)


@lru_cache(maxsize=1 << 15)
def _likely(rule: str, budget: int, standing: Standing, ahead: float) -> int:
    return sum(chance >= ahead for chance in chances_of_need(rule, budget, standing))


def chances_of_need(rule: str, budget: int, standing: Standing) -> tuple[float, ...]:
    """P(the vote goes on after k more samples), for k = 0, 1, ...: what follows is never needed.

    The next of n samples gives an answer that has v of them with probability v / (n + 1) and a new one with
    1 / (n + 1): the predictive rule of a Dirichlet process of concentration 1, also known as Hoppe's urn
    (Blackwell and MacQueen 1973; Hoppe 1984). No answer at all is one more answer. So that courses are few,
    answers behind the runner-up are taken to stay there, and to have one vote each where a rule sees them.
    Empty for a rule that sees the order of votes, and from ``MOST_FORESEEN`` on.

    Args:
        rule: Stop rule as ``parse_stop_rule`` reads it.
        budget: Most samples.
        standing: So far.
    """
    most = min(budget, MOST_FORESEEN[parse_stop_rule(rule).sees])
    return _courses(rule, most).chances(standing)


class _Courses:
    """All courses of votes under one rule and budget, each standing worked out once."""

    def __init__(self, rule: str, budget: int) -> None:
        self._rule = parse_stop_rule(rule)
        self._budget = budget
        self._known: dict[Standing, tuple[float, ...]] = {}

    def chances(self, standing: Standing) -> tuple[float, ...]:
        if standing.others and self._rule.sees == "top_two":
            # What they voted for is nothing to the rule.
            silent = standing.silent + standing.others
            standing = standing._replace(others=0, silent=silent)
        known = self._known.get(standing)
        if known is None:
            known = self._known[standing] = self._work_out(standing)
        return known

    def _work_out(self, standing: Standing) -> tuple[float, ...]:
        remaining = self._budget - sum(standing)
        counts = (standing.leader, standing.runner_up, *[1] * standing.others)
        if remaining <= 0 or decided(self._rule, counts, remaining):
            return ()
        chances = [1.0, *[0.0] * (remaining - 1)]
        for probability, after in _next(standing):
            for more, chance in enumerate(self.chances(after), 1):
                chances[more] += probability * chance
        return tuple(chances)


@lru_cache(maxsize=16)
def _courses(rule: str, budget: int) -> _Courses:
    return _Courses(rule, budget)


def _next(standing: Standing) -> Iterator[tuple[float, Standing]]:
    """(Probability, standing) after one more sample."""
    leader, runner_up, others, silent = standing
    total = sum(standing) + 1
    if silent:
        yield silent / total, standing._replace(silent=silent + 1)
    if leader:
        yield leader / total, standing._replace(leader=leader + 1)
    if runner_up == leader:
        # One of two that are level leads from then on; the first vote of all leads, too.
        yield max(runner_up, 1) / total, standing._replace(leader=leader + 1)
    else:
        yield max(runner_up, 1) / total, standing._replace(runner_up=runner_up + 1)
    if runner_up:
        yield (others + 1) / total, standing._replace(others=others + 1)
