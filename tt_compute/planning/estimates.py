"""What past runs taught, as plain counts and means, and how it is weighed against a profile's word.

The store makes these from its observations; the planner only reads them. No evidence is an absent key.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

__all__ = [
    "ABILITY_PRIOR_QUESTIONS",
    "LENGTH_PRIOR_SAMPLES",
    "SPEED_PRIOR_SAMPLES",
    "AbilityEvidence",
    "Estimates",
    "LengthEvidence",
    "SpeedEvidence",
    "blend",
]

ABILITY_PRIOR_QUESTIONS = 20.0
"""Judged questions that a profile's success rate is worth: after as many, evidence weighs half."""
LENGTH_PRIOR_SAMPLES = 10.0
"""Samples that a profile's completion length is worth."""
SPEED_PRIOR_SAMPLES = 5.0
"""Samples that a stated or computed speed is worth."""


class AbilityEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """Judged questions of one model and task kind.

    Each question counts 1 in all, shared out by its samples: one with 3 right samples of 4 adds 0.75 to
    ``correct`` and 0.25 to ``wrong``. So a question that drew many samples does not outvote the others.
    """

    correct: float
    wrong: float


class LengthEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """Completion tokens of the finished samples of one model and task kind."""

    n: int
    mean: float
    p95: float


class SpeedEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """Decode speed seen at one wave width of one deployment and task kind."""

    wave: int
    tokens_per_s: float
    """Total over all samples of the wave."""
    n: int
    """Samples that were timed."""


class Estimates(msgspec.Struct, frozen=True, kw_only=True):
    """All evidence there is; the second part of every key is the task kind."""

    abilities: Mapping[tuple[str, str], AbilityEvidence] = {}
    """By model id and task kind."""
    lengths: Mapping[tuple[str, str], LengthEvidence] = {}
    """By model id and task kind."""
    speeds: Mapping[tuple[str, str], tuple[SpeedEvidence, ...]] = {}
    """By deployment id and task kind."""


def blend(prior: float | None, observed: float, n: float, prior_n: float) -> float:
    """Weighted geometric mean of a positive prior and what was observed; ``observed`` without a prior.

    The weight of the observation is n / (n + prior_n). Geometric, because lengths and speeds err by
    factors: one outlier ten times too large then moves the estimate as much as one ten times too small.
    """
    if prior is None:
        return observed
    weight = n / (n + prior_n)
    return math.exp((1 - weight) * math.log(prior) + weight * math.log(observed))
