"""How good an unfinished text is: what step-wise search ranks its beams by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Protocol

import msgspec

from tt_compute.backend import ProcessScorer
from tt_compute.errors import InvalidRequestError, TTComputeError, UsageError
from tt_compute.strategies.base import Ended, Run
from tt_compute.strategies.deadline import before_deadline
from tt_compute.strategies.drawing import Ask, Drawer
from tt_compute.strategies.verdicts import Bench
from tt_compute.types import Message, Sample
from tt_compute.verify.base import Verifier, VerifierCallable
from tt_compute.verify.steps import Aggregate, ScoreSteps, aggregate_of, made_one, told_steps
from tt_compute.verify.verifiers import as_verifier

__all__ = ["Scoring", "StepScores", "Steps", "scoring_by", "step_deployment"]

StepScores = str | ProcessScorer | Verifier | VerifierCallable
"""Who scores the steps: the model by the way (``"logprob"``) or asked again (``"p_true"``), a process reward
model (the object, or its deployment: ``"steps=DEPLOYMENT"``), or a verifier that can judge an unfinished text."""
_DEPLOYMENT = "steps="

_JUDGE = (
    "Here is the beginning of a solution. Is every step so far right? "
    "Answer with one word, Yes or No.\n\n"
)


class Steps(msgspec.Struct, frozen=True, kw_only=True):
    """An unfinished text to be scored."""

    texts: tuple[str, ...]
    """Its steps; joined they are the text."""
    last: Ended
    """The sample that its last step is."""

    @property
    def text(self) -> str:
        return "".join(self.texts)


class Scoring(Protocol):
    """Scores many texts at a time; None = this one could not be scored."""

    samples_each: int
    """Samples that one score takes of the budget."""
    logprobs: int
    """Log-probabilities that it needs of each token."""

    async def score(
        self, run: Run, drawer: Drawer, steps: Sequence[Steps]
    ) -> Sequence[float | None]: ...


def scoring_by(given: StepScores, aggregate: str) -> Scoring:
    """The scoring that was asked for.

    Raises:
        InvalidRequestError: There is none of that name.
    """
    if step_deployment(given) is not None:
        return _Process(None, aggregate_of(aggregate))
    if isinstance(given, str):
        named: dict[str, Scoring] = {"logprob": _Logprob(), "p_true": _PTrue()}
        if given not in named:
            raise InvalidRequestError(
                f"no steps are scored by {given!r}",
                hint=f"names: {', '.join(named)} and {_DEPLOYMENT}DEPLOYMENT",
            )
        return named[given]
    if isinstance(given, ProcessScorer):
        return _Process(given, aggregate_of(aggregate))
    return _Judged(as_verifier(given))


def step_deployment(scorer: StepScores) -> str | None:
    """Id of the deployment that a scorer's name holds; None = it names none."""
    if not isinstance(scorer, str) or not scorer.startswith(_DEPLOYMENT):
        return None
    return scorer.removeprefix(_DEPLOYMENT)


class _Logprob:
    """The geometric mean of the probabilities of the last step's tokens, in (0, 1]."""

    samples_each = 0
    logprobs = 1

    async def score(
        self,
        run: Run,  # noqa: ARG002 - the protocol's
        drawer: Drawer,
        steps: Sequence[Steps],
    ) -> Sequence[float | None]:
        scores = [self._of(one.last.event) for one in steps]
        if None in scores:
            drawer.warn("a step came without logprobs, and was not scored")
        return scores

    @staticmethod
    def _of(event: object) -> float | None:
        mean = event.mean_logprob if isinstance(event, Sample) else None
        return None if mean is None else math.exp(mean)


class _PTrue:
    """P(Yes) of one token, when the model is asked whether the steps are right.

    After P(True) of Kadavath et al. 2022, https://arxiv.org/abs/2207.05221, section 3.1.
    """

    samples_each = 1
    logprobs = 1

    async def score(
        self, run: Run, drawer: Drawer, steps: Sequence[Steps]
    ) -> Sequence[float | None]:
        sampling = msgspec.structs.replace(
            run.sampling,
            temperature=0.0,
            top_p=None,
            max_tokens=1,
            stop=(),
            logprobs=max(run.sampling.logprobs, self.logprobs),
        )
        asks = [
            Ask(messages=_judging(run.messages, one.text), sampling=sampling, answers=False)
            for one in steps
        ]
        came = await drawer.draw(asks)
        scores = [_p_true(samples[0]) if samples else None for samples in came]
        if None in scores:
            drawer.warn("asked whether its steps are right, the model did not always say yes or no")
        return scores


def _judging(messages: Sequence[Message], text: str) -> tuple[Message, ...]:
    question = "\n\n".join(message.text for message in messages if message.role == "user")
    asked = f"Question:\n{question}\n\n{_JUDGE}{text.strip()}\n\nAre the steps right? Yes or No?"
    return (Message(role="user", content=asked),)


def _p_true(judged: Ended) -> float | None:
    """Of the probability that is on either word, the share of "Yes"."""
    event = judged.event
    if not isinstance(event, Sample) or not event.logprobs:
        return None
    first = event.logprobs[0]
    seen = dict(first.top) or {first.token: first.logprob}
    yes, no = (
        sum(math.exp(lp) for token, lp in seen.items() if token.strip().lower() == word)
        for word in ("yes", "no")
    )
    if yes and no:
        return yes / (yes + no)
    # Of one word alone it is known that it is the likelier one, and what is left for the other at most.
    if yes:
        return max(yes, 0.5)
    return min(1 - no, 0.5) if no else None


class _Process:
    """A process reward model, None = that of the run: one score per step, made one by ``aggregate``."""

    samples_each = 0
    logprobs = 0

    def __init__(self, scorer: ProcessScorer | None, aggregate: Aggregate) -> None:
        self._scorer = scorer
        self._aggregate = aggregate

    async def score(
        self, run: Run, drawer: Drawer, steps: Sequence[Steps]
    ) -> Sequence[float | None]:
        told = [told_steps(one.texts) for one in steps]
        asked = [one for one in told if one]
        try:
            scores = await before_deadline(run, partial(self._asked(run), run.messages, asked))
            if scores is None:
                return [None] * len(steps)
            found = iter(made_one(scores, asked, self._aggregate))
        except TTComputeError as error:
            drawer.warn(f"the steps could not be scored: {error}")
            return [None] * len(steps)
        return [next(found) if one else None for one in told]

    def _asked(self, run: Run) -> ScoreSteps:
        if self._scorer is not None:
            return self._scorer.score_steps
        if run.score_steps is None:
            raise UsageError("there are no deployments here that could score steps")
        return run.score_steps


class _Judged:
    """A verifier's score of the unfinished text."""

    samples_each = 0
    logprobs = 0

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier

    async def score(
        self, run: Run, drawer: Drawer, steps: Sequence[Steps]
    ) -> Sequence[float | None]:
        bench = Bench(run, drawer, self._verifier)
        texts = [(one.text, run.task.extract(one.text, truncated=True)) for one in steps]
        verdicts = await bench.judge_all(texts)
        return [None if verdict is None else verdict.score for verdict in verdicts]
