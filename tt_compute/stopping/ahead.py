"""How many samples of a vote to have under way: those that it needs, and those that it will likely need."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from tt_compute.stopping.drawing import decided
from tt_compute.stopping.names import parse_stop_rule

__all__ = ["MOST_FORESEEN", "chances_of_need", "worth_drawing"]

MOST_FORESEEN = 64
"""Nothing is drawn ahead of need from this sample of a vote on: its courses are too many."""
_State = tuple[int, int, int]
"""(votes of the leader, of the runner-up, samples that voted for neither)."""


def worth_drawing(
    rule: str, counts: Sequence[int], abstained: int, budget: int, ahead: float
) -> int:
    """Samples, of those not known yet, that the vote comes to with a chance of at least ``ahead``.

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
    state = (leader, runner_up, sum(others) + abstained)
    return sum(chance >= ahead for chance in chances_of_need(rule, budget, state))


def chances_of_need(rule: str, budget: int, state: _State) -> tuple[float, ...]:
    """P(the vote goes on after k more samples), for k = 0, 1, ...: what follows is never needed.

    The next of n samples is for an answer with v votes with probability v / (n + 1) and for a new one with
    1 / (n + 1): the predictive rule of a Dirichlet process of concentration 1, also known as Hoppe's urn
    (Blackwell and MacQueen 1973; Hoppe 1984), in which a sample without an answer is one more answer. So that
    courses are few, answers behind the runner-up are taken to stay behind, and to have one vote each where a
    rule sees all counts. Empty for a rule that sees the order of votes, and from ``MOST_FORESEEN`` on.
    """
    if parse_stop_rule(rule).sees == "order":
        return ()
    return _courses(rule, min(budget, MOST_FORESEEN)).chances(state)


class _Courses:
    """All courses of votes under one rule and budget, each state worked out once."""

    def __init__(self, rule: str, budget: int) -> None:
        self._rule = parse_stop_rule(rule)
        self._budget = budget
        self._known: dict[_State, tuple[float, ...]] = {}

    def chances(self, state: _State) -> tuple[float, ...]:
        known = self._known.get(state)
        if known is None:
            known = self._known[state] = self._work_out(state)
        return known

    def _work_out(self, state: _State) -> tuple[float, ...]:
        remaining = self._budget - sum(state)
        if remaining <= 0 or decided(self._rule, self._counts(state), remaining):
            return ()
        chances = [1.0, *[0.0] * (remaining - 1)]
        for probability, after in _next(state):
            for more, chance in enumerate(self.chances(after), 1):
                chances[more] += probability * chance
        return tuple(chances)

    def _counts(self, state: _State) -> tuple[int, ...]:
        leader, runner_up, others = state
        alone = others if self._rule.sees == "counts" and runner_up else 0
        return (leader, runner_up, *[1] * alone)


@lru_cache(maxsize=64)
def _courses(rule: str, budget: int) -> _Courses:
    return _Courses(rule, budget)


def _next(state: _State) -> list[tuple[float, _State]]:
    """(Probability, state) after one more sample."""
    leader, runner_up, others = state
    total = sum(state) + 1
    if not runner_up:
        # Whoever voted for neither abstained: there are no further answers yet.
        new = (leader, 1, others) if leader else (1, 0, others)
        found = [(1 / total, new), (leader / total, (leader + 1, 0, others))]
        return [*found, (others / total, (leader, 0, others + 1))]
    caught = (
        (leader + 1, runner_up, others) if runner_up == leader else (leader, runner_up + 1, others)
    )
    return [
        (leader / total, (leader + 1, runner_up, others)),
        (runner_up / total, caught),
        ((others + 1) / total, (leader, runner_up, others + 1)),
    ]
