"""Prompts of wanted lengths that make a model write for long."""

from __future__ import annotations

import random
from typing import NamedTuple

__all__ = ["MadePrompt", "PromptMaker"]

_WORDS = (
    "river mountain lantern harbour winter copper garden thunder violin letter silver forest "
    "bridge candle ocean shadow meadow engine market castle feather island mirror window"
)
_TASK = "Write a very long story in which all of these words occur."
_TOKENS_PER_WORD, _OTHER_TOKENS = 1.3, 20.0
"""Before it is known better; the others are the task's and the chat template's."""
_LEAST_WORDS = 6


class MadePrompt(NamedTuple):
    """A prompt and how many of its words were chosen."""

    text: str
    words: int


class PromptMaker:
    """Makes prompts, each a new one from its first words on, so that no cache of prefixes knows it.

    Args:
        rng: Chooses the words.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._words = _WORDS.split()
        self._tokens_per_word = _TOKENS_PER_WORD
        self._other_tokens = _OTHER_TOKENS

    def make(self, tokens: int) -> MadePrompt:
        """A prompt of about ``tokens``, its chat template included."""
        count = max(_LEAST_WORDS, round((tokens - self._other_tokens) / self._tokens_per_word))
        words = " ".join(self._rng.choices(self._words, k=count))
        return MadePrompt(f"{words}. {_TASK}", count)

    def learn(self, short: tuple[int, int], long: tuple[int, int]) -> None:
        """Take the tokeniser's word for it: (words, tokens) of two prompts that it counted."""
        (few, few_tokens), (many, many_tokens) = short, long
        if many > few and many_tokens > few_tokens:
            self._tokens_per_word = (many_tokens - few_tokens) / (many - few)
            self._other_tokens = few_tokens - few * self._tokens_per_word
