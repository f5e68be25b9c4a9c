"""Verifiers: a gold answer, or a callable of the user's."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import TypeGuard, cast

import msgspec

from tt_compute.errors import InvalidRequestError, VerifierError
from tt_compute.types import Message, Reliability
from tt_compute.verify.answer_task import AnswerTask
from tt_compute.verify.base import Answer, Fallible, Judgement, Verifier, VerifierCallable
from tt_compute.verify.calling import call_user, name_of

__all__ = [
    "CallableVerifier",
    "ExactVerifier",
    "as_verifier",
    "reliability_of",
]


class ExactVerifier:
    """Accepts a sample whose answer equals a given one, in the sense of the task.

    Raises:
        InvalidRequestError: ``gold`` cannot be read as an answer of this kind of task.
    """

    accepts_at: float = 1.0

    def __init__(self, task: AnswerTask, gold: str, name: str = "exact") -> None:
        self.name = name
        answer = task.read(gold)
        if answer is None:
            raise InvalidRequestError(
                f"the gold answer {gold[:80]!r} cannot be read as an answer of kind {task.kind!r}",
                hint="; ".join(task.warnings) or None,
            )
        self._task = task
        self._gold = answer

    async def judge(
        self,
        messages: Sequence[Message],  # noqa: ARG002 - the protocol's
        text: str,  # noqa: ARG002 - the protocol's
        answer: Answer | None,
    ) -> Judgement:
        """1.0 for the gold answer, 0.0 for another one or none."""
        same = answer is not None and await self._task.compare(self._gold, answer)
        return Judgement(score=1.0 if same else 0.0)


class CallableVerifier:
    """A user's own function; a plain one runs in a worker thread, which is left behind on cancellation.

    Args:
        function: Gets the last user message and the sample's text; returns a finite score, a verdict
            that counts as 1.0 or 0.0, or a ``Judgement``, which can say why. Its attribute ``reliability`` tells how far it can be trusted.
        name: Shown in receipts and errors; None = the function's own.
    """

    accepts_at: float = 1.0

    def __init__(self, function: VerifierCallable, name: str | None = None) -> None:
        self._function = function
        self.reliability: Reliability | None = reliability_of(function)
        self.name: str = name or name_of(function)

    async def judge(
        self,
        messages: Sequence[Message],
        text: str,
        answer: Answer | None,  # noqa: ARG002 - the protocol's
    ) -> Judgement:
        prompt = next(
            (message.text for message in reversed(messages) if message.role == "user"), ""
        )
        try:
            verdict = await call_user(self._function, prompt, text)
        except Exception as error:
            # The boundary to code that is not ours: whatever it raises is the verifier's failure.
            raise VerifierError(
                f"the verifier {self.name!r} raised {type(error).__name__}: {error}"
            ) from error
        if isinstance(verdict, Judgement):
            return msgspec.structs.replace(verdict, score=self._score(verdict.score))
        return Judgement(score=self._score(verdict))

    def _score(self, verdict: object) -> float:
        if not isinstance(verdict, numbers.Real):
            raise VerifierError(
                f"the verifier {self.name!r} returned {verdict!r:.80}, not a number or a bool",
                hint="return a finite score, True or False, or a Judgement",
            )
        score = float(verdict)
        if not math.isfinite(score):
            raise VerifierError(f"the verifier {self.name!r} returned {score}, not a finite score")
        return score


def reliability_of(judge: object) -> Reliability | None:
    """How far a verifier can be trusted; one that does not say counts as exact. None = it does not know."""
    return judge.reliability if isinstance(judge, Fallible) else Reliability()


def as_verifier(given: Verifier | VerifierCallable) -> Verifier:
    """A verifier as it is, a callable as ``CallableVerifier``."""
    return given if _is_verifier(given) else CallableVerifier(cast("VerifierCallable", given))


def _is_verifier(spec: Verifier | VerifierCallable) -> TypeGuard[Verifier]:
    return all(hasattr(spec, name) for name in ("name", "accepts_at", "judge"))
