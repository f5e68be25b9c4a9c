"""Several verifiers as one."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

from tt_compute.errors import InvalidRequestError, VerifierError
from tt_compute.types import Message, Reliability
from tt_compute.verify.base import Answer, Judgement, Readied, Verifier, VerifierCallable
from tt_compute.verify.verifiers import as_verifier, reliability_of

__all__ = ["AllOf", "AnyOf", "Weighted"]

Part = Verifier | VerifierCallable


class _Combined(ABC):
    accepts_at: float = 1.0
    _word: str

    def __init__(self, *parts: Part) -> None:
        if not parts:
            raise InvalidRequestError(f"{self._word} needs at least one verifier")
        self._parts = tuple(as_verifier(part) for part in parts)
        self.name: str = f"{self._word}({', '.join(part.name for part in self._parts)})"

    @property
    @abstractmethod
    def reliability(self) -> Reliability | None: ...

    async def ready(self, messages: Sequence[Message]) -> None:
        """See ``base.Readied``."""
        for part in self._parts:
            if isinstance(part, Readied):
                await part.ready(messages)

    def _known(self) -> list[Reliability] | None:
        """How far each part can be trusted; None as soon as it is unknown of one."""
        found = [reliability_of(part) for part in self._parts]
        known = [one for one in found if one is not None]
        return known if len(known) == len(found) else None


class AllOf(_Combined):
    """Accepts what every part accepts. Asks in order and stops at the first that refuses: the cheap ones first.

    The score is the share of the parts that accepted before that.
    """

    _word = "all"

    @property
    def reliability(self) -> Reliability | None:
        """Bounds that hold however the parts' errors go together; None where they say nothing."""
        known = self._known()
        if known is None:
            return None
        missed = math.fsum(1 - one.true_positive_rate for one in known)
        return _rates(1 - missed, min(one.false_positive_rate for one in known))

    async def judge(
        self, messages: Sequence[Message], text: str, answer: Answer | None
    ) -> Judgement:
        """1.0 when all accept.

        Raises:
            VerifierError: A part failed before any refused.
        """
        tokens = 0
        for number, part in enumerate(self._parts):
            judgement = await part.judge(messages, text, answer)
            tokens += judgement.tokens
            if not judgement.score >= part.accepts_at:
                score = number / len(self._parts)
                return Judgement(score=score, tokens=tokens, reason=judgement.reason)
        return Judgement(score=1.0, tokens=tokens)


class AnyOf(_Combined):
    """Accepts what one part accepts. Asks in order and stops at the first that accepts."""

    _word = "any"

    @property
    def reliability(self) -> Reliability | None:
        """Bounds that hold however the parts' errors go together; None where they say nothing."""
        known = self._known()
        if known is None:
            return None
        wrong = math.fsum(one.false_positive_rate for one in known)
        return _rates(max(one.true_positive_rate for one in known), wrong)

    async def judge(
        self, messages: Sequence[Message], text: str, answer: Answer | None
    ) -> Judgement:
        """1.0 when one accepts, else 0.0.

        Raises:
            VerifierError: A part failed, and no other accepted.
        """
        tokens = 0
        failure: VerifierError | None = None
        reasons: list[str] = []
        for part in self._parts:
            try:
                judgement = await part.judge(messages, text, answer)
            except VerifierError as error:
                failure = failure or error
                continue
            tokens += judgement.tokens
            if judgement.score >= part.accepts_at:
                return Judgement(score=1.0, tokens=tokens)
            reasons.append(judgement.reason)
        if failure is not None:
            raise failure
        return Judgement(score=0.0, tokens=tokens, reason=_joined(reasons))


class Weighted(_Combined):
    """The weighted mean of the parts' scores; every part is asked.

    Args:
        parts: Verifiers with their weights, above 0.
        accepts_at: The mean from which on a sample is good enough.
        reliability: How far that can be trusted; None = unknown.

    Raises:
        InvalidRequestError: A weight is not above 0.
    """

    _word = "weighted"

    def __init__(
        self,
        *parts: tuple[Part, float],
        accepts_at: float = 1.0,
        reliability: Reliability | None = None,
    ) -> None:
        super().__init__(*(part for part, _ in parts))
        self._weights = tuple(weight for _, weight in parts)
        if not all(0 < weight < math.inf for weight in self._weights):
            raise InvalidRequestError(f"weights must be above 0, got {self._weights}")
        self.accepts_at = accepts_at
        self._reliability = reliability

    @property
    def reliability(self) -> Reliability | None:
        return self._reliability

    async def judge(
        self, messages: Sequence[Message], text: str, answer: Answer | None
    ) -> Judgement:
        """The mean.

        Raises:
            VerifierError: A part failed.
        """
        judged = [await part.judge(messages, text, answer) for part in self._parts]
        total = math.fsum(
            weight * one.score for weight, one in zip(self._weights, judged, strict=True)
        )
        return Judgement(
            score=total / math.fsum(self._weights),
            tokens=sum(one.tokens for one in judged),
            reason=_joined([one.reason for one in judged]),
        )


def _joined(reasons: Sequence[str]) -> str:
    return "\n\n".join(filter(None, reasons))


def _rates(true_positive_rate: float, false_positive_rate: float) -> Reliability | None:
    if not 0 <= false_positive_rate < true_positive_rate <= 1:
        return None
    return Reliability(
        true_positive_rate=true_positive_rate, false_positive_rate=false_positive_rate
    )
