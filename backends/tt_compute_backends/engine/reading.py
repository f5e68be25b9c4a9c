"""What a local backend can besides generating, where its runtime reads texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import anyio.to_thread
import msgspec

from tt_compute.errors import ModelLoadError
from tt_compute.types import Capabilities, Message, ModelInfo
from tt_compute_backends.engine.backend import LocalBackend
from tt_compute_backends.engine.runtime import (
    EmbedTexts,
    RateContinuations,
    ScoreSteps,
    ScoreTexts,
)
from tt_compute_backends.llama.outputs import Output, folder_output
from tt_compute_backends.text.folder import read_json

__all__ = ["RatingBackend", "ReadingBackend", "draws", "local_output"]


class ReadingBackend(LocalBackend):
    """Satisfies ``Scorer``, ``ProcessScorer`` and ``Embedder``; each raises ``BackendError`` as ``warm`` does."""

    _generates: bool | None = None
    """Whether the model draws samples; None = not looked up yet."""

    async def models(self) -> Sequence[ModelInfo]:
        """The one model; what it is for is read from its folder's small files before it has been loaded."""
        if self._generates is None:
            own = self._spec.deployment.source.path
            looked = own is None or await anyio.to_thread.run_sync(draws, Path(own))
            self._generates = looked
        (model,) = await super().models()
        if self._generates:
            return [model]
        return [msgspec.structs.replace(model, capabilities=Capabilities(generates=False))]

    async def score(
        self, messages: Sequence[Message], texts: Sequence[str], *, deadline: float | None = None
    ) -> Sequence[float]:
        """As in the protocol: what the model's reward head says of each conversation."""
        reading = ScoreTexts(messages=tuple(messages), texts=tuple(texts))
        return [reward for (reward,) in await self._read(reading, deadline)]

    async def score_steps(
        self,
        messages: Sequence[Message],
        steps: Sequence[Sequence[str]],
        *,
        deadline: float | None = None,
    ) -> Sequence[Sequence[float]]:
        """As in the protocol: the probability that a process reward model gives to each step being good."""
        reading = ScoreSteps(messages=tuple(messages), texts=tuple(map(tuple, steps)))
        return await self._read(reading, deadline)

    async def embed(
        self, texts: Sequence[str], *, deadline: float | None = None
    ) -> Sequence[Sequence[float]]:
        """As in the protocol: pooled hidden states, of length 1."""
        return await self._read(EmbedTexts(texts=tuple(texts)), deadline)


class RatingBackend(ReadingBackend):
    """Satisfies ``LikelihoodScorer``, too."""

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


def draws(path: Path) -> bool:
    """Whether the model at ``path`` generates; what cannot be read does, until it is loaded."""
    return local_output(path) in {"tokens", None}


def local_output(path: Path) -> Output | None:
    """What the model at ``path`` is for; None = it cannot be read, which loading it will tell."""
    if not path.is_dir():
        return "tokens"
    try:
        return folder_output(path, read_json(path / "config.json"))
    except ModelLoadError:
        return None
