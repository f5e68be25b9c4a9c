"""Votes that weigh by how sure one is of each sample."""

from __future__ import annotations

import anyio
import anyio.abc
import msgspec

from tt_compute.errors import UsageError
from tt_compute.results import StopReason
from tt_compute.stopping import certain_by_weight, fewest_until_certain_by_weight
from tt_compute.strategies.base import Ended, Outcome, Run
from tt_compute.strategies.collecting import Collector, finished
from tt_compute.strategies.judgements import Judgements
from tt_compute.strategies.voting import Ballot, vote_outcome
from tt_compute.types import Sample
from tt_compute.weights import Weighting, check_weighted_rule

__all__ = ["WeightedVote"]


class WeightedVote:
    """One vote in which the answer with the largest sum of weights wins.

    The whole budget is drawn, or with ``certain`` as much as could change the answer. Samples without an
    answer abstain: they are no part of the weights either. A sample whose confidence is unknown weighs
    nothing; where no vote weighs anything, all count alike. Both are warnings.

    Args:
        run: Its ``verifier`` judges each sample that votes as soon as that has ended, if the weights are its
            scores; as many at once as the wave is wide.
        weighting: What votes weigh by.

    Raises:
        UsageError: The weights are a verifier's, and the run has none; or the stop rule is none for them.
    """

    def __init__(self, run: Run, weighting: Weighting) -> None:
        check_weighted_rule(run.stop_rule, weighting)
        if weighting.judged and run.verifier is None:
            raise UsageError(
                f"the weight {weighting.name!r} needs a verifier",
                hint="pass verifier=, or use the weight 'logprob'",
            )
        self._run = run
        self._weighting = weighting
        self._collector = Collector(run)
        self._ballot = Ballot(run.task)
        self._counted = 0
        self._voters: list[Ended] = []
        self._bounded: dict[int, float] = {}
        self._judgements = (
            Judgements(run, run.verifier) if weighting.judged and run.verifier is not None else None
        )
        self._judging: set[anyio.CancelScope] = set()
        self._room = anyio.Semaphore(run.wave)
        self._late = False

    async def hold(self) -> Outcome:
        reason: StopReason = "failed"
        async with anyio.create_task_group() as watching:
            watching.start_soon(self._watch_deadline)
            async with anyio.create_task_group() as judging:
                reason = await self._vote(judging)
            watching.cancel_scope.cancel()
        if self._judgements is not None:
            self._judgements.raise_if_all_failed()
        return self._outcome("deadline" if self._late else reason)

    async def _vote(self, judging: anyio.abc.TaskGroup) -> StopReason:
        while (reason := self._over()) is None:
            self._draw()
            ended = await self._collector.next()
            if ended is not None and self._worth_judging(ended):
                scope = anyio.CancelScope()
                self._judging.add(scope)
                judging.start_soon(self._judge, ended, scope)
            await self._count(whole=False)
        await self._collector.drain()
        if reason != "settled":
            await self._count(whole=True)
        return reason

    def _worth_judging(self, ended: Ended) -> bool:
        """Whether a judgement could still come, of a sample that votes and is whole."""
        votes = ended.answer is not None and finished(ended)
        return self._judgements is not None and votes and not self._run.deadline_passed()

    @property
    def _remaining(self) -> int:
        return self._run.max_samples - self._counted

    def _sums(self) -> list[float]:
        return self._ballot.sizes(self._bounded)

    def _over(self) -> StopReason | None:
        early = self._run.stop_rule is not None and self._remaining > 0
        if early and certain_by_weight(self._sums(), self._remaining):
            return "settled"
        if self._collector.late:
            return "deadline"
        if self._collector.lost is not None:
            return "failed"
        if self._remaining == 0:
            return "budget"
        return "deadline" if self._run.deadline_passed() else None

    def _draw(self) -> None:
        """Draw what the vote cannot end without."""
        fewest = self._remaining
        if self._run.stop_rule is not None:
            fewest = min(fewest, fewest_until_certain_by_weight(self._sums(), self._remaining))
        self._collector.draw(fewest - len(self._collector.in_line(self._counted)))

    async def _count(self, *, whole: bool) -> None:
        """Let those vote whose turn it is, or ``whole``: all that ended."""
        for ended in self._collector.in_line(self._counted):
            if ended is None and not whole:
                break
            if ended is not None:
                await self._add(ended)
            self._counted += 1

    async def _add(self, ended: Ended) -> None:
        await self._ballot.add(ended)
        if ended.answer is None:
            return
        self._voters.append(ended)
        if self._weighting.bounded:
            (confidence,) = self._weighting.confidences(_samples([ended]))
            if confidence is not None:
                self._bounded[ended.index] = self._weighting.bounded_weight(confidence)
        weights = self._bounded if self._weighting.bounded else None
        self._run.observer.on_votes(self._ballot.standing(weights=weights), None)

    async def _judge(self, ended: Ended, scope: anyio.CancelScope) -> None:
        assert self._judgements is not None
        with scope:
            async with self._room:
                scored = await self._judgements.judge(ended)
                if scored is not None:
                    self._collector.ended[ended.index] = scored
                    self._run.observer.on_ended(scored)
        self._judging.discard(scope)

    async def _watch_deadline(self) -> None:
        """Stop judging at the deadline; that no sample outlives it is seen to elsewhere."""
        if self._run.until_deadline is None:
            return
        await self._run.until_deadline()
        self._late = bool(self._judging)
        for scope in self._judging:
            scope.cancel()

    def _outcome(self, reason: StopReason) -> Outcome:
        weights, notes = self._weights()
        outcome = vote_outcome(self._run, self._collector, self._ballot, reason, weights=weights)
        self._run.observer.on_votes(outcome.votes, None)
        judged = self._judgements
        return msgspec.structs.replace(
            outcome,
            verifier_tokens=0 if judged is None else judged.tokens,
            warnings=(
                *outcome.warnings,
                *(() if judged is None else judged.warnings()),
                *notes,
            ),
        )

    def _weights(self) -> tuple[dict[int, float] | None, list[str]]:
        """Of each voter, None when all count alike; and what to warn of."""
        known = [
            (voter.index, confidence)
            for voter, confidence in zip(self._voters, self._confidences(), strict=True)
            if confidence is not None
        ]
        weights = self._weighting.weights([confidence for _, confidence in known])
        unknown = len(self._voters) - len(known)
        name = self._weighting.name
        notes = [
            f"{unknown} of {len(self._voters)} votes weigh nothing: {name!r} is unknown of them"
        ]
        if any(weights):
            return dict(
                zip((index for index, _ in known), weights, strict=True)
            ), notes if unknown else []
        return None, [
            f"no vote has a weight by {name!r}: all counted alike"
        ] if self._voters else []

    def _confidences(self) -> list[float | None]:
        if self._judgements is None:
            return self._weighting.confidences(_samples(self._voters))
        given = self._judgements.given
        return [given[one.index].score if one.index in given else None for one in self._voters]


def _samples(voters: list[Ended]) -> list[Sample]:
    """A voter has an answer, and what failed has none."""
    return [voter.event for voter in voters if isinstance(voter.event, Sample)]
