"""Votes: equivalent answers form one cluster, and the largest cluster leads."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tt_compute.results import StopReason
from tt_compute.stopping import NO_VOTE, Votes
from tt_compute.strategies.base import Ended, Outcome, Run
from tt_compute.strategies.collecting import Collector, finished, spokesman
from tt_compute.verify.base import Answer, Task

__all__ = ["Ballot", "Weights", "vote_outcome"]

Weights = Mapping[int, float]
"""What the vote of each sample counts, by its index; one that is not in it counts nothing."""


class Ballot:
    """The votes counted so far. Samples are added in the order of drawing, whenever they ended.

    An answer is compared with the first answer of each cluster, in the order in which the clusters came
    up, and joins the first one that it is equivalent to. So even with an equivalence that is not
    transitive (numbers within a tolerance are not) the clusters do not depend on which sample ended first.
    """

    def __init__(self, task: Task) -> None:
        self._clusters = _Clusters(_Equivalence(task), [], {})
        self._voters: list[list[Ended]] = []
        self._order: list[int] = []

    @property
    def votes(self) -> Votes:
        """Of each cluster, in the order in which the clusters came up; they know their own order too."""
        return Votes(self._order)

    async def add(self, ended: Ended) -> None:
        """Count a sample's vote; one without an answer abstains."""
        if ended.answer is None:
            self._order.append(NO_VOTE)
            return
        place = await self._clusters.place(ended.answer)
        if place == len(self._voters):
            self._voters.append([])
        self._voters[place].append(ended)
        self._order.append(place)

    async def foresee(self, line: Sequence[Ended | None]) -> list[int | None]:
        """What the samples next in line will vote, as ``stopping.fewest_more`` takes it.

        A foresight only: where equivalence is not transitive, the turn of a sample still live can put
        the others into other clusters.

        Args:
            line: From the first sample that has not voted on; None where one is still live.
        """
        known = max((place for place, ended in enumerate(line, 1) if ended is not None), default=0)
        clusters = self._clusters.fork()
        coming: list[int | None] = []
        for ended in line[:known]:
            if ended is None:
                coming.append(None)
            elif ended.answer is None:
                coming.append(NO_VOTE)
            else:
                coming.append(await clusters.place(ended.answer))
        return coming

    def sizes(self, weights: Weights | None = None) -> list[float]:
        """Of each cluster its votes, or the sum of their weights, in the order in which the clusters came up."""
        return [_size(voters, weights) for voters in self._voters]

    def leaders(self, weights: Weights | None = None) -> list[list[Ended]]:
        """The voters of the largest cluster, or of each one that is as large; empty without votes."""
        sizes = self.sizes(weights)
        most = max(sizes, default=0)
        return [voters for voters, size in zip(self._voters, sizes, strict=True) if size == most]

    def standing(
        self, leader: list[Ended] | None = None, weights: Weights | None = None
    ) -> tuple[tuple[str, int], ...]:
        """Shown answer and votes of each cluster, the largest first.

        Args:
            leader: The voters to name first among equals; None = those that came up first.
            weights: What clusters are as large as; None = their votes.
        """
        ranked = self.ranked(leader, weights)
        return tuple((_shown(voters), len(voters)) for voters in ranked)

    def ranked(
        self, leader: list[Ended] | None = None, weights: Weights | None = None
    ) -> list[list[Ended]]:
        """The voters of each cluster, in the order of ``standing``."""
        return sorted(
            self._voters, key=lambda voters: (-_size(voters, weights), voters is not leader)
        )


def vote_outcome(
    run: Run,
    collector: Collector,
    ballot: Ballot,
    reason: StopReason,
    *,
    posterior: float | None = None,
    weights: Weights | None = None,
) -> Outcome:
    """The answer of the leading cluster; the run's seed decides between equal ones.

    Raises:
        TTComputeError: Nobody voted, because every sample failed or the generation was lost.
    """
    leaders = ballot.leaders(weights)
    winners: list[Ended] = []
    if leaders:
        winners = leaders[0] if len(leaders) == 1 else run.rng.choice(leaders)
    samples = collector.by_index()
    if not winners:
        collector.raise_if_nothing_came()
    winner = spokesman(winners or [one for one in samples if finished(one)])
    return Outcome(
        answer=None if winner is None else winner.answer,
        text="" if winner is None else winner.event.text,
        winner=None if winner is None else winner.index,
        tied=tuple(_speaker(voters).index for voters in leaders) if len(leaders) > 1 else (),
        stop_reason=reason,
        stop_posterior=posterior,
        ended=samples,
        votes=ballot.standing(winners, weights),
        warnings=collector.warnings(),
    )


def _size(voters: list[Ended], weights: Weights | None) -> float:
    # Summed exactly, so that equal sums are equal whatever the order.
    if weights is None:
        return len(voters)
    return math.fsum(weights.get(voter.index, 0.0) for voter in voters)


def _speaker(voters: list[Ended]) -> Ended:
    speaker = spokesman(voters)
    assert speaker is not None
    return speaker


def _shown(voters: list[Ended]) -> str:
    answer = _speaker(voters).answer
    assert answer is not None
    return answer.text


class _Equivalence:
    """Asks the task about each pair of keys once: symbolic comparison can take milliseconds."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._known: dict[frozenset[str], bool] = {}

    async def same(self, first: Answer, second: Answer) -> bool:
        pair = frozenset((first.key, second.key))
        if pair not in self._known:
            self._known[pair] = await self._task.equivalent(first, second)
        return self._known[pair]


class _Clusters:
    """Where each answer belongs."""

    def __init__(
        self, equivalence: _Equivalence, firsts: list[Answer], places: dict[str, int]
    ) -> None:
        self._equivalence = equivalence
        self._firsts = firsts
        self._places = places

    def fork(self) -> _Clusters:
        """A copy to try things on."""
        return _Clusters(self._equivalence, [*self._firsts], {**self._places})

    async def place(self, answer: Answer) -> int:
        """Position of the answer's cluster, a new one at the end when it fits none."""
        if answer.key not in self._places:
            self._places[answer.key] = await self._find(answer)
        return self._places[answer.key]

    async def _find(self, answer: Answer) -> int:
        for position, first in enumerate(self._firsts):
            if await self._equivalence.same(first, answer):
                return position
        self._firsts.append(answer)
        return len(self._firsts) - 1
