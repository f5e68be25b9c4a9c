"""One run of a chosen plan: from an open prompt through the strategy to a result with its receipt."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import date
from inspect import isawaitable

import anyio
import msgspec

from tt_compute.confidences import Confidence
from tt_compute.dispatch.dispatcher import Dispatcher
from tt_compute.dispatch.ledger import Ledger
from tt_compute.dispatch.spend import Cap
from tt_compute.errors import DeadlineExceeded, InvalidRequestError, SpendCapReached
from tt_compute.openings import Openings, Rung
from tt_compute.planning.types import Candidate, Plan
from tt_compute.prompts import estimate_tokens
from tt_compute.results import (
    Receipt,
    Result,
    Standing,
    StopReason,
    Tally,
)
from tt_compute.strategies.base import Ended, Leg, Outcome, Run, Strategy, check_outcome
from tt_compute.strategies.collecting import finished
from tt_compute.types import Clock, DeploymentSpec, Failed, GenerateRequest, Reliability
from tt_compute.verify.answer_task import AnswerTask
from tt_compute.verify.base import Verifier
from tt_compute.verify.steps import ScoreSteps
from tt_compute.verify.verifiers import reliability_of
from tt_compute.watching import StreamEvent, Watch

__all__ = ["Execution", "Job"]


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a run needs, decided before it starts."""

    id: str
    plan: Plan
    chosen: Candidate
    rungs: tuple[Rung, ...]
    """The plan's deployments, the first is where the prompt goes."""
    strategy: Strategy
    request: GenerateRequest
    task: AnswerTask
    verifier: Verifier | None
    score_steps: ScoreSteps | None
    """As in ``Run``."""
    judging: Ledger
    """Of the models that judge, apart from the run's own."""
    seed: int
    started: float
    """When the caller asked, on the client's clock."""
    confidence: Confidence
    confidence_spans: bool = False
    """Whether it reckons with samples of other deployments than the first."""
    today: date | None = None
    """What the age of prices is told by; None = it does not matter."""
    ignored_params: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    weights: str | None = None
    """As in ``Result``, with ``runtime``."""
    runtime: str | None = None

    @property
    def spec(self) -> DeploymentSpec:
        """Where the prompt goes."""
        return self.rungs[0].spec


class Execution:
    """Runs a job and keeps what is known of it at any moment.

    Args:
        job: What to run.
        dispatcher: Where prompts are opened.
        clock: The clock of the job's ``started`` and deadline.
        emit: Told of every event while it happens; must not block. None = nobody looks.
        show_at: Posterior of a vote's leader from which its text is shown; None = once the vote has ended.
    """

    def __init__(
        self,
        job: Job,
        *,
        dispatcher: Dispatcher,
        clock: Clock,
        emit: Callable[[StreamEvent], None] | None = None,
        show_at: float | None = None,
    ) -> None:
        self.job = job
        self._clock = clock
        self._ledger = Ledger(job.started, today=job.today)
        most_usd = job.plan.objective.max_cost_usd
        self._openings = Openings(
            job.request,
            job.rungs,
            dispatcher=dispatcher,
            ledger=self._ledger,
            cap=None if most_usd is None else Cap("of this request", most_usd),
        )
        self._watch = Watch(job.chosen, self._openings.served_by, emit, show_at=show_at)
        self._open = False
        self._interruption = anyio.Event()
        self.outcome: Outcome | None = None

    async def run(self) -> Result:
        """Run to the end.

        Raises:
            DeadlineExceeded: The deadline passed before there was any answer.
            BackendError: Every sample failed.
            InvalidRequestError: A strategy of the caller's returned what is no outcome.
        """
        job = self.job
        self._watch.on_planned()
        async with self._openings.first() as generation:
            self._open = True
            begun = job.strategy.run(
                Run(
                    generation=generation,
                    messages=job.request.messages,
                    task=job.task,
                    max_samples=job.chosen.first_samples,
                    wave=job.chosen.wave,
                    stop_rule=job.chosen.stop_rule,
                    weight=job.chosen.weight,
                    ahead=job.chosen.ahead,
                    verifier=job.verifier,
                    rng=random.Random(job.seed),  # noqa: S311 - breaks ties, guards nothing
                    observer=self._watch,
                    deadline_passed=self._out_of_time,
                    until_deadline=self._until_out_of_time,
                    sampling=job.request.sampling,
                    open=self._openings.further,
                    legs=_legs(job.chosen),
                    score_steps=job.score_steps,
                )
            )
            if not isawaitable(begun):
                raise InvalidRequestError(
                    f"strategy {job.strategy.name!r} has a `run` that is not async",
                    hint="write `async def run(self, run)`",
                )
            outcome = await begun
            check_outcome(job.strategy, outcome)
            self.outcome = outcome
        late = outcome.stop_reason == "deadline" and not self._interruption.is_set()
        if late and outcome.winner is None and not outcome.text:
            raise DeadlineExceeded(
                f"no sample was complete within {job.plan.objective.max_latency_s} s",
                hint="allow more latency, or ask for fewer tokens",
            )
        self._watch.show(outcome.text)
        return self.result()

    def interrupt(self) -> bool:
        """End the run as soon as possible with the best answer so far.

        Returns:
            Whether the run ends by itself; False while the prompt is not open, where only
            cancelling the task helps.
        """
        self._interruption.set()
        self._openings.interrupt()
        return self._open

    def standing(self) -> Standing:
        """The best answer so far."""
        found = self._watch.outcome()
        known = not self._openings.elsewhere and found.answer is not None
        return Standing(
            answer=None if found.answer is None else found.answer.text,
            text=found.text,
            winner=found.winner,
            posterior=found.stop_posterior,
            confidence=self.job.confidence(found, self._openings.served_by) if known else None,
        )

    def result(self) -> Result:
        """The result, of what is known by now when the run has not ended."""
        job, outcome = self.job, self.outcome
        warnings = (*job.warnings, *job.task.warnings)
        if outcome is not None:
            warnings = (*warnings, *outcome.warnings)
        answer = None if outcome is None or outcome.answer is None else outcome.answer.text
        complete = outcome is not None and self._ledger.samples_finished > 0
        if complete and answer is None and not self._interruption.is_set():
            warnings = (*warnings, "no sample held an answer that could be extracted")
        prices = (*self._ledger.price_warnings(), *job.judging.price_warnings())
        warnings = (*warnings, *dict.fromkeys(prices))
        if self._ledger.estimated_attempts:
            uncounted = f"the tokens of {self._ledger.estimated_attempts} attempts were not counted by the service"
            warnings = (*warnings, f"{uncounted}; the receipt holds an upper bound")
        return Result(
            id=job.id,
            answer=answer,
            text="" if outcome is None else outcome.text,
            confidence=None if outcome is None or answer is None else self._confidence(outcome),
            task=job.plan.task,
            plan=job.plan,
            samples=self._watch.records(),
            receipt=self._receipt(),
            warnings=warnings,
            ignored_params=job.ignored_params,
            tally=Tally() if outcome is None else self._tally(outcome),
            weights=job.weights,
            runtime=job.runtime,
        )

    def _tally(self, outcome: Outcome) -> Tally:
        tally = _tally(self.job, outcome, self._openings.elsewhere)
        return msgspec.structs.replace(tally, decoding_s=self._ledger.decoding_s)

    def _confidence(self, outcome: Outcome) -> float | None:
        """Unknown where other prompts took part, unless it is about them: an ability is of the request's own."""
        further = self._openings.elsewhere and not self.job.confidence_spans
        return None if further else self.job.confidence(outcome, self._openings.served_by)

    def _out_of_time(self) -> bool:
        deadline = self.job.request.deadline
        return self._interruption.is_set() or (
            deadline is not None and self._clock.now() >= deadline
        )

    async def _until_out_of_time(self) -> None:
        async with anyio.create_task_group() as group:
            deadline = self.job.request.deadline
            if deadline is not None:
                group.start_soon(self._cancel_at, deadline, group.cancel_scope)
            await self._interruption.wait()
            group.cancel_scope.cancel()

    async def _cancel_at(self, deadline: float, scope: anyio.CancelScope) -> None:
        await self._clock.sleep(max(0.0, deadline - self._clock.now()))
        scope.cancel()

    def _stop_reason(self) -> StopReason:
        if self._interruption.is_set():
            return "interrupted"
        if self.outcome is None:
            return "failed"
        reason = self.outcome.stop_reason
        capped = any(
            isinstance(one.event, Failed) and isinstance(one.event.error, SpendCapReached)
            for one in self.outcome.ended
        )
        return "cost" if capped and reason in {"budget", "failed"} else reason

    def _receipt(self) -> Receipt:
        ledger, outcome = self._ledger, self.outcome
        usage = ledger.usage
        elapsed_s = self._clock.now() - self.job.started
        return Receipt(
            samples_drawn=ledger.samples_drawn,
            samples_finished=ledger.samples_finished,
            samples_cancelled=ledger.samples_cancelled,
            samples_failed=ledger.samples_failed,
            stop_reason=self._stop_reason(),
            stop_posterior=None if outcome is None else outcome.stop_posterior,
            input_tokens=usage.input_tokens,
            cached_tokens=usage.cached_tokens,
            output_tokens=usage.output_tokens,
            cancelled_tokens=ledger.cancelled_tokens,
            verifier_tokens=self._verifier_tokens(),
            cost_usd=_total(ledger.cost_usd(elapsed_s), self.job.judging.cost_usd(elapsed_s)),
            energy_j=None,
            latency_s=elapsed_s,
            first_token_s=ledger.first_token_s,
            seed=self.job.seed,
            attempts=tuple(ledger.attempts),
            predicted=self.job.chosen.predicted,
        )

    def _verifier_tokens(self) -> int:
        """What verifiers report, and at least what judging models took: a verdict that never came was paid for too."""
        booked = self.job.judging.usage
        reported = 0 if self.outcome is None else self.outcome.verifier_tokens
        return max(reported, booked.input_tokens + booked.output_tokens)


def _legs(chosen: Candidate) -> tuple[Leg, ...]:
    then = chosen.then
    if then is None:
        return ()
    return (
        Leg(
            strategy=then.strategy,
            stop_rule=then.stop_rule,
            max_samples=then.max_samples,
            wave=then.wave,
        ),
    )


def _total(*costs_usd: float | None) -> float | None:
    known = [cost for cost in costs_usd if cost is not None]
    return sum(known) if len(known) == len(costs_usd) else None


def _tally(job: Job, outcome: Outcome, elsewhere: frozenset[int]) -> Tally:
    besides = elsewhere | outcome.uncounted
    whole = [one for one in outcome.ended if finished(one) and one.index not in besides]
    answered = [one for one in whole if one.answer is not None]
    verdicts = _verdicts(job.verifier, answered)
    accepted = sum(verdicts.values())
    votes = outcome.own_votes
    if votes is None:
        votes = tuple(count for _, count in outcome.votes)
    # The only one that might be asked by itself votes where it is the answer, not where another prompt gave it.
    alone = len(answered) == 1 and answered[0].index == outcome.winner
    return Tally(
        votes=votes or ((1,) if alone else ()),
        abstained=len(whole) - len(answered),
        accepted=accepted,
        refused=len(verdicts) - accepted,
        verdicts=verdicts,
        greedy=job.chosen.sampling.temperature == 0,
        prompt_tokens=estimate_tokens(job.request.messages),
        elsewhere=elsewhere,
        uncounted=outcome.uncounted,
    )


def _verdicts(verifier: Verifier | None, answered: Sequence[Ended]) -> dict[int, bool]:
    """Which samples were accepted, by index; of none where the verifier may err."""
    if verifier is None or reliability_of(verifier) != Reliability():
        return {}
    least = verifier.accepts_at
    return {one.index: one.score >= least for one in answered if one.score is not None}
