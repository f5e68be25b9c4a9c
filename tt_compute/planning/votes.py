"""What a vote of several samples is worth: accuracy, samples and waves, exactly, for any ability.

Model of one question: a sample is right with probability p; the rest, 1 - p, is split:

* a share ``abstain`` holds no answer and does not vote;
* of the others, a share ``agreement``, which like p differs between questions, gives the one popular wrong answer;
* all others give a wrong answer of their own, that no other sample gives.

The last point is what makes an exact count possible, and it is kind to the vote: where the rest of the
wrong answers agree too (few choices), the real accuracy is lower.

What a stop rule sees of the votes tells which states there are. For rules of the top two, how many answers
stand alone matters only while nothing has two votes; for rules of all counts they are counted on; for ``esc``,
whose windows depend on the order, a state also holds what the window agrees on so far.

How a vote goes depends on p only through p^right x (1 - p)^rest: a walk over the states of the vote, made
once per (rule, budget, split), collects the coefficients of these products, and a distribution of
questions then needs nothing but the moments E[p^right (1 - p)^rest] at each agreement. So the results are
exact for it.

Deficit waves draw what drawing one by one would draw (``stopping.fewest_more``), so accuracy and samples do
not depend on the wave; how long a run takes does (``planning.trials``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

import msgspec

from tt_compute.planning.questions import Moments, Questions
from tt_compute.stopping import EscRule, StopRule, certain, decided, parse_stop_rule

__all__ = ["MAX_VOTE_BUDGET", "Vote", "VoteTable", "hold_vote", "vote_table"]

MAX_VOTE_BUDGET = 64
"""Largest vote that is predicted; the walk's cost grows faster than the square of the budget."""


class Term(NamedTuple):
    """``weight`` x p^right x (1 - p)^rest."""

    right: int
    rest: int
    weight: float


class VoteTable(msgspec.Struct, frozen=True, kw_only=True):
    """The coefficients of one (rule, budget, split of the wrong answers)."""

    won: tuple[Term, ...]
    """Ends at which the right answer wins, ties by their share of luck."""
    ends: tuple[Term, ...]
    """All ends; right + rest is the number of samples drawn."""
    settled: tuple[Term, ...]
    """Ends at which the rule is satisfied."""
    settled_won: tuple[Term, ...]
    """Those of them at which the right answer wins."""


class Vote(msgspec.Struct, frozen=True, kw_only=True):
    """What a vote comes to, over all questions."""

    accuracy: float
    samples_mean: float


def hold_vote(questions: Questions, abstain: float, rule: str | None, budget: int) -> Vote:
    """The vote's outcome over all questions; arguments as of ``vote_table``."""
    accuracy = samples = 0.0
    for agreement, moments in questions.by_agreement():
        table = vote_table(rule, budget, agreement, abstain)
        accuracy += _sum(table.won, moments)
        samples += sum(
            term.weight * (term.right + term.rest) * moments(term.right, term.rest)
            for term in table.ends
        )
    return Vote(accuracy=accuracy, samples_mean=samples)


def _sum(terms: Iterable[Term], moments: Moments) -> float:
    return sum(weight * moments(right, rest) for right, rest, weight in terms)


@lru_cache(maxsize=4096)
def vote_table(rule: str | None, budget: int, agreement: float, abstain: float) -> VoteTable:
    """Walk all courses that a vote can take.

    Args:
        rule: Stop rule as ``parse_stop_rule`` reads it; None draws the whole budget.
        budget: Most samples, 1 to ``MAX_VOTE_BUDGET``.
        agreement: Share of the wrong answers that is the popular one.
        abstain: Share of the samples that are not right which hold no answer.
    """
    return _Walk(rule, budget).go(agreement, abstain)


_State = tuple[int, int, int, int]
"""(right, popular, single, window): votes for the right and for the popular wrong answer; wrong answers given
once, for rules of the top two counted only as 0 or 1 once another answer has two votes; what the samples of the
present window of ``esc`` have in common."""
_Cells = dict[tuple[int, int], float]
"""(right, rest) -> weight."""
_NOTHING_YET, _RIGHT, _POPULAR, _MIXED = range(4)
"""What samples of a window have in common; wrong answers of their own never agree."""


class _Walk:
    """One pass over the states of a vote, sample by sample."""

    def __init__(self, rule: str | None, budget: int) -> None:
        self._rule = None if rule is None else parse_stop_rule(rule)
        self._budget = budget
        self._window = _window(self._rule)
        self._all_counts = self._rule is not None and self._rule.sees == "counts"
        self._decided: dict[tuple[int, int, int, int], bool] = {}
        self._won: _Cells = defaultdict(float)
        self._ends: _Cells = defaultdict(float)
        self._settled: _Cells = defaultdict(float)
        self._settled_won: _Cells = defaultdict(float)

    def go(self, agreement: float, abstain: float) -> VoteTable:
        voting = 1 - abstain
        shares = (voting * agreement, voting * (1 - agreement), abstain)
        layer: dict[_State, float] = {(0, 0, 0, _NOTHING_YET): 1.0}
        for drawn in range(self._budget + 1):
            following: dict[_State, float] = defaultdict(float)
            for state, weight in layer.items():
                if self._over(state, self._budget - drawn):
                    self._end(state, drawn, weight)
                else:
                    self._draw(following, self._begun(state, drawn), weight, shares)
            layer = following
        return VoteTable(
            won=_terms(self._won),
            ends=_terms(self._ends),
            settled=_terms(self._settled),
            settled_won=_terms(self._settled_won),
        )

    def _end(self, state: _State, drawn: int, weight: float) -> None:
        right, popular, single, _ = state
        cell, luck = (right, drawn - right), _luck(right, popular, single)
        self._ends[cell] += weight
        self._won[cell] += weight * luck
        if self._window is None and self._rule is not None:
            alone = single if self._all_counts else min(single, 2)
            if self._rule.settled((max(right, popular), min(right, popular), *[1] * alone)):
                self._settled[cell] += weight
                self._settled_won[cell] += weight * luck

    def _begun(self, state: _State, drawn: int) -> _State:
        """The state as the next sample finds it: maybe at the beginning of a window."""
        if self._window is None or drawn % self._window:
            return state
        return (*state[:3], _NOTHING_YET)

    def _over(self, state: _State, remaining: int) -> bool:
        if remaining == 0:
            return True
        right, popular, single, window = state
        if self._window is not None:
            whole = (self._budget - remaining) % self._window == 0
            agreed = whole and window in (_RIGHT, _POPULAR)
            return agreed or certain((right, popular, min(single, 1)), remaining)
        # Of answers given once the top two hold two at most.
        alone = single if self._all_counts else min(single, 2)
        key = (max(right, popular), min(right, popular), alone, remaining)
        if key not in self._decided:
            counts = (*key[:2], *[1] * alone)
            self._decided[key] = decided(self._rule, counts, remaining)
        return self._decided[key]

    def _draw(
        self,
        following: dict[_State, float],
        state: _State,
        weight: float,
        shares: tuple[float, float, float],
    ) -> None:
        right, popular, single, window = state
        popular_share, single_share, abstain_share = shares
        counted = self._all_counts
        # Once an answer has two votes, how many others have one decides nothing for rules of the top two.
        once = single if counted else min(single, 1)
        common = self._in_common(window, _RIGHT)
        following[right + 1, popular, once if right else single, common] += weight
        if popular_share:
            kept = once if popular else single
            common = self._in_common(window, _POPULAR)
            following[right, popular + 1, kept, common] += weight * popular_share
        mixed = self._in_common(window, _MIXED)
        if single_share:
            more = single + 1 if counted or (right <= 1 and popular <= 1) else 1
            following[right, popular, more, mixed] += weight * single_share
        if abstain_share:
            following[right, popular, single, mixed] += weight * abstain_share

    def _in_common(self, window: int, kind: int) -> int:
        """What the window's samples have in common after one of this kind."""
        if self._window is None:
            return _NOTHING_YET
        return kind if window in (_NOTHING_YET, kind) else _MIXED


def _window(rule: StopRule | None) -> int | None:
    """Samples of a window, for the rule that has some."""
    if rule is None or rule.sees != "order":
        return None
    assert isinstance(rule, EscRule), "no walk holds what this rule sees"
    return rule.window


def _luck(right: int, popular: int, single: int) -> float:
    """Probability that the right answer wins when the vote ends here: equal answers draw lots."""
    most = max(right, popular, 1 if single else 0)
    if most == 0 or right < most:
        return 0.0
    rivals = (1 if popular == most else 0) + (single if most == 1 else 0)
    return 1 / (1 + rivals)


def _terms(cells: _Cells) -> tuple[Term, ...]:
    return tuple(Term(right, rest, weight) for (right, rest), weight in sorted(cells.items()))
