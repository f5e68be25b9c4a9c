"""The runtime that the backend wraps: a word n-gram model, counted from a text when it is loaded."""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

END = "</s>"
TEXT = """The keeper of the light climbed the stairs and lit the lamp. The sea was calm and the lamp was
bright. A ship came out of the fog and the keeper rang the bell. The ship turned to the bell and the fog
closed behind it. In the morning the sea was grey and the keeper slept. The bell was still and the lamp was
out. A boy climbed the stairs and asked the keeper for a story. The keeper told the boy of a ship and a
storm, and of a light that the sea could not put out. The storm came in the night and the boy lit the lamp.
The keeper rang the bell and the ship came home. The boy slept and the sea was calm in the morning."""


class Ngram:
    """Which words followed which in a text, after at most ``context_words`` words."""

    def __init__(self, context_words: int, text: str = TEXT) -> None:
        self._context_words = context_words
        self._next: defaultdict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        words = [*text.split(), END]
        for place, word in enumerate(words):
            for length in range(min(context_words, place) + 1):
                self._next[tuple(words[place - length : place])][word] += 1

    def write(
        self, prompt: Sequence[str], temperature: float, rng: random.Random
    ) -> Iterator[tuple[str, float]]:
        """Pieces of text that go on from the prompt, each with its natural-log probability at temperature 1.

        The end of the text is an empty piece, after which nothing comes.
        """
        words = list(prompt)
        while True:
            counts = self._counts(words)
            word, most = counts.most_common(1)[0]
            if temperature:
                weights = [(count / most) ** (1 / temperature) for count in counts.values()]
                word = rng.choices(list(counts), weights)[0]
            logprob = math.log(counts[word] / counts.total())
            if word == END:
                yield "", logprob
                return
            yield (word if len(words) == len(prompt) else f" {word}"), logprob
            words.append(word)

    def _counts(self, words: Sequence[str]) -> Counter[str]:
        """What followed the longest of the last words that the text has."""
        context = tuple(words[-self._context_words :])
        while context not in self._next:
            context = context[1:]
        return self._next[context]
