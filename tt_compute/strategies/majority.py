"""Self-consistency: the answer that most samples give, drawn only until it is settled."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tt_compute.results import StopReason
from tt_compute.stopping import (
    NO_VOTE,
    Votes,
    decided,
    fewest_more,
    parse_stop_rule,
    worth_drawing,
)
from tt_compute.strategies.base import Outcome, Run
from tt_compute.strategies.collecting import Collector
from tt_compute.strategies.voting import Ballot, vote_outcome
from tt_compute.strategies.weighted import WeightedVote
from tt_compute.weights import parse_weight

__all__ = ["Majority"]

_ALL_COUNT: tuple[StopReason, ...] = ("deadline", "failed")
"""Ends at which whatever has ended votes."""


class Majority:
    """Votes in deficit waves.

    Never more samples are in flight than could end the run: while even unanimity would need four, four
    are drawn, and whenever one ends, what it rules out is drawn at once, as far as ``Run.wave`` allows.
    Every sample drawn is one that drawing one by one would have drawn. Below ``Run.ahead`` = 1 samples are drawn
    that will be needed with that chance, too; those that turn out not to be are cancelled. That changes how long a
    vote takes and what it costs, never its answer.

    Sample k votes only once samples 0..k-1 have ended, so that short answers have no advantage and the
    order in which samples end changes nothing. Only at the deadline, or when the deployment is lost, all
    that ended votes: a smaller vote is then better than none. Samples without an answer and failed ones
    abstain; they took their place in the budget.

    ``stop_reason`` is ``settled`` when the stop rule is satisfied, and also when the leader cannot be
    caught within the budget; ``stop_posterior``, the rule's own figure, is then below its threshold.
    Without a stop rule the whole budget is drawn.

    Where ``Run.weight`` says so, votes weigh by how sure of each sample one is: see ``WeightedVote``.
    """

    name = "majority"

    async def run(self, run: Run) -> Outcome:
        """Vote until the answer is settled, the budget is spent or the deadline has passed.

        Raises:
            TTComputeError: Every sample failed, or the generation was lost before there was a vote.
            UnknownNameError: There is no such stop rule, or no such weight.
            UsageError: The weights are a verifier's, and the run has none.
        """
        if run.weight is not None:
            return await WeightedVote(run, parse_weight(run.weight)).hold()
        return await _Vote(run).hold()


class _Vote:
    def __init__(self, run: Run) -> None:
        self._run = run
        self._rule = None if run.stop_rule is None else parse_stop_rule(run.stop_rule)
        self._collector = Collector(run)
        self._ballot = Ballot(run.task)
        self._counted = 0

    async def hold(self) -> Outcome:
        while (reason := self._over()) is None:
            await self._draw()
            await self._collector.next()
            await self._count()
        await self._collector.drain()
        if reason in _ALL_COUNT:
            await self._count_all()
        return self._outcome(reason)

    @property
    def _remaining(self) -> int:
        """Samples of the budget that have not voted yet."""
        return self._run.max_samples - self._counted

    @property
    def _posterior(self) -> float | None:
        return None if self._rule is None else self._rule.posterior(self._ballot.votes)

    def _decided(self) -> bool:
        return decided(self._rule, self._ballot.votes, self._remaining)

    def _over(self) -> StopReason | None:
        if self._decided():
            return "settled"
        if self._collector.late:
            return "deadline"
        if self._collector.lost is not None:
            return "failed"
        if self._remaining == 0:
            return "budget"
        return "deadline" if self._run.deadline_passed() else None

    async def _draw(self) -> None:
        """Draw what the run cannot end without, or what it likely cannot."""
        if not self._collector.room:
            return
        line = self._collector.in_line(self._counted)
        coming = await self._ballot.foresee(line)
        if likely := self._likely(coming):
            self._collector.draw(likely - self._collector.live)
            return
        fewest = fewest_more(self._rule, self._ballot.votes, self._remaining, coming)
        self._collector.draw(fewest - len(line))

    def _likely(self, coming: Sequence[int | None]) -> int:
        """Samples worth having in flight, by all that have ended, even before their turn; 0 = only what is needed."""
        rule, ahead = self._rule, self._run.ahead
        if rule is None or ahead == 1:
            return 0
        ended = [vote for vote in coming if vote is not None]
        votes = Votes((*self._ballot.votes.order, *ended))
        abstained = votes.order.count(NO_VOTE)
        return worth_drawing(rule.name, votes, abstained, self._run.max_samples, ahead)

    async def _count(self) -> None:
        """Let those vote whose turn it is."""
        for ended in self._collector.in_line(self._counted):
            if ended is None or self._decided():
                break
            await self._ballot.add(ended)
            self._counted += 1
            self._run.observer.on_votes(self._ballot.standing(), self._posterior)

    async def _count_all(self) -> None:
        """Let all vote that ended, though others before them did not."""
        for ended in self._collector.in_line(self._counted):
            if ended is not None:
                await self._ballot.add(ended)
        self._run.observer.on_votes(self._ballot.standing(), self._posterior)

    def _outcome(self, reason: StopReason) -> Outcome:
        found = vote_outcome(
            self._run, self._collector, self._ballot, reason, posterior=self._posterior
        )
        if reason in _ALL_COUNT:
            return found
        return msgspec.structs.replace(
            found, uncounted=frozenset(self._collector.order[self._counted :])
        )
