"""How sure a model was while it wrote, token by token: DeepConf's measures.

Fu et al. 2025, https://arxiv.org/abs/2508.15260, section 3.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence

from tt_compute.types import TokenLogprob
from tt_compute.weights import top_confidence

__all__ = ["GroupConfidence", "lowest_group", "percentile", "token_confidence"]


def token_confidence(token: TokenLogprob) -> float:
    """C_i (equation 2): high where one token stands out.

    Where only the sampled token's probability is known, that probability: the formula would turn round.
    """
    confidence = top_confidence(token)
    return math.exp(token.logprob) if confidence is None else confidence


class GroupConfidence:
    """Mean confidence of the last ``window`` tokens, as they come."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._last: deque[float] = deque()
        self._sum = 0.0
        self.lowest: float | None = None
        """Lowest mean of any whole window so far; None before the first is whole."""

    def add(self, tokens: Iterable[TokenLogprob]) -> None:
        for token in tokens:
            confidence = token_confidence(token)
            self._last.append(confidence)
            self._sum += confidence
            if len(self._last) > self._window:
                self._sum -= self._last.popleft()
            if len(self._last) == self._window:
                mean = self._sum / self._window
                self.lowest = mean if self.lowest is None else min(self.lowest, mean)

    @property
    def mean(self) -> float | None:
        """Of the last tokens, however few; None before the first."""
        return self._sum / len(self._last) if self._last else None


def lowest_group(tokens: Sequence[TokenLogprob], window: int) -> float | None:
    """The lowest group confidence of a whole text; a text shorter than the window is one group."""
    group = GroupConfidence(window)
    group.add(tokens)
    return group.mean if group.lowest is None else group.lowest


def percentile(values: Sequence[float], percent: float) -> float:
    """Of at least one value, with linear interpolation."""
    ranked = sorted(values)
    place = (len(ranked) - 1) * percent / 100
    below = math.floor(place)
    above = min(below + 1, len(ranked) - 1)
    return ranked[below] + (ranked[above] - ranked[below]) * (place - below)
