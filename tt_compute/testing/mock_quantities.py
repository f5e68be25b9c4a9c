"""Quantities of a mock that may differ from sample to sample."""

from __future__ import annotations

import math
import random

import msgspec

__all__ = ["Distribution", "Quantity", "draw_quantity", "least", "mean", "median", "percentile_95"]

P95_Z = 1.6448536269514722
"""95th percentile of the standard normal distribution."""


class Distribution(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Log-normal by ``p50`` and ``p95``, or uniform from ``min`` to ``max``.

    Raises:
        ValueError: It is neither, or its ends are the wrong way round.
    """

    p50: float | None = None
    p95: float | None = None
    min: float | None = None
    max: float | None = None

    def __post_init__(self) -> None:
        match (self.p50, self.p95, self.min, self.max):
            case (float() | int() as p50, float() | int() as p95, None, None):
                if not 0 < p50 <= p95:
                    raise ValueError(f"expected 0 < p50 <= p95, got {p50} and {p95}")
            case (None, None, float() | int() as low, float() | int() as high):
                if not 0 <= low <= high:
                    raise ValueError(f"expected 0 <= min <= max, got {low} and {high}")
            case _:
                raise ValueError("expected p50 and p95, or min and max")

    def quantile(self, level: float) -> float:
        """The value that a share ``level`` of the draws stays below; only 0.5 and 0.95 of a log-normal."""
        if self.min is not None and self.max is not None:
            return self.min + (self.max - self.min) * level
        value = self.p50 if level == 0.5 else self.p95  # noqa: PLR2004 - the median
        assert value is not None
        return value

    @property
    def mean(self) -> float:
        if self.min is not None and self.max is not None:
            return (self.min + self.max) / 2
        mu, sigma = self._log_normal()
        return math.exp(mu + sigma**2 / 2)

    def draw(self, rng: random.Random) -> float:
        if self.min is not None and self.max is not None:
            return rng.uniform(self.min, self.max)
        return rng.lognormvariate(*self._log_normal())

    def _log_normal(self) -> tuple[float, float]:
        assert self.p50 is not None
        assert self.p95 is not None
        return math.log(self.p50), math.log(self.p95 / self.p50) / P95_Z


Quantity = float | Distribution
"""A fixed value, or a distribution that each sample draws from."""


def draw_quantity(quantity: Quantity, rng: random.Random) -> float:
    """A fixed quantity itself, or a draw from its distribution."""
    return quantity.draw(rng) if isinstance(quantity, Distribution) else quantity


def mean(quantity: Quantity) -> float:
    return quantity.mean if isinstance(quantity, Distribution) else quantity


def median(quantity: Quantity) -> float:
    return quantity.quantile(0.5) if isinstance(quantity, Distribution) else quantity


def percentile_95(quantity: Quantity) -> float:
    return quantity.quantile(0.95) if isinstance(quantity, Distribution) else quantity


def least(quantity: Quantity) -> float:
    """No draw is below it, in effect: of a log-normal, whose draws have no least one but 0, the median."""
    if not isinstance(quantity, Distribution):
        return quantity
    return quantity.quantile(0.5) if quantity.min is None else quantity.min
