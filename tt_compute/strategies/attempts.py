"""Whole answers to one prompt, one after another: what ``revise`` and ``refine`` choose from."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tt_compute.results import StopReason
from tt_compute.strategies.base import Ended, Outcome, Run
from tt_compute.strategies.collecting import finished
from tt_compute.strategies.drawing import Drawer
from tt_compute.strategies.verdicts import Bench
from tt_compute.strategies.weighing import weigh
from tt_compute.verify.base import Judgement

__all__ = ["Attempts"]


class Attempts:
    """The attempts of one run, judged where the run has a verifier.

    Attributes:
        accepted: The first one that the verifier accepted.
    """

    def __init__(self, run: Run, drawer: Drawer) -> None:
        self._run = run
        self._drawer = drawer
        self._bench = None if run.verifier is None else Bench(run, drawer, run.verifier)
        self._whole: list[Ended] = []
        self._scores: dict[int, float] = {}
        self.accepted: Ended | None = None

    async def add(self, samples: Sequence[Ended]) -> list[Judgement | None]:
        """Take up samples that ended, and give what the verifier said of each; None = nothing."""
        self._whole.extend(one for one in samples if _usable(one))
        if self._bench is None:
            return [None] * len(samples)
        judged = [one for one in samples if finished(one)]
        verdicts = await self._bench.judge_all([(one.event.text, one.answer) for one in judged])
        said = dict(zip((one.index for one in judged), verdicts, strict=True))
        for one in judged:
            self._note(one, said[one.index])
        return [said.get(one.index) for one in samples]

    def _note(self, one: Ended, verdict: Judgement | None) -> None:
        assert self._bench is not None
        if verdict is not None:
            self._scores[one.index] = verdict.score
            self._drawer.tell(msgspec.structs.replace(one, score=verdict.score))
        if self.accepted is None and self._bench.accepts(verdict):
            self.accepted = one

    async def outcome(self, reason: StopReason, *, vote: bool) -> Outcome:
        """The accepted attempt, else that of the best verdict, the first among equals.

        Args:
            reason: Why the run ended, if no attempt was accepted and it is not late.
            vote: Where nothing judges, the attempts vote, and the answer given first leads among equals;
                else the last one stands.
        """
        winner, votes = await self._winner(vote=vote)
        if self.accepted is not None:
            reason = "verifier"
        elif self._drawer.over() == "deadline":
            reason = "deadline"
        if winner is None:
            self._drawer.raise_if_nothing_came()
        return Outcome(
            answer=None if winner is None else winner.answer,
            text="" if winner is None else winner.event.text,
            winner=None if winner is None else winner.index,
            stop_reason=reason,
            stop_posterior=None,
            ended=self._drawer.by_index(),
            votes=votes,
            verifier_tokens=self._drawer.verifier_tokens,
            warnings=self._drawer.warnings(),
        )

    async def _winner(self, *, vote: bool) -> tuple[Ended | None, tuple[tuple[str, int], ...]]:
        judged = [one for one in self._whole if one.index in self._scores]
        if judged:
            return min(judged, key=lambda one: (-self._scores[one.index], one.index)), ()
        answered = [one for one in self._whole if one.answer is not None]
        if vote and answered:
            weighed = await weigh(self._run.task, [(one, 1.0) for one in answered])
            self._run.observer.on_votes(weighed.votes, None)
            return weighed.winner, weighed.votes
        return next(reversed(answered or self._whole), None), ()


def _usable(one: Ended) -> bool:
    """Whether it may stand as the answer: whole, or cut behind an answer that is marked as such."""
    return finished(one) or one.answer is not None
