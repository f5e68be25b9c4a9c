"""Judging by a reward model that a backend runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from tt_compute.errors import TTComputeError, VerifierError
from tt_compute.types import Message, Reliability
from tt_compute.verify.base import Answer, Judgement

__all__ = ["Score", "ScorerVerifier"]

Score = Callable[[Sequence[Message], Sequence[str]], Awaitable[Sequence[float]]]
"""One score per completion of the messages; without completions it only finds out whether it could, with them."""


class ScorerVerifier:
    """The score that a deployment gives a sample, or makes of its steps. How often it errs is unknown.

    Args:
        score: How the deployment is asked.
        name: Of the verifier, for receipts and errors.
        accepts_at: The score from which on a sample is good enough to end the run; infinite = none is.
    """

    reliability: Reliability | None = None

    def __init__(self, score: Score, name: str, accepts_at: float) -> None:
        self._score = score
        self.name: str = name
        self.accepts_at = accepts_at

    async def ready(self, messages: Sequence[Message]) -> None:
        """Find out whether the deployment scores what answers such a prompt.

        Raises:
            VerifierError: It does not, or its backend cannot be made.
        """
        await self._scores(messages, ())

    async def judge(
        self,
        messages: Sequence[Message],
        text: str,
        answer: Answer | None,  # noqa: ARG002 - the protocol's
    ) -> Judgement:
        """Its score.

        Raises:
            VerifierError: It gave none.
        """
        scores = await self._scores(messages, (text,))
        if len(scores) != 1:
            raise VerifierError(f"{self.name} gave {len(scores)} scores for one sample")
        return Judgement(score=float(scores[0]))

    async def _scores(self, messages: Sequence[Message], texts: Sequence[str]) -> Sequence[float]:
        try:
            return await self._score(messages, texts)
        except VerifierError:
            raise
        except TTComputeError as error:
            raise VerifierError(f"{self.name}: {error.message}", hint=error.hint) from error
