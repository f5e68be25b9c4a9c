"""Best of n: the sample that a verifier likes best, or the first that it accepts."""

from __future__ import annotations

from collections.abc import Iterable

import anyio
import anyio.abc

from tt_compute.errors import UsageError
from tt_compute.results import StopReason
from tt_compute.stopping import parse_score_rule
from tt_compute.strategies.base import Ended, Needs, Outcome, Run
from tt_compute.strategies.collecting import Collector, finished, spokesman
from tt_compute.strategies.judgements import Judgements
from tt_compute.verify.base import Verifier

__all__ = ["BestOfN"]


class BestOfN:
    """Judges each finished sample as soon as it has ended, several at a time.

    The first judgement that reaches ``Verifier.accepts_at`` ends the run; what is live or being judged is
    cancelled. Samples are not held back until their turn, as they are for a vote: it is the verifier
    that vouches for the answer, not how many samples gave it. Otherwise the highest score wins, the
    lower index among equals; a sample that holds no answer only where none does, since a reward for its
    words is no use to whoever asked.

    Any one sample may be accepted, so that only one by one would nothing be wasted: how many are in
    flight or being judged at once is ``Run.wave``, which the plan chose.

    A stop rule of scores takes the place of ``Verifier.accepts_at``; what it ends is ``settled``.

    A judgement that fails is a warning, and its sample goes unjudged: it is never a verdict.
    """

    name = "best_of_n"
    needs: Needs = Needs(verifier=True)

    async def run(self, run: Run) -> Outcome:
        """Draw and judge until a sample is accepted, the budget is spent or the deadline has passed.

        Raises:
            UsageError: The run has no verifier, or its stop rule is none of scores.
            VerifierError: Every judgement failed.
            TTComputeError: Every sample failed, or the generation was lost before one was judged.
        """
        if run.verifier is None:
            raise UsageError(
                "the strategy 'best_of_n' needs a verifier",
                hint="pass verifier=, or use the strategy 'majority'",
            )
        return await _Contest(run, run.verifier).hold()


def _answering(samples: Iterable[Ended]) -> list[Ended]:
    """Those that hold an answer."""
    return [one for one in samples if one.answer is not None]


class _Contest:
    def __init__(self, run: Run, verifier: Verifier) -> None:
        self._run = run
        self._verifier = verifier
        self._rule = None if run.stop_rule is None else parse_score_rule(run.stop_rule)
        self._collector = Collector(run)
        self._judging: set[anyio.CancelScope] = set()
        self._judgements = Judgements(run, verifier)
        self._reason: StopReason | None = None
        self._judged = anyio.Event()

    async def hold(self) -> Outcome:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch_deadline)
            await self._contest(tasks)
            tasks.cancel_scope.cancel()
        return self._outcome()

    async def _contest(self, tasks: anyio.abc.TaskGroup) -> None:
        self._go_on()
        while self._collector.live or self._judging:
            ended = await self._next()
            if ended is not None and finished(ended) and self._reason is None:
                scope = anyio.CancelScope()
                self._judging.add(scope)
                tasks.start_soon(self._judge, ended, scope)
            self._go_on()

    async def _next(self) -> Ended | None:
        """The next sample that ends; None when a judgement has ended while nothing is live."""
        ended = await self._collector.next()
        if ended is None and self._judging:
            await self._judged.wait()
            self._judged = anyio.Event()
        return ended

    def _go_on(self) -> None:
        """Draw what there is room for, or stop."""
        if self._reason is None and (self._collector.late or self._run.deadline_passed()):
            self._stop("deadline")
        if self._reason is None:
            self._collector.draw(self._run.wave - self._collector.live - len(self._judging))

    def _stop(self, reason: StopReason) -> None:
        self._reason = reason
        self._collector.stop()
        for scope in self._judging:
            scope.cancel()

    async def _judge(self, ended: Ended, scope: anyio.CancelScope) -> None:
        try:
            with scope:
                scored = await self._judgements.judge(ended)
                if scored is not None:
                    self._take(scored)
        finally:
            self._judging.discard(scope)
            self._judged.set()
        self._go_on()

    def _take(self, scored: Ended) -> None:
        self._collector.ended[scored.index] = scored
        self._run.observer.on_ended(scored)
        score = self._judgements.given[scored.index].score
        if self._reason is None and (reason := self._good_enough(score)) is not None:
            self._stop(reason)

    def _good_enough(self, score: float) -> StopReason | None:
        """Why the run is over now that this score has come, if it is."""
        if self._rule is None:
            return "verifier" if score >= self._verifier.accepts_at else None
        return "settled" if self._rule.settled(self._judgements.scores) else None

    async def _watch_deadline(self) -> None:
        """Stop judging at the deadline, when no sample is live whose end would tell of it."""
        if self._run.until_deadline is not None:
            await self._run.until_deadline()
            if self._reason is None:
                self._stop("deadline")

    def _outcome(self) -> Outcome:
        winner, notes = self._winner()
        reason: StopReason = "failed" if self._collector.lost is not None else "budget"
        return Outcome(
            answer=None if winner is None else winner.answer,
            text="" if winner is None else winner.event.text,
            winner=None if winner is None else winner.index,
            stop_reason=self._reason or reason,
            stop_posterior=None,
            ended=self._collector.by_index(),
            verifier_tokens=self._judgements.tokens,
            warnings=(*self._collector.warnings(), *self._judgements.warnings(), *notes),
        )

    def _winner(self) -> tuple[Ended | None, tuple[str, ...]]:
        """The best sample, and what to warn of: one that ended the run, else one that holds an answer, if any does."""
        given, ended = self._judgements.given, self._collector.ended
        judged = [ended[i] for i in sorted(given, key=lambda i: (-given[i].score, i))]
        if not judged:
            self._judgements.raise_if_all_failed()
            self._collector.raise_if_nothing_came()
        others = [
            one for one in self._collector.by_index() if finished(one) and one.index not in given
        ]
        if judged and self._reason in {"verifier", "settled"}:
            return judged[0], self._refused()
        if judged and (_answering(judged) or not _answering(others)):
            return (_answering(judged) or judged)[0], self._refused()
        note = "no sample that was judged holds an answer, and the one that won was not judged"
        if not judged:
            note = "the deadline passed before a sample was judged"
        winner = spokesman(_answering(others) or others)
        return winner, (note,) if winner else ()

    def _refused(self) -> tuple[str, ...]:
        refused = max(self._judgements.scores) <= 0
        return (f"{self._verifier.name} refused every sample",) if refused else ()
