"""``dirichlet``: Adaptive-Consistency against all rivals at once."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import ClassVar

import msgspec

from tt_compute.stopping.parameters import Parameters, full_name, require
from tt_compute.stopping.rule import Sees, fewest_for_leader

__all__ = ["DIRICHLET_THRESHOLD", "DirichletRule", "dirichlet_posterior"]

DIRICHLET_THRESHOLD = 0.95
"""Confidence of Adaptive-Consistency's experiments (arXiv 2305.11860)."""
_EXAMPLE = f"dirichlet:{DIRICHLET_THRESHOLD}"
_STEP = 0.25
"""Of the quadrature, in units of the spread of the leader's logarithm; a quarter of it leaves no error that doubles show."""
_NEGLIGIBLE = 42.0
"""The integrand ends where it is below e^-42 of its peak."""
_ROUNDING = 1e-18


class DirichletRule(msgspec.Struct, frozen=True):
    """Stop once P(the leader is the most probable answer | all votes) reaches a threshold.

    The probabilities of the answers have the posterior Dir(v1 + 1, ..., vm + 1, 1): the m answers that were
    given and one that was not yet, under a uniform prior. With a single answer that is ``beta``.

    Source: Adaptive-Consistency, arXiv 2305.11860, its Dirichlet criterion. Its code takes the five most
    frequent answers, none unseen, falls back on Beta below three answers, and integrates by Monte Carlo; here
    the integral is computed (``dirichlet_posterior``).
    """

    sees: ClassVar[Sees] = "counts"
    threshold: float = DIRICHLET_THRESHOLD

    def __post_init__(self) -> None:
        """Refuse thresholds that say nothing.

        Raises:
            InvalidRequestError: The threshold is not between 0.5 and 1.
        """
        require(
            "dirichlet",
            holds=0.5 < self.threshold < 1,  # noqa: PLR2004 - less likely than not is no lead
            what="a threshold between 0.5 and 1 is expected",
            got=self.threshold,
            example=_EXAMPLE,
        )

    @classmethod
    def parse(cls, text: str) -> DirichletRule:
        return cls(
            Parameters("dirichlet", text, 1, _EXAMPLE).number(0, "threshold", DIRICHLET_THRESHOLD)
        )

    @property
    def name(self) -> str:
        return full_name("dirichlet", [self.threshold], [DIRICHLET_THRESHOLD])

    def posterior(self, counts: Sequence[int]) -> float | None:
        votes = _ranked(counts)
        return dirichlet_posterior((*votes, 0)) if votes else None

    def settled(self, counts: Sequence[int]) -> bool:
        posterior = self.posterior(counts)
        return posterior is not None and posterior >= self.threshold

    def min_more(self, counts: Sequence[int], remaining: int) -> int:
        first, *others = _ranked(counts) or (0,)

        def enough(more: int) -> bool:
            votes = (first + more, *others, 0)
            return votes[0] > 0 and dirichlet_posterior(votes) >= self.threshold

        return fewest_for_leader(enough, remaining)


def _ranked(counts: Sequence[int]) -> tuple[int, ...]:
    """The votes of the answers that have any, most first."""
    return tuple(sorted(filter(None, counts), reverse=True))


@lru_cache(maxsize=1 << 16)
def dirichlet_posterior(votes: tuple[int, ...]) -> float:
    """P(p1 is the largest) under Dir(v1 + 1, ..., vm + 1), to about 1e-12.

    Gamma variables x_i of shape v_i + 1 over their sum have that distribution, so that it is the integral of
    gamma(x; v1 + 1) x the product of P(x_j <= x) over all other j. In u = log x the integrand is analytic and
    falls off exponentially at both ends, where the trapezoidal rule has an exponentially small error
    (Trefethen and Weideman, SIAM Review 2014).

    Args:
        votes: Those of the leader first; the order of the others is free.
    """
    leader, *others = votes
    nodes = _nodes(leader + 1)
    values = list(nodes.weights)
    for count, times in Counter(others).items():
        below = _below(leader + 1, count + 1)
        values = [value * share**times for value, share in zip(values, below, strict=True)]
    return min(1.0, math.fsum(values))


class _Nodes(msgspec.Struct, frozen=True):
    """Where the integrand is looked at, and the leader's mass there."""

    points: tuple[float, ...]
    weights: tuple[float, ...]


@lru_cache(maxsize=1 << 10)
def _nodes(shape: int) -> _Nodes:
    """Evenly spread in log x, about the peak of the leader's density as far as it counts."""
    step = _STEP / math.sqrt(shape)
    points: list[float] = []
    for direction in (-1, 1):
        place = 0 if direction == 1 else -1
        while _log_density(shape, place * step) > -_NEGLIGIBLE:
            points.append(place * step)
            place += direction
    heights = [math.exp(_log_density(shape, point)) for point in points]
    total = math.fsum(heights)
    return _Nodes(
        tuple(shape * math.exp(point) for point in points),
        tuple(height / total for height in heights),
    )


def _log_density(shape: int, offset: float) -> float:
    """Of the logarithm of a gamma variable, ``offset`` from its mode, relative to the peak."""
    return shape * (offset - math.expm1(offset))


@lru_cache(maxsize=1 << 13)
def _below(leader: int, shape: int) -> tuple[float, ...]:
    """P(a gamma variable of this shape is at most x) at the leader's nodes."""
    return tuple(_gamma_below(shape, point) for point in _nodes(leader).points)


def _gamma_below(shape: int, x: float) -> float:
    """P(Gamma(shape) <= x) = P(Poisson(x) >= shape), by the tail of the Poisson distribution that falls off."""
    last = math.exp((shape - 1) * math.log(x) - x - math.lgamma(shape))
    if x >= shape:
        return max(0.0, 1 - _falling(last, lambda step: (shape - step) / x))
    return _falling(last * x / shape, lambda step: x / (shape + step))


def _falling(first: float, ratio: Callable[[int], float]) -> float:
    """Sum of terms, each ``ratio(1, 2, ...)`` of the one before it."""
    total = term = first
    step = 1
    while term > _ROUNDING * total and (factor := ratio(step)) > 0:
        term *= factor
        total += term
        step += 1
    return total
