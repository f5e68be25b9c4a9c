"""Estimated P(the answer is right), given how the samples voted."""

from __future__ import annotations

from collections.abc import Sequence

from tt_compute.planning.ability import TaskAbility
from tt_compute.planning.observations import wrong_votes

__all__ = ["vote_confidence"]


def vote_confidence(
    ability: TaskAbility, votes: Sequence[int], abstentions: int = 0
) -> float | None:
    """P(the first answer is the right one | the votes), by Bayes over which answer is right, or none.

    The model is that of ``planning.votes``: of a question's samples a share p is right, of the wrong ones a
    share gives the one popular wrong answer, the rest answers of their own. Over the kinds of question, the
    likelihood that answer i is right is

        E[p^v_i (1 - p)^(n - v_i) x P(the others' votes | they are wrong)].

    Args:
        ability: Of the model on this kind of task.
        votes: Votes of each answer, that of the answer in question first.
        abstentions: Finished samples without an answer.

    Returns:
        None when the ability is not known well enough, or nobody voted.
    """
    questions, abstain = ability.questions, ability.abstain_share
    if questions is None or abstain is None or not votes:
        return None
    voting = 1 - abstain
    total = sum(votes) + abstentions
    cases = [(count, [*votes[:place], *votes[place + 1 :]]) for place, count in enumerate(votes)]
    chances = [0.0] * (len(cases) + 1)
    for agreement, moments in questions.by_agreement():
        popular, own = agreement * voting, (1 - agreement) * voting
        for place, (right, wrong) in enumerate([*cases, (0, list(votes))]):
            chance = moments(right, total - right) * wrong_votes(wrong, popular, own)
            chances[place] += chance
    everything = sum(chances)
    return chances[0] / everything if everything > 0 else None
