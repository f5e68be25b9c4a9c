"""How hard questions are for a model: a distribution over a small grid of kinds of question.

A kind is a pair: ``rate``, the chance that one sample is right, and ``agreement``, the share of the wrong
answers that the one popular wrong answer takes. All that is predicted of samples is an expectation over these
kinds, and all that is learned moves their weights, so that predictions need no assumption of how success
spreads over questions once enough of them were seen.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import msgspec

__all__ = ["AGREEMENTS", "KINDS", "RATES", "Moments", "Questions"]

_LOWER_RATES = (0.0, 0.005, 0.015, 0.03, 0.05, 0.075, 0.1, 0.135, 0.175, 0.23, 0.3, 0.37, 0.44)
RATES = (*_LOWER_RATES, 0.5, *(1 - rate for rate in reversed(_LOWER_RATES)))
"""Closer at the ends, where votes and repeated tries are most sensitive to them."""
AGREEMENTS = (0.05, 0.2, 0.4, 0.6, 0.8, 0.98)
KINDS = tuple((rate, agreement) for agreement in AGREEMENTS for rate in RATES)
"""(rate, agreement) of each kind, in the order of the weights."""

Moments = Callable[[int, int], float]
"""(right, rest) -> E[p^right (1 - p)^rest] over the questions."""
_EDGE = 1e-9
"""Success rates of exactly 0 and 1 have no Beta distribution; this close is the same to any vote."""
_FRACTION_TERMS = 300
_FRACTION_ERROR = 1e-12
_TINY = 1e-300
_STEEPEST = 200.0
_HALVINGS = 60


class Questions(msgspec.Struct, frozen=True):
    """Weights of the kinds, all rates of the first agreement, then those of the second; they add up to 1."""

    weights: tuple[float, ...]

    @classmethod
    def stated(cls, mean: float, concentration: float, agreement: float) -> Questions:
        """Success rates of Beta(mean c, (1 - mean) c), wrong answers that agree alike on every question.

        The density is shared out to the neighbouring rates, and the agreement to its two neighbours, so
        that both means stay what they are.
        """
        rates = _beta_weights(mean, concentration)
        shares = _split(agreement, AGREEMENTS)
        return cls(tuple(share * rate for share in shares for rate in rates))

    @property
    def success_rate(self) -> float:
        """P(one sample is right) of a question picked at random."""
        return math.fsum(
            weight * rate for weight, (rate, _) in zip(self.weights, KINDS, strict=True)
        )

    @property
    def agreement(self) -> float:
        """Mean share of the popular one among the wrong answers."""
        return math.fsum(
            weight * share for weight, (_, share) in zip(self.weights, KINDS, strict=True)
        )

    def pass_at(self, n: int) -> float:
        """P(at least one of n samples is right) = E[1 - (1 - p)^n]."""
        return 1 - self.moments()(0, n)

    def rates(self) -> list[tuple[float, float]]:
        """(success rate, share of the questions) of each rate that occurs."""
        width = len(RATES)
        shares = (math.fsum(self.weights[place::width]) for place in range(width))
        return [(rate, share) for rate, share in zip(RATES, shares, strict=True) if share]

    def moments(self) -> Moments:
        """Of all questions."""
        return _moments(self.rates())

    def by_agreement(self) -> Iterator[tuple[float, Moments]]:
        """Each agreement that occurs, with the moments of its questions; all of them add up to ``moments``."""
        width = len(RATES)
        for place, agreement in enumerate(AGREEMENTS):
            row = self.weights[place * width : (place + 1) * width]
            if any(row):
                yield (
                    agreement,
                    _moments([pair for pair in zip(RATES, row, strict=True) if pair[1]]),
                )

    def with_success_rate(self, mean: float) -> Questions:
        """The nearest distribution (least relative entropy) with another success rate.

        That is the exponential tilt w exp(t p), t such that the mean is met; nothing changes where no tilt
        can meet it.
        """
        rates = [rate for rate, _ in KINDS]

        def tilted(steepness: float) -> list[float]:
            top = max(0.0, steepness)
            tilts = (math.exp(steepness * rate - top) for rate in rates)
            return [weight * tilt for weight, tilt in zip(self.weights, tilts, strict=True)]

        low, high = -_STEEPEST, _STEEPEST
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            weights = tilted(middle)
            found = math.fsum(map(float.__mul__, weights, rates)) / math.fsum(weights)
            low, high = (middle, high) if found < mean else (low, middle)
        return Questions(_normalised(tilted((low + high) / 2)))


def _normalised(weights: Sequence[float]) -> tuple[float, ...]:
    total = math.fsum(weights)
    return tuple(weight / total for weight in weights)


def _moments(known: Sequence[tuple[float, float]]) -> Moments:
    """Of (rate, weight) pairs."""
    found: dict[tuple[int, int], float] = {}

    def moment(right: int, rest: int) -> float:
        value = found.get((right, rest))
        if value is None:
            value = sum(weight * rate**right * (1 - rate) ** rest for rate, weight in known)
            found[right, rest] = value
        return value

    return moment


def _split(value: float, nodes: Sequence[float]) -> list[float]:
    """Weights of the nodes that have ``value`` as their mean: its neighbours', by nearness."""
    shares = [0.0] * len(nodes)
    value = min(max(value, nodes[0]), nodes[-1])
    place = min(bisect_right(nodes, value), len(nodes) - 1)
    upper = (value - nodes[place - 1]) / (nodes[place] - nodes[place - 1])
    shares[place - 1], shares[place] = 1 - upper, upper
    return shares


@lru_cache(maxsize=1024)
def _beta_weights(mean: float, concentration: float) -> tuple[float, ...]:
    """Weights of the rates for a Beta density, which each point of it shares out to its two neighbours."""
    mean = min(max(mean, _EDGE), 1 - _EDGE)
    a, b = mean * concentration, (1 - mean) * concentration
    masses = [_incomplete_beta(a, b, rate) for rate in RATES]
    # E[p; p <= x] of Beta(a, b) is its mean times the distribution function of Beta(a + 1, b).
    firsts = [mean * _incomplete_beta(a + 1, b, rate) for rate in RATES]
    weights = [0.0] * len(RATES)
    for place, (left, right) in enumerate(itertools.pairwise(RATES)):
        mass = masses[place + 1] - masses[place]
        upper = (firsts[place + 1] - firsts[place] - left * mass) / (right - left)
        upper = min(max(upper, 0.0), mass)
        weights[place] += mass - upper
        weights[place + 1] += upper
    return _normalised(weights)


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """Regularised incomplete beta function I_x(a, b), by its continued fraction (DLMF 8.17.22)."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(b, a, 1 - x)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    log_front += a * math.log(x) + b * math.log1p(-x)
    return math.exp(log_front) * _beta_fraction(a, b, x) / a


def _beta_fraction(a: float, b: float, x: float) -> float:
    """The fraction of DLMF 8.17.22, evaluated by the modified Lentz method."""
    value = upper = 1.0
    lower = 0.0
    for term in range(1, _FRACTION_TERMS):
        coefficient = _coefficient(a, b, x, term)
        lower = 1 / _bounded(1 + coefficient * lower)
        upper = _bounded(1 + coefficient / upper)
        value *= upper * lower
        if abs(upper * lower - 1) < _FRACTION_ERROR:
            break
    return 1 / value


def _coefficient(a: float, b: float, x: float, term: int) -> float:
    m = term // 2
    if term % 2:
        return -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
    return m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))


def _bounded(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
