"""One sample, taken as it is."""

from __future__ import annotations

from tt_compute.strategies.base import Outcome, Run
from tt_compute.strategies.collecting import Collector, finished

__all__ = ["Single"]


class Single:
    """Draws one sample; its text stands even when no answer is found in it."""

    name = "single"

    async def run(self, run: Run) -> Outcome:
        """Draw one sample and read it to its end.

        Raises:
            TTComputeError: The sample failed.
        """
        collector = Collector(run)
        if not run.deadline_passed():
            collector.draw(1)
        ended = await collector.next()
        collector.raise_if_nothing_came()
        whole = ended is not None and finished(ended)
        winner = ended if whole or (ended is not None and ended.answer is not None) else None
        return Outcome(
            answer=None if winner is None else winner.answer,
            text="" if winner is None else winner.event.text,
            winner=None if winner is None else winner.index,
            stop_reason="budget" if whole else "deadline",
            stop_posterior=None,
            ended=collector.by_index(),
        )
