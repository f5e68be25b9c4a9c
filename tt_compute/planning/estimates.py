"""What past runs taught, as plain counts and means, and how it is weighed against a profile's word.

The store makes these from its observations; the planner only reads them. No evidence is an absent key.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

from tt_compute.planning.observations import Observation

__all__ = [
    "ABILITY_PRIOR_QUESTIONS",
    "LENGTH_PRIOR_SAMPLES",
    "SPEED_PRIOR_SAMPLES",
    "Estimates",
    "History",
    "Import",
    "LeftOut",
    "LengthEvidence",
    "SpeedEvidence",
    "Version",
    "blend",
]

ABILITY_PRIOR_QUESTIONS = 20.0
"""Observed questions that a profile's word is worth: after as many, evidence weighs half."""
LENGTH_PRIOR_SAMPLES = 10.0
"""Samples that a profile's completion length is worth."""
SPEED_PRIOR_SAMPLES = 5.0
"""Samples that a stated or computed speed is worth."""


class LengthEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """Completion tokens of the finished samples of one model and task kind."""

    n: float
    """Samples, older ones as shares of one."""
    mean: float
    p95: float
    prompt_tokens: int | None = None
    """Length of the prompts, about; None = of any."""


class SpeedEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """Decode speed seen at one wave width of one deployment and task kind."""

    wave: int
    tokens_per_s: float
    """Total over all samples of the wave."""
    n: float
    """Samples that were timed, older ones as shares of one."""


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """What a deployment runs now; what was seen of another version says nothing of it. None = unknown."""

    weights: str | None = None
    runtime: str | None = None


class Estimates(msgspec.Struct, frozen=True, kw_only=True):
    """All evidence there is; the second part of every key is the task kind."""

    observations: Mapping[tuple[str, str], tuple[Observation, ...]] = {}
    """Of varied samples, by model id and task kind, the newest first."""
    greedy: Mapping[tuple[str, str], tuple[Observation, ...]] = {}
    """Of samples at temperature 0, likewise."""
    lengths: Mapping[tuple[str, str], tuple[LengthEvidence, ...]] = {}
    """By model id and task kind; one for each length of prompts that was seen."""
    speeds: Mapping[tuple[str, str], tuple[SpeedEvidence, ...]] = {}
    """By deployment id and task kind."""


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """Recent runs of another version of a deployment, which teach nothing of the one that it is now."""

    deployment: str
    weights: int
    """Runs of other weights."""
    runtime: int
    """Runs of another version of the runtime, or under other options."""


class Import(msgspec.Struct, frozen=True, kw_only=True):
    """Evidence of another store that was taken in."""

    origin: str
    """Of the store it came from."""
    imported_at: float
    """Unix seconds."""
    models: tuple[str, ...]
    questions: int
    used: bool
    """Whether some of it is of weights that run here now."""


class History(msgspec.Struct, frozen=True, kw_only=True):
    """Where the evidence comes from, and what is no part of it."""

    left_out: tuple[LeftOut, ...] = ()
    forgotten: int = 0
    """Runs that are kept and teach nothing any more, because the user said so."""
    imports: tuple[Import, ...] = ()


def blend(prior: float | None, observed: float, n: float, prior_n: float) -> float:
    """Weighted geometric mean of a positive prior and what was observed; ``observed`` without a prior.

    The weight of the observation is n / (n + prior_n). Geometric, because lengths and speeds err by
    factors: one outlier ten times too large then moves the estimate as much as one ten times too small.
    """
    if prior is None:
        return observed
    weight = n / (n + prior_n)
    return math.exp((1 - weight) * math.log(prior) + weight * math.log(observed))
