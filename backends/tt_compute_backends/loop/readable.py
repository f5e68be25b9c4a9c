"""Which models can be asked which things about texts, and what they have for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from tt_compute.errors import UnsupportedError
from tt_compute_backends.engine.runtime import (
    EmbedTexts,
    RateContinuations,
    Reading,
    ScoreSteps,
    ScoreTexts,
)
from tt_compute_backends.llama.outputs import STEPS, Output
from tt_compute_backends.llama.pooling import Pooling
from tt_compute_backends.llama.spec import RewardLayer
from tt_compute_backends.loop.forward import F32, ReadingForward
from tt_compute_backends.text.sequences import StepMarks

__all__ = ["Readable", "check_reads"]

_KINDS: Final[dict[Output, str]] = {
    "tokens": "a language model",
    "reward": "a reward model",
    "steps": "a process reward model",
    "plain_steps": "a process reward model",
    "none": "an embedding model",
}
_WANTED: Final[dict[type[Reading], tuple[tuple[Output, ...], str, str]]] = {
    ScoreTexts: (("reward",), "scores no texts", "a reward model, or judge=DEPLOYMENT"),
    ScoreSteps: (STEPS, "scores no steps", "a process reward model"),
    EmbedTexts: (("none",), "embeds no texts", "an embedding model"),
    RateContinuations: (("tokens",), "knows no likelihoods", "a language model"),
}
"""Which kinds of model a reading needs, what the others do not, and what to do then."""


@dataclass(frozen=True, kw_only=True)
class Readable:
    """A model whose hidden states can be had, and what they are good for."""

    forward: ReadingForward[Any]
    output: Output
    hidden_size: int
    logits: Callable[[F32], F32] | None = None
    """The output layer, [tokens, hidden] to [tokens, vocabulary]; None = the model is none that generates."""
    reward: tuple[RewardLayer, ...] = ()
    pad_token: int | None = None
    pooling: Pooling = "mean"
    steps: StepMarks | None = None
    """Of process reward models."""


def check_reads(output: Output, reading: Reading) -> None:
    """Refuse what a model was not made for.

    Raises:
        UnsupportedError: With what to do instead.
    """
    wanted, what, hint = _WANTED[type(reading)]
    if output in wanted:
        return
    raise UnsupportedError(
        f"the model is {_KINDS[output]} and {what}",
        hint=_meant(output, reading) or f"name a deployment of {hint}",
    )


def _meant(output: Output, reading: Reading) -> str | None:
    """The other way to ask this very model, which is likely what was meant."""
    if output in STEPS and isinstance(reading, ScoreTexts):
        return "it scores steps: verifier steps=DEPLOYMENT, or score_steps of the client"
    if output == "reward" and isinstance(reading, ScoreSteps):
        return "it scores whole texts: verifier scorer=DEPLOYMENT, or score of the client"
    return None
