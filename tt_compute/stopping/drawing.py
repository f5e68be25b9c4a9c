"""Whether drawing can end, and how many samples it takes at least until it can."""

from __future__ import annotations

from collections.abc import Sequence

from tt_compute.stopping.certainty import certain, fewest_until_certain
from tt_compute.stopping.gate import Gate
from tt_compute.stopping.rule import StopRule
from tt_compute.stopping.votes import NO_VOTE, with_vote

__all__ = ["decided", "fewest_more"]


def decided(rule: StopRule | None, counts: Sequence[int], remaining: int) -> bool:
    """Whether drawing can end now, before the budget does; the end of the budget itself decides nothing.

    Args:
        rule: None draws the whole budget, come what may.
        counts: Votes per answer; ``Votes`` for a rule that sees their order.
        remaining: Samples of the budget that have not voted yet, in flight or not drawn.
    """
    if rule is None:
        return False
    if rule.settled(counts):
        return True
    return remaining > 0 and not isinstance(rule, Gate) and certain(counts, remaining)


def fewest_more(
    rule: StopRule | None, counts: Sequence[int], remaining: int, coming: Sequence[int | None] = ()
) -> int:
    """Fewest of the ``remaining`` samples after which the run could be over; 0 when it is decided.

    A lower bound that is reached when every vote not known yet goes to one answer. The end of the budget
    is an end too, so it is never more than ``remaining``.

    Args:
        rule: None draws the whole budget.
        counts: Votes per answer; ``Votes`` for a rule that sees their order.
        remaining: Samples of the budget that have not voted yet, in flight or not drawn.
        coming: What is known of the next samples in line, which vote in this order: the position in
            ``counts`` that one will vote for (past its end for an answer without votes), ``NO_VOTE``, or
            None while it is not known.
    """
    if rule is None:
        return remaining
    candidates = {vote for vote in coming if vote is not None and vote != NO_VOTE}
    # Of the answers that no known vote is coming for, the leader reaches any end first, unless the order tells.
    if rule.sees == "order":
        candidates.update(range(len(counts)))
    candidates.add(max(range(len(counts)), key=counts.__getitem__, default=0))
    return min(_fewest_if(rule, counts, remaining, coming, leader) for leader in candidates)


def _fewest_if(
    rule: StopRule, counts: Sequence[int], remaining: int, coming: Sequence[int | None], leader: int
) -> int:
    """``fewest_more`` when all that is not known votes for ``leader``."""
    votes = counts
    for step, vote in enumerate(coming):
        if decided(rule, votes, remaining - step):
            return step
        votes = with_vote(votes, leader if vote is None else vote)
    rest = remaining - len(coming)
    fewest = rule.min_more(votes, rest)
    if not isinstance(rule, Gate):
        fewest = min(fewest, fewest_until_certain(votes, rest))
    return len(coming) + fewest
