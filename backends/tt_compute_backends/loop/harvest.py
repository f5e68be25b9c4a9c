"""What is taken from hidden states as they come, a piece of a text at a time."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from tt_compute.errors import ServerError
from tt_compute_backends.engine.runtime import Vectors
from tt_compute_backends.llama.pooling import Pooling
from tt_compute_backends.llama.spec import RewardLayer
from tt_compute_backends.loop.forward import F32

__all__ = ["Harvest", "Likelihoods", "Pooled", "Rewards", "StepRewards"]

Tokens = tuple[int, ...]

_ROWS_OF_LOGITS: Final = 32
"""Computed at once: a large vocabulary makes a megabyte of each."""


class Harvest(Protocol):
    """Takes what one reading wants of its texts."""

    def first(self, text: int) -> int:
        """The first position of a text whose hidden state is wanted of this text alone.

        Those before it may be taken of several texts at once that begin alike.
        """
        ...

    def take(self, text: int, start: int, hidden: F32) -> None:
        """Hidden states of a text's positions from ``start`` on; pieces of one text come in order."""
        ...

    def rows(self) -> Vectors:
        """What was found, once all has been taken.

        Raises:
            ServerError: It is not numbers.
        """
        ...


class Rewards:
    """The reward head's number at each text's last token that is no padding, as transformers' classes take it.

    Args:
        head: Its layers.
        texts: To be read.
        pad_token: None = the model has none.
    """

    def __init__(
        self, head: Sequence[RewardLayer], texts: Sequence[Tokens], pad_token: int | None
    ) -> None:
        self._head = head
        self._last = [_last_token(text, pad_token) for text in texts]
        self._found = np.full(len(texts), np.nan)

    def first(self, text: int) -> int:
        return self._last[text]

    def take(self, text: int, start: int, hidden: F32) -> None:
        place = self._last[text] - start
        if 0 <= place < len(hidden):
            self._found[text] = _headed(self._head, hidden[place])[0]

    def rows(self) -> Vectors:
        return [[reward] for reward in _numbers(self._found).tolist()]


class StepRewards:
    """The probability that a head with two labels gives to the second one, good, at the end of each step.

    Args:
        head: Its layers.
        ends: Where each text's steps end, in order.
    """

    def __init__(self, head: Sequence[RewardLayer], ends: Sequence[Sequence[int]]) -> None:
        self._head = head
        self._ends = ends
        self._found = [np.full(len(one), np.nan) for one in ends]

    def first(self, text: int) -> int:
        return self._ends[text][-1]

    def take(self, text: int, start: int, hidden: F32) -> None:
        ends = self._ends[text]
        for step in range(bisect_left(ends, start), bisect_left(ends, start + len(hidden))):
            bad, good = _headed(self._head, hidden[ends[step] - start]).tolist()
            self._found[text][step] = _logistic(good - bad)

    def rows(self) -> Vectors:
        return [_numbers(found).tolist() for found in self._found]


class Pooled:
    """One vector of length 1 for each text.

    Args:
        pooling: Which hidden states make it.
        texts: To be read.
        hidden_size: Numbers of a vector.
    """

    def __init__(self, pooling: Pooling, texts: Sequence[Tokens], hidden_size: int) -> None:
        self._mean = pooling == "mean"
        self._lengths = [len(text) for text in texts]
        self._found = np.zeros((len(texts), hidden_size))

    def first(self, text: int) -> int:
        return 0 if self._mean else self._lengths[text] - 1

    def take(self, text: int, start: int, hidden: F32) -> None:
        if self._mean:
            # Of the sum nothing is left to see but its direction.
            self._found[text] += hidden.sum(0, dtype=np.float64)
        elif start + len(hidden) == self._lengths[text]:
            self._found[text] = hidden[-1]

    def rows(self) -> Vectors:
        lengths = np.linalg.norm(self._found, axis=1, keepdims=True)
        vectors: Vectors = _numbers(self._found / np.maximum(lengths, 1e-12)).tolist()
        return vectors


class Likelihoods:
    """The sum of the log-probabilities of each text's tokens behind a prompt.

    Args:
        logits: The output layer, hidden states to logits.
        prompt_tokens: The beginning of each text, which is given.
        texts: Whole, the prompt included.
    """

    def __init__(
        self, logits: Callable[[F32], F32], prompt_tokens: int, texts: Sequence[Tokens]
    ) -> None:
        self._logits = logits
        self._prompt_tokens = prompt_tokens
        self._texts = texts
        self._found = np.zeros(len(texts))

    def first(self, text: int) -> int:  # noqa: ARG002 - the same of all
        return self._prompt_tokens - 1

    def take(self, text: int, start: int, hidden: F32) -> None:
        """A position's logits are about the token behind it; the last one's are about none of the text."""
        begin = max(start, self._prompt_tokens - 1)
        end = min(start + len(hidden), len(self._texts[text]) - 1)
        for place in range(begin, end, _ROWS_OF_LOGITS):
            until = min(place + _ROWS_OF_LOGITS, end)
            logits = self._logits(hidden[place - start : until - start])
            following = self._texts[text][place + 1 : until + 1]
            self._found[text] += _log_probabilities(logits, following).sum()

    def rows(self) -> Vectors:
        return [[nats] for nats in _numbers(self._found).tolist()]


def _headed(head: Sequence[RewardLayer], hidden: F32) -> F32:
    """What a reward head makes of one hidden state."""
    x = hidden
    for place, layer in enumerate(head):
        if place:
            x = np.maximum(x, 0)
        x = layer.weight @ x
        if layer.bias is not None:
            x = x + layer.bias
    return x


def _logistic(difference: float) -> float:
    """The softmax of two numbers, of which only the difference counts."""
    share = math.exp(-abs(difference))
    return (1.0 if difference >= 0 else share) / (1 + share)


def _last_token(text: Tokens, pad_token: int | None) -> int:
    last = len(text) - 1
    while last and text[last] == pad_token:
        last -= 1
    return last


def _log_probabilities(logits: F32, tokens: Tokens) -> NDArray[np.float64]:
    """As the sampler says them of what it draws."""
    highest = logits.max(1, keepdims=True)
    sums = np.exp(logits - highest).sum(1, dtype=np.float64)
    chosen = logits[np.arange(len(tokens)), list(tokens)].astype(np.float64)
    found: NDArray[np.float64] = np.minimum(chosen - highest[:, 0] - np.log(sums), 0.0)
    return found


def _numbers(found: NDArray[np.float64]) -> NDArray[np.float64]:
    if not np.isfinite(found).all():
        raise ServerError(
            "what the model says of a text is not a number",
            hint="its weights may be damaged, or overflow: try options.dtype fp32 or bf16",
        )
    return found
