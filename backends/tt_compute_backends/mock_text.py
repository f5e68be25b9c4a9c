"""The mock's tokens and dice."""

from __future__ import annotations

import hashlib
import math
import random
import re
from collections.abc import Sequence

from tt_compute.testing.mock_quantities import Quantity, draw_quantity
from tt_compute.types import GenerateRequest, TokenLogprob

__all__ = ["Dice", "count_tokens", "drawn", "synthetic_logprobs", "thinking", "tokenize"]

TOKEN = re.compile(r"\s*\w+|\s*[^\w\s]|\s+")
"""A word or a sign with the space before it; the tokens of a text join to the text."""
THINKING = [
    "so",
    "then",
    "we",
    "look",
    "at",
    "each",
    "part",
    "of",
    "it",
    "step",
    "by",
    "step",
    "and",
    "check",
    "that",
    "it",
    "fits",
]
"""Words of thinking aloud; none of them can be taken for an answer."""


class Dice:
    """Independent random streams of one sample, by purpose: a new purpose moves no other.

    Args:
        key: Identifies the prompt.
        seed: Of the sample, 31 bits.
    """

    def __init__(self, key: bytes, seed: int) -> None:
        self._key = hashlib.sha256(key + seed.to_bytes(4, "big")).digest()

    def roll(self, purpose: str) -> random.Random:
        return random.Random(self._key + purpose.encode())  # noqa: S311 - a mock's dice


def tokenize(text: str) -> list[str]:
    """Split into the mock's tokens; joined, they are the text."""
    return TOKEN.findall(text)


def count_tokens(request: GenerateRequest) -> int:
    """Tokens of the prompt, without any chat template."""
    return sum(len(tokenize(message.text)) for message in request.messages)


def drawn(quantity: Quantity, dice: Dice, purpose: str) -> float:
    """A fixed quantity itself, or a draw from its distribution."""
    return draw_quantity(quantity, dice.roll(purpose))


def thinking(count: int, rng: random.Random) -> list[str]:
    """``count`` tokens of thinking aloud."""
    words = rng.choices(THINKING, k=count)
    return [words[0], *(f" {word}" for word in words[1:])]


def synthetic_logprobs(tokens: Sequence[str], count: int, dice: Dice) -> tuple[TokenLogprob, ...]:
    """Made-up logprobs that a consumer can be tested with; they say nothing about the text.

    Args:
        tokens: The sampled tokens.
        count: As in ``SamplingParams.logprobs``.
        dice: Of the sample.
    """
    if not count:
        return ()
    rng = dice.roll("logprobs")
    return tuple(_logprob(token, count, rng) for token in tokens)


def _logprob(token: str, count: int, rng: random.Random) -> TokenLogprob:
    logprob = -rng.expovariate(2.0)
    if count == 1:
        return TokenLogprob(token=token, logprob=logprob)
    # Each made-up alternative takes half of the probability that is left.
    rest = math.log1p(-math.exp(min(logprob, -1e-12)))
    others = [(f"{token}~{rank}", rest - rank * math.log(2)) for rank in range(1, count)]
    top = sorted([(token, logprob), *others], key=lambda entry: -entry[1])
    return TokenLogprob(token=token, logprob=logprob, top=tuple(top))
