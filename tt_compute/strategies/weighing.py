"""Weighted votes: each sample's vote counts by how far it is trusted."""

from __future__ import annotations

import math
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
        self._weights: dict[int, float] = {}

    async def add(self, ended: Ended, weight: float) -> None:
        """Count a sample's vote by its weight of at least 0; one without an answer abstains."""
        await self._ballot.add(ended)
        self._weights[ended.index] = weight

    def standing(self) -> Weighed:
        """Of answers of equal weight the one that came up first leads."""
        leaders = self._ballot.leaders(self._weights)
        if not leaders:
            return Weighed(winner=None, share=0.0, votes=())
        sizes = self._ballot.sizes(self._weights)
        total = math.fsum(sizes)
        return Weighed(
            winner=max(leaders[0], key=lambda voter: self._weights[voter.index]),
            share=max(sizes) / total if total else 1 / len(sizes),
            votes=self._ballot.standing(leaders[0], self._weights),
        )


async def weigh(task: Task, voters: Sequence[tuple[Ended, float]]) -> Weighed:
    """How a weighted vote of these samples comes out."""
    ballot = WeightedBallot(task)
    for ended, weight in voters:
        await ballot.add(ended, weight)
    return ballot.standing()
