"""What strategies share that draw everything first and choose afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from tt_compute.results import StopReason
from tt_compute.strategies.base import Ended, Outcome, Run
from tt_compute.strategies.collecting import Collector, finished, spokesman

__all__ = ["Candidates", "same_answer"]

Found = TypeVar("Found")


class Candidates:
    """The samples of a whole budget, of which one is to be chosen.

    Those that finished and hold an answer stand for election; the others abstain.

    Attributes:
        standing: Them, by index.
        reason: Why there are no more.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._collector = Collector(run)
        self.standing: list[Ended] = []
        self.reason: StopReason = "budget"

    async def draw(self) -> None:
        """Draw the budget.

        Raises:
            TTComputeError: Every sample failed, or the generation was lost before one was complete.
        """
        collector, run = self._collector, self._run
        while collector.lost is None and not (collector.late or run.deadline_passed()):
            collector.draw(run.max_samples)
            if await collector.next() is None:
                break
        await collector.drain()
        if collector.late or run.deadline_passed():
            self.reason = "deadline"
        elif collector.lost is not None:
            self.reason = "failed"
        ended = collector.by_index()
        self.standing = [one for one in ended if finished(one) and one.answer is not None]
        if not self.standing:
            collector.raise_if_nothing_came()

    def chosen(
        self,
        winner: Ended | None,
        *,
        tied: tuple[int, ...] = (),
        said: Sequence[Ended] = (),
        verifier_tokens: int = 0,
        warnings: tuple[str, ...] = (),
    ) -> Outcome:
        """The outcome.

        Args:
            winner: None = the first that is whole.
            tied: As in ``Outcome``, with what follows.
            said: Samples of other prompts.
            verifier_tokens: Of models that judged.
            warnings: Besides those of drawing.
        """
        ended = self._collector.by_index()
        if winner is None:
            winner = spokesman(self.standing or [one for one in ended if finished(one)])
        return Outcome(
            answer=None if winner is None else winner.answer,
            text="" if winner is None else winner.event.text,
            winner=None if winner is None else winner.index,
            tied=tied,
            stop_reason=self.reason,
            stop_posterior=None,
            ended=tuple(sorted((*ended, *said), key=lambda one: one.index)),
            verifier_tokens=verifier_tokens,
            warnings=(*self._collector.warnings(), *warnings),
        )

    async def all_same(self) -> bool:
        """Whether every candidate gives the same answer, so that there is nothing to choose."""
        for other in self.standing[1:]:
            if not await same_answer(self._run, self.standing[0], other):
                return False
        return True


async def same_answer(run: Run, first: Ended, second: Ended) -> bool:
    """Whether two samples with an answer agree, in the sense of the task."""
    assert first.answer is not None
    assert second.answer is not None
    return first.answer.key == second.answer.key or await run.task.equivalent(
        first.answer, second.answer
    )
