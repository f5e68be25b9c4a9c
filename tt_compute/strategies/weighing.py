"""Weighted votes: each sample's vote counts by how far it is trusted."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tt_compute.strategies.base import Ended
from tt_compute.strategies.voting import Ballot
from tt_compute.verify.base import Task

__all__ = ["Weighed", "WeightedBallot", "weigh"]


class Weighed(msgspec.Struct, frozen=True, kw_only=True):
    """How a weighted vote stands."""

    winner: Ended | None
    """The heaviest voter of the leading answer; None without votes."""
    share: float
    """Of the whole weight, that of the leading answer; 0 without votes."""
    votes: tuple[tuple[str, int], ...]
    """Shown answer and number of its votes, whatever they weigh, the leading answer first."""


class WeightedBallot:
    """The weighted votes counted so far."""

    def __init__(self, task: Task) -> None:
        self._ballot = Ballot(task)
        self._voters: list[tuple[Ended, float]] = []

    async def add(self, ended: Ended, weight: float) -> None:
        """Count a sample's vote by its weight of at least 0; one without an answer abstains."""
        await self._ballot.add(ended)
        self._voters.append((ended, weight))

    def standing(self) -> Weighed:
        """Of answers of equal weight the one that came up first leads."""
        answers: dict[int, list[tuple[Ended, float]]] = {}
        for place, voter in zip(self._ballot.votes.order, self._voters, strict=True):
            if voter[0].answer is not None:
                answers.setdefault(place, []).append(voter)
        weights = {place: sum(weight for _, weight in group) for place, group in answers.items()}
        if not weights:
            return Weighed(winner=None, share=0.0, votes=())
        ranked = sorted(weights, key=lambda place: (-weights[place], place))
        total = sum(weights.values())
        return Weighed(
            winner=max(answers[ranked[0]], key=lambda voter: voter[1])[0],
            share=weights[ranked[0]] / total if total else 1 / len(weights),
            votes=tuple((_shown(answers[place]), len(answers[place])) for place in ranked),
        )


async def weigh(task: Task, voters: Sequence[tuple[Ended, float]]) -> Weighed:
    """How a weighted vote of these samples comes out."""
    ballot = WeightedBallot(task)
    for ended, weight in voters:
        await ballot.add(ended, weight)
    return ballot.standing()


def _shown(voters: Sequence[tuple[Ended, float]]) -> str:
    answer = voters[0][0].answer
    assert answer is not None
    return answer.text
