"""When the samples so far are enough: stop rules, each a small pure function of the votes.

A rule sees ``counts``, the votes of each answer, in any order. Two things can end a vote early, and
``decided`` asks both:

* the rule is satisfied (``StopRule.settled``);
* the leader can no longer be caught within the budget (``certain``): the rest of the samples could only
  confirm it, so that stopping there never changes the answer, whatever the rule.

``fewest_more`` tells how many further samples could end the run at the earliest. A wave of that size is
never wasteful: one-by-one drawing would have drawn every one of its samples too.
"""

from __future__ import annotations

import difflib
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Protocol

import msgspec

from tt_compute.errors import InvalidRequestError, UnknownNameError

__all__ = [
    "BETA_THRESHOLD",
    "NO_VOTE",
    "STOP_RULES",
    "BetaRule",
    "StopRule",
    "beta_posterior",
    "certain",
    "decided",
    "fewest_more",
    "parse_stop_rule",
    "top_two",
]

BETA_THRESHOLD = 0.95
"""Confidence of Adaptive-Consistency's experiments (arXiv 2305.11860)."""

NO_VOTE = -1
"""In ``coming``: a sample that ended without an answer."""


class StopRule(Protocol):
    """Tells from the votes whether more samples are worth drawing."""

    @property
    def name(self) -> str:
        """What ``parse_stop_rule`` turns back into this rule."""
        ...

    def posterior(self, counts: Sequence[int]) -> float | None:
        """The rule's own figure for its leader; None without votes."""
        ...

    def settled(self, counts: Sequence[int]) -> bool:
        """Whether these votes are enough."""
        ...

    def min_more(self, counts: Sequence[int], remaining: int) -> int:
        """Fewest further samples after which the rule could be satisfied: all for the leader.

        0 when it is satisfied; ``remaining`` when it cannot be within the ``remaining`` samples.
        """
        ...


class BetaRule(msgspec.Struct, frozen=True):
    """Adaptive-Consistency: stop once ``beta_posterior`` of the top two answers reaches a threshold."""

    threshold: float = BETA_THRESHOLD

    def __post_init__(self) -> None:
        """Refuse thresholds that one vote meets or that none can.

        Raises:
            InvalidRequestError: The threshold is not between 0.5 and 1.
        """
        if not 0.5 < self.threshold < 1:  # noqa: PLR2004 - the posterior's range
            raise InvalidRequestError(
                f"the threshold of the stop rule 'beta' must lie between 0.5 and 1, got {self.threshold}",
                hint=f"such as beta:{BETA_THRESHOLD}",
            )

    @property
    def name(self) -> str:
        return "beta" if self.threshold == BETA_THRESHOLD else f"beta:{self.threshold!r}"

    def posterior(self, counts: Sequence[int]) -> float | None:
        first, second = top_two(counts)
        return None if first == 0 else beta_posterior(first, second)

    def settled(self, counts: Sequence[int]) -> bool:
        posterior = self.posterior(counts)
        return posterior is not None and posterior >= self.threshold

    def min_more(self, counts: Sequence[int], remaining: int) -> int:
        if self.settled(counts):
            return 0
        first, second = top_two(counts)
        # The posterior grows with every vote for the leader, so the least such number can be bisected.
        votes = range(first + 1, first + remaining + 1)
        missing = bisect_left(votes, self.threshold, key=lambda vote: beta_posterior(vote, second))
        return min(missing + 1, remaining)


@lru_cache(maxsize=1 << 16)
def beta_posterior(first: int, second: int) -> float:
    """P(the leader is the true majority of it and the runner-up), under a uniform prior.

    Integral of p^v1 (1-p)^v2 over [1/2, 1] divided by that over [0, 1] = 1 - I_{1/2}(v1+1, v2+1), which
    for whole numbers is P(Bin(v1+v2+1, 1/2) <= v1). Computed in whole numbers, rounded once.
    Source: Adaptive-Consistency, arXiv 2305.11860, its Beta criterion.

    Args:
        first: Votes of the leader.
        second: Votes of the runner-up.
    """
    trials = first + second + 1
    # The upper tail P(Bin > v1) equals P(Bin <= v2) by symmetry and is the shorter sum.
    tail = 0
    ways = 1
    for successes in range(second + 1):
        tail += ways
        ways = ways * (trials - successes) // (successes + 1)
    return ((1 << trials) - tail) / (1 << trials)


def certain(counts: Sequence[int], remaining: int) -> bool:
    """Whether no outcome of the ``remaining`` samples could let another answer reach the leader."""
    first, second = top_two(counts)
    return first - second > remaining


def decided(rule: StopRule | None, counts: Sequence[int], remaining: int) -> bool:
    """Whether drawing can end now, before the budget does; the end of the budget itself decides nothing.

    Args:
        rule: None draws the whole budget, come what may.
        counts: Votes per answer.
        remaining: Samples of the budget that have not voted yet, in flight or not drawn.
    """
    if rule is None:
        return False
    return rule.settled(counts) or (remaining > 0 and certain(counts, remaining))


def fewest_more(
    rule: StopRule | None, counts: Sequence[int], remaining: int, coming: Sequence[int | None] = ()
) -> int:
    """Fewest of the ``remaining`` samples after which the run could be over; 0 when it is decided.

    A lower bound that is reached when every vote not known yet goes to one answer. The end of the budget
    is an end too, so it is never more than ``remaining``.

    Args:
        rule: None draws the whole budget.
        counts: Votes per answer.
        remaining: Samples of the budget that have not voted yet, in flight or not drawn.
        coming: What is known of the next samples in line, which vote in this order: the position in
            ``counts`` that one will vote for (past its end for an answer without votes), ``NO_VOTE``, or
            None while it is not known.
    """
    if rule is None:
        return remaining
    known = {vote for vote in coming if vote is not None and vote != NO_VOTE}
    votes = [*counts, *[0] * (max(known, default=0) + 1 - len(counts))]
    # Of the answers that no known vote is coming for, the leader reaches any end first.
    candidates = known | {votes.index(max(votes))}
    return min(_fewest_if(rule, votes, remaining, coming, leader) for leader in candidates)


def top_two(counts: Sequence[int]) -> tuple[int, int]:
    """Votes of the leader and of the runner-up; 0 where there is none."""
    first = second = 0
    for votes in counts:
        if votes > first:
            first, second = votes, first
        elif votes > second:
            second = votes
    return first, second


def _fewest_if(
    rule: StopRule, counts: Sequence[int], remaining: int, coming: Sequence[int | None], leader: int
) -> int:
    """``fewest_more`` when all that is not known votes for ``leader``."""
    votes = list(counts)
    for step, vote in enumerate(coming):
        if decided(rule, votes, remaining - step):
            return step
        if vote != NO_VOTE:
            votes[leader if vote is None else vote] += 1
    rest = remaining - len(coming)
    first, second = top_two(votes)
    # The leader is certain after k votes for it once first + k - second > rest - k.
    until_certain = max(0, (rest - (first - second)) // 2 + 1)
    return len(coming) + min(rule.min_more(votes, rest), until_certain)


def _parse_beta(parameter: str) -> StopRule:
    if not parameter:
        return BetaRule()
    try:
        threshold = float(parameter)
    except ValueError as error:
        raise InvalidRequestError(
            f"the stop rule 'beta' takes a threshold, got {parameter!r}",
            hint=f"such as beta:{BETA_THRESHOLD}",
        ) from error
    return BetaRule(threshold)


STOP_RULES: Mapping[str, Callable[[str], StopRule]] = MappingProxyType({"beta": _parse_beta})
"""Name -> maker from what follows the colon ("" when nothing does)."""


def parse_stop_rule(text: str) -> StopRule:
    """The rule that ``text`` names, such as ``beta`` or ``beta:0.99``.

    Raises:
        UnknownNameError: There is no such rule.
        InvalidRequestError: Its parameter is not a number or out of range.
    """
    name, _, parameter = text.partition(":")
    make = STOP_RULES.get(name)
    if make is None:
        near = difflib.get_close_matches(name, STOP_RULES, n=1)
        raise UnknownNameError(
            f"there is no stop rule {name!r}",
            hint=f"did you mean {near[0]!r}?" if near else f"known: {', '.join(STOP_RULES)}",
        )
    return make(parameter)
