"""Estimated P(the answer is right), given how the samples voted."""

from __future__ import annotations

from collections.abc import Sequence

from tt_compute.planning.ability import TaskAbility

__all__ = ["vote_confidence"]

_LEAST_SHARE = 1e-3
"""A share that a profile puts at 0 may still occur; the posterior must not be certain of the contrary."""


def vote_confidence(
    ability: TaskAbility, votes: Sequence[int], abstentions: int = 0
) -> float | None:
    """P(the first answer is the right one | the votes), by Bayes over which answer is right, or none.

    The model is that of ``planning.votes``: samples are right with a probability p that differs between
    questions; of the wrong ones a share gives the one popular wrong answer, the rest answers of their
    own. With p integrated out, the likelihood that answer i is right is

        E[p^v_i (1 - p)^(n - v_i)] x P(the others' votes | they are wrong).

    A second wrong answer that several samples share, which the model rules out, is taken as very rare.

    Args:
        ability: Of the model on this kind of task.
        votes: Votes of each answer, that of the answer in question first.
        abstentions: Finished samples without an answer.

    Returns:
        None when the ability is not known well enough, or nobody voted.
    """
    success, agreement, abstain = ability.success, ability.wrong_agreement, ability.abstain_share
    if success is None or agreement is None or abstain is None or not votes:
        return None
    popular = max(agreement * (1 - abstain), _LEAST_SHARE)
    own = max((1 - agreement) * (1 - abstain), _LEAST_SHARE)
    moments = success.moments()
    total = sum(votes) + abstentions

    def likelihood(right: int, wrong: Sequence[int]) -> float:
        return moments(right, total - right) * _wrong_votes(wrong, popular, own)

    right_is = [
        likelihood(count, [*votes[:place], *votes[place + 1 :]])
        for place, count in enumerate(votes)
    ]
    return right_is[0] / (sum(right_is) + likelihood(0, votes))


def _wrong_votes(votes: Sequence[int], popular: float, own: float) -> float:
    """P(these votes | all wrong)."""
    if not votes:
        return 1.0
    groups, largest = len(votes), max(votes)
    if largest == 1:
        # Any one of them, or none, may be the popular answer.
        return float(own**groups + groups * popular * own ** (groups - 1))
    repeats = sum(votes) - largest - (groups - 1)
    return float(popular**largest * own ** (groups - 1) * _LEAST_SHARE**repeats)
