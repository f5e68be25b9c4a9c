"""A cheaper model first; a better one for what it cannot settle.

Sources: FrugalGPT (Chen, Zaharia and Zou 2023, arXiv 2305.05176) for cascades; acceptance by the agreement of the
weaker model's own samples as in Yue et al. 2023 (arXiv 2310.03094), or by a verifier.
"""

from __future__ import annotations

import msgspec

from tt_compute.errors import TTComputeError, UsageError
from tt_compute.stopping import gate_of
from tt_compute.strategies.base import Ended, Leg, Outcome, Run, Strategy
from tt_compute.strategies.best_of_n import BestOfN
from tt_compute.strategies.majority import Majority
from tt_compute.strategies.single import Single
from tt_compute.verify.base import Task

__all__ = ["Cascade"]

_LEGS = {strategy.name: strategy for strategy in (Single(), Majority(), BestOfN())}


class Cascade:
    """Goes on to the next deployment of the plan until one has settled the question.

    A deployment settles it when its vote satisfies the stop rule, or, with a verifier, when a sample is
    accepted. A leader that merely cannot be caught does not; one whose samples all fail goes on, too. The
    last deployment's answer stands, settled or not.

    Votes drawn before are not wasted: they break ties of a later vote, and the last answer there was stands where
    a later deployment has none, be it that it fails or that the deadline passes.
    """

    name = "cascade"

    async def run(self, run: Run) -> Outcome:
        """Run leg by leg.

        Raises:
            UsageError: The plan has no further deployment, or no prompt can be put to it.
            TTComputeError: Every deployment failed; the error is the last one's.
        """
        if run.open is None or not run.legs:
            raise UsageError(
                "a cascade needs a plan with a further deployment",
                hint="let the planner make it: strategy='cascade', with two deployments",
            )
        return await _Ladder(run).climb()


class _Ladder:
    def __init__(self, run: Run) -> None:
        self._run = run
        self._outcomes: list[Outcome] = []
        self._errors: list[TTComputeError] = []

    async def climb(self) -> Outcome:
        run = self._run
        judged = run.verifier is not None
        first = msgspec.structs.replace(
            run, stop_rule=None if judged else gate_of(run.stop_rule or "beta"), legs=()
        )
        await self._try(BestOfN() if judged else Majority(), first)
        for number, leg in enumerate(run.legs, start=1):
            if self._settled() or run.deadline_passed():
                break
            await self._go_on(number, leg)
        if not self._outcomes:
            raise self._errors[-1]
        return await self._together()

    def _settled(self) -> bool:
        return bool(self._outcomes) and self._outcomes[-1].stop_reason in (
            "settled",
            "verifier",
            "deadline",
        )

    async def _go_on(self, number: int, leg: Leg) -> None:
        assert self._run.open is not None
        try:
            async with self._run.open(self._run.messages, rung=number) as generation:
                run = msgspec.structs.replace(
                    self._run,
                    generation=generation,
                    max_samples=leg.max_samples,
                    wave=leg.wave,
                    stop_rule=leg.stop_rule,
                    legs=(),
                )
                await self._try(_LEGS[leg.strategy], run)
        except TTComputeError as error:
            self._errors.append(error)

    async def _try(self, strategy: Strategy, run: Run) -> None:
        try:
            self._outcomes.append(await strategy.run(run))
        except TTComputeError as error:
            self._errors.append(error)

    async def _together(self) -> Outcome:
        """The last leg's answer, or that of the last one that has any."""
        outcomes = self._outcomes
        stage = max((n for n, one in enumerate(outcomes) if one.answer is not None), default=None)
        chosen = outcomes[-1 if stage is None else stage]
        if stage is not None and stage > 0:
            chosen = await _untied(chosen, outcomes[stage - 1], self._run.task)
        own = None
        if len(outcomes) > 1:
            own = await _own_votes(outcomes[0], chosen, self._run.task)
        return msgspec.structs.replace(
            chosen,
            stop_reason=outcomes[-1].stop_reason,
            ended=tuple(ended for one in outcomes for ended in one.ended),
            stage=len(outcomes) - 1 if stage is None else stage,
            own_votes=own,
            verifier_tokens=sum(one.verifier_tokens for one in outcomes),
            warnings=(
                *(warning for one in outcomes for warning in one.warnings),
                *(f"a deployment of the cascade failed: {error}" for error in self._errors),
            ),
        )


async def _untied(outcome: Outcome, before: Outcome, task: Task) -> Outcome:
    """Of leaders with equal votes, the one that had most votes before."""
    most = max((votes for _, votes in outcome.votes), default=0)
    tied = [
        speaker
        for shown, votes in outcome.votes
        if votes == most and (speaker := _of(outcome, shown))
    ]
    if len(tied) < 2:  # noqa: PLR2004 - two make a tie
        return outcome
    counts = [await _votes_for(speaker, before, task) for speaker in tied]
    if max(counts) == counts[0]:
        return outcome
    leader = tied[counts.index(max(counts))]
    assert leader.answer is not None
    shown = leader.answer.text
    return msgspec.structs.replace(
        outcome,
        answer=leader.answer,
        text=leader.event.text,
        winner=leader.index,
        votes=tuple(sorted(outcome.votes, key=lambda vote: (-vote[1], vote[0] != shown))),
    )


async def _votes_for(speaker: Ended, outcome: Outcome, task: Task) -> int:
    """Votes of the cluster that the answer belongs to."""
    for shown, votes in outcome.votes:
        other = _of(outcome, shown)
        if other is None or other.answer is None or speaker.answer is None:
            continue
        if await task.equivalent(other.answer, speaker.answer):
            return votes
    return 0


def _of(outcome: Outcome, shown: str) -> Ended | None:
    """A sample that gave the answer that is shown so."""
    return next((one for one in outcome.ended if one.answer and one.answer.text == shown), None)


async def _own_votes(first: Outcome, chosen: Outcome, task: Task) -> tuple[int, ...]:
    """Votes of the first deployment, those for the answer in the first place, 0 where nobody gave it."""
    counts = [votes for _, votes in first.votes]
    given = next((one for one in chosen.ended if one.index == chosen.winner), None)
    agreeing = 0 if given is None else await _votes_for(given, first, task)
    if agreeing:
        counts.remove(agreeing)
    return (agreeing, *counts)
