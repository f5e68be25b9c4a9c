"""How long completions are: log-normal through the known mean and 95th percentile, cut at ``max_tokens``.

Log-normal, because lengths are positive and skewed. The longest of a wave matters most: it ends the wave.
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

import msgspec

__all__ = ["Lengths"]

_NORMAL = NormalDist()
_Z95 = _NORMAL.inv_cdf(0.95)
_MAX_SPREAD = 1.0
"""Standard deviation of the logarithm that is reached at a p95 of 3.1 means; wider shapes are drawn so."""
_POINTS = 256
"""Of the midpoint rule; its error stays below 1 % up to the widest spread and a wave of 16."""


class Lengths(msgspec.Struct, frozen=True, kw_only=True):
    """Completion tokens of one sample."""

    mean: float
    """Before the cut; above 0."""
    p95: float | None
    """Before the cut; None when unknown, then the spread is too and all samples count as equally long."""
    max_tokens: int | None = None

    @property
    def mean_cut(self) -> float:
        """Expected length of one sample: E[min(L, max_tokens)] of a log-normal L."""
        location, spread = self._shape()
        if self.max_tokens is None or not spread:
            return self._cut(self.mean)
        cut = (math.log(self.max_tokens) - location) / spread
        below = self.mean * _NORMAL.cdf(cut - spread)
        return below + self.max_tokens * (1 - _NORMAL.cdf(cut))

    def quantile(self, level: float) -> float:
        """Length that a sample does not exceed with probability ``level``, in (0, 1)."""
        location, spread = self._shape()
        return self._cut(math.exp(location + spread * _NORMAL.inv_cdf(level)))

    def quantile_of_longest(self, samples: int, level: float) -> float:
        """Length that the longest of ``samples`` does not exceed with probability ``level``."""
        return self.quantile(level ** (1 / samples))

    def mean_of_longest(self, samples: int) -> float:
        """Expected length of the longest of ``samples``."""
        return self.mean_cut if samples == 1 else _mean_of_longest(self, samples)

    def mean_of_shortest(self, samples: int) -> float:
        """Expected length of the shortest of ``samples``."""
        return self.mean_cut if samples == 1 else _mean_of_shortest(self, samples)

    def _shape(self) -> tuple[float, float]:
        """Mean and standard deviation of the logarithm.

        From ln mean = location + spread^2 / 2 and ln p95 = location + z95 spread; the smaller root.
        """
        if self.p95 is None or self.p95 <= self.mean:
            return math.log(self.mean), 0.0
        spread = _Z95 - math.sqrt(max(0.0, _Z95**2 - 2 * math.log(self.p95 / self.mean)))
        spread = min(spread, _MAX_SPREAD)
        return math.log(self.mean) - spread**2 / 2, spread

    def _cut(self, tokens: float) -> float:
        return tokens if self.max_tokens is None else min(tokens, self.max_tokens)


_LEVELS = tuple((point + 0.5) / _POINTS for point in range(_POINTS))


@lru_cache(maxsize=4096)
def _mean_of_longest(lengths: Lengths, samples: int) -> float:
    # E[max] is the integral of the quantile function at u^(1/samples) over u in (0, 1).
    return math.fsum(lengths.quantile(level ** (1 / samples)) for level in _LEVELS) / _POINTS


@lru_cache(maxsize=4096)
def _mean_of_shortest(lengths: Lengths, samples: int) -> float:
    # As for the longest, at 1 - (1 - u)^(1/samples); the levels are symmetric, so u stands for 1 - u.
    return math.fsum(lengths.quantile(1 - level ** (1 / samples)) for level in _LEVELS) / _POINTS
