"""What a vote of several samples is worth: accuracy, samples and waves, exactly, for any ability.

Model of one question: a sample is right with probability p; the rest, 1 - p, is split:

* a share ``abstain`` holds no answer and does not vote;
* of the others, a share ``agreement``, which like p differs between questions, gives the one popular wrong answer;
* all others give a wrong answer of their own, that no other sample gives.

The last point is what makes an exact count possible, and it is kind to the vote: where the rest of the
wrong answers agree too (few choices), the real accuracy is lower.

How a vote goes depends on p only through p^right x (1 - p)^rest: a walk over the states of the vote, made
once per (rule, budget, wave, split), collects the coefficients of these products, and a distribution of
questions then needs nothing but the moments E[p^right (1 - p)^rest] at each agreement. So the results are
exact for it.

Deficit waves draw what drawing one by one would draw (``stopping.fewest_more``), so accuracy and samples do
not depend on the wave; only the number of waves, and with it the latency, does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

import msgspec

from tt_compute.planning.questions import Moments, Questions
from tt_compute.stopping import fewest_more, parse_stop_rule

__all__ = ["MAX_VOTE_BUDGET", "Vote", "VoteTable", "Wave", "hold_vote", "vote_table"]

MAX_VOTE_BUDGET = 64
"""Largest vote that is predicted; the walk's cost grows faster than the square of the budget."""


class Term(NamedTuple):
    """``weight`` x p^right x (1 - p)^rest."""

    right: int
    rest: int
    weight: float


class VoteTable(msgspec.Struct, frozen=True, kw_only=True):
    """The coefficients of one (rule, budget, wave, split of the wrong answers)."""

    won: tuple[Term, ...]
    """Ends at which the right answer wins, ties by their share of luck."""
    ends: tuple[Term, ...]
    """All ends; right + rest is the number of samples drawn."""
    starts: tuple[tuple[int, int, tuple[Term, ...]], ...]
    """(number of the wave from 1, its width, states in which it starts)."""


class Wave(msgspec.Struct, frozen=True, kw_only=True):
    """The n-th wave of a run, n by its place among the others."""

    reached: float
    """Probability that the run comes to it."""
    widths: tuple[tuple[int, float], ...]
    """(samples in it, probability that it is reached and this wide)."""


class Vote(msgspec.Struct, frozen=True, kw_only=True):
    """What a vote comes to, over all questions."""

    accuracy: float
    samples_mean: float
    waves: tuple[Wave, ...]


def hold_vote(
    questions: Questions, abstain: float, rule: str | None, budget: int, wave: int
) -> Vote:
    """The vote's outcome over all questions; arguments as of ``vote_table``."""
    accuracy = samples = 0.0
    reached: dict[int, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    for agreement, moments in questions.by_agreement():
        table = vote_table(rule, budget, wave, agreement, abstain)
        accuracy += _sum(table.won, moments)
        samples += sum(
            term.weight * (term.right + term.rest) * moments(term.right, term.rest)
            for term in table.ends
        )
        for number, width, terms in table.starts:
            reached[number][width] += _sum(terms, moments)
    return Vote(
        accuracy=accuracy,
        samples_mean=samples,
        waves=_by_chance([sorted(widths.items()) for widths in reached.values()]),
    )


def _by_chance(waves: Iterable[Sequence[tuple[int, float]]]) -> tuple[Wave, ...]:
    """Waves in the order of how likely they are, which is that of their numbers but for common ones."""
    found = (Wave(reached=sum(share for _, share in wave), widths=tuple(wave)) for wave in waves)
    return tuple(sorted(found, key=lambda wave: -wave.reached))


def _sum(terms: Iterable[Term], moments: Moments) -> float:
    return sum(weight * moments(right, rest) for right, rest, weight in terms)


@lru_cache(maxsize=4096)
def vote_table(
    rule: str | None, budget: int, wave: int, agreement: float, abstain: float
) -> VoteTable:
    """Walk all courses that a vote can take.

    Args:
        rule: Stop rule as ``parse_stop_rule`` reads it; None draws the whole budget.
        budget: Most samples, 1 to ``MAX_VOTE_BUDGET``.
        wave: Most samples in flight.
        agreement: Share of the wrong answers that is the popular one.
        abstain: Share of the samples that are not right which hold no answer.
    """
    return _Walk(rule, budget, wave).go(agreement, abstain)


_State = tuple[int, int, int, int, int]
"""(right, popular, single, wave, due): votes for the right and for the popular wrong answer; wrong answers
given once, counted only as 0 or 1 once another answer has two votes; number of the current wave; samples
of it still to come."""
_Cells = dict[tuple[int, int], float]
"""(right, rest) -> weight."""
_EXACT_SAMPLES = 16


class _Walk:
    """One pass over the states of a vote, sample by sample.

    For the first ``_EXACT_SAMPLES`` each course has waves of its own. What is still open then is a close
    race, and all of it goes on in common waves, half as wide as a tie would ask for.
    """

    def __init__(self, rule: str | None, budget: int, wave: int) -> None:
        self._rule = None if rule is None else parse_stop_rule(rule)
        self._budget = budget
        self._wave = wave
        self._common = (0, 0, _EXACT_SAMPLES)
        self._fewest: dict[tuple[int, int, int], int] = {}
        self._won: _Cells = defaultdict(float)
        self._ends: _Cells = defaultdict(float)
        self._starts: dict[tuple[int, int], _Cells] = defaultdict(lambda: defaultdict(float))

    def go(self, agreement: float, abstain: float) -> VoteTable:
        voting = 1 - abstain
        shares = (voting * agreement, voting * (1 - agreement), abstain)
        layer: dict[_State, float] = {(0, 0, 0, 0, 0): 1.0}
        for drawn in range(self._budget + 1):
            if drawn == _EXACT_SAMPLES:
                layer = self._merge(layer)
            if drawn >= _EXACT_SAMPLES:
                self._next_common(drawn)
            following: dict[_State, float] = defaultdict(float)
            for state, weight in layer.items():
                live = state if state[4] else self._next_wave(state, drawn, weight)
                if live is not None:
                    _draw(following, live, weight, shares)
            layer = following
        return self._table()

    def _table(self) -> VoteTable:
        return VoteTable(
            won=_terms(self._won),
            ends=_terms(self._ends),
            starts=tuple(
                (number, width, _terms(cells))
                for (number, width), cells in sorted(self._starts.items())
            ),
        )

    def _merge(self, layer: dict[_State, float]) -> dict[_State, float]:
        """Forget in which wave each course is; the common waves are counted after the last of those."""
        self._common = (max((state[3] for state in layer), default=0), 0, _EXACT_SAMPLES)
        merged: dict[_State, float] = defaultdict(float)
        for (right, popular, single, _, _), weight in layer.items():
            merged[right, popular, single, 0, 0] += weight
        return merged

    def _next_common(self, drawn: int) -> None:
        """Begin the next common wave once the last one is through."""
        number, _, until = self._common
        remaining = self._budget - drawn
        if drawn == until and remaining:
            tie = fewest_more(self._rule, (drawn // 2, drawn // 2), remaining)
            width = max(1, min(self._wave, tie // 2))
            self._common = (number + 1, width, drawn + width)

    def _next_wave(self, state: _State, drawn: int, weight: float) -> _State | None:
        """The state at the start of the next wave; None when the vote is over."""
        right, popular, single, wave, _ = state
        cell = (right, drawn - right)
        more = self._fewest_more(state, self._budget - drawn)
        if more == 0:
            self._ends[cell] += weight
            self._won[cell] += weight * _luck(right, popular, single)
            return None
        if drawn >= _EXACT_SAMPLES:
            number, width, until = self._common
            if until - width == drawn:
                self._starts[number, width][cell] += weight
            return (right, popular, single, 0, 1)
        width = min(more, self._wave)
        self._starts[wave + 1, width][cell] += weight
        return (right, popular, single, wave + 1, width)

    def _fewest_more(self, state: _State, remaining: int) -> int:
        if remaining == 0:
            return 0
        right, popular, single, _, _ = state
        votes = sorted((right, popular, 1 if single else 0))
        key = (votes[2], votes[1], remaining)
        if key not in self._fewest:
            self._fewest[key] = fewest_more(self._rule, key[:2], remaining)
        return self._fewest[key]


def _draw(
    following: dict[_State, float],
    state: _State,
    weight: float,
    shares: tuple[float, float, float],
) -> None:
    right, popular, single, wave, due = state
    due -= 1
    popular_share, single_share, abstain_share = shares
    # Once an answer has two votes, how many others have one decides nothing.
    once = 1 if single else 0
    following[right + 1, popular, once if right else single, wave, due] += weight
    if popular_share:
        kept = once if popular else single
        following[right, popular + 1, kept, wave, due] += weight * popular_share
    if single_share:
        more = single + 1 if right <= 1 and popular <= 1 else 1
        following[right, popular, more, wave, due] += weight * single_share
    if abstain_share:
        following[right, popular, single, wave, due] += weight * abstain_share


def _luck(right: int, popular: int, single: int) -> float:
    """Probability that the right answer wins when the vote ends here: equal answers draw lots."""
    most = max(right, popular, 1 if single else 0)
    if most == 0 or right < most:
        return 0.0
    rivals = (1 if popular == most else 0) + (single if most == 1 else 0)
    return 1 / (1 + rivals)


def _terms(cells: _Cells) -> tuple[Term, ...]:
    return tuple(Term(right, rest, weight) for (right, rest), weight in sorted(cells.items()))
