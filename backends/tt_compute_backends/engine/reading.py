"""What a local backend can besides generating, where its runtime reads texts."""

from __future__ import annotations

from collections.abc import Sequence

from tt_compute.types import Message
from tt_compute_backends.engine.backend import LocalBackend
from tt_compute_backends.engine.runtime import EmbedTexts, RateContinuations, ScoreTexts

__all__ = ["ReadingBackend"]


class ReadingBackend(LocalBackend):
    """Satisfies ``Scorer``, ``Embedder`` and ``LikelihoodScorer``; each raises ``BackendError`` as ``warm`` does."""

    async def score(
        self, messages: Sequence[Message], texts: Sequence[str], *, deadline: float | None = None
    ) -> Sequence[float]:
        """As in the protocol: what the model's reward head says of each conversation."""
        reading = ScoreTexts(messages=tuple(messages), texts=tuple(texts))
        return [reward for (reward,) in await self._read(reading, deadline)]

    async def embed(
        self, texts: Sequence[str], *, deadline: float | None = None
    ) -> Sequence[Sequence[float]]:
        """As in the protocol: pooled hidden states, of length 1."""
        return await self._read(EmbedTexts(texts=tuple(texts)), deadline)

    async def loglikelihood(
        self,
        messages: Sequence[Message],
        continuations: Sequence[str],
        *,
        deadline: float | None = None,
    ) -> Sequence[float]:
        """As in the protocol."""
        reading = RateContinuations(messages=tuple(messages), texts=tuple(continuations))
        return [sum_nats for (sum_nats,) in await self._read(reading, deadline)]
