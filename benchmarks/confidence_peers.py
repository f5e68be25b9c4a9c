"""Other ways to a confidence out of votes and log-probabilities, for ``confidence.py`` to compare with."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence

import msgspec

__all__ = ["Run", "likelihood_product", "logprob_alone", "recalibrated"]

_RIDGE = 1.0
_STEPS = 25
_EDGE = 1e-6


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A vote of recorded samples."""

    question: int
    right: bool
    votes: tuple[int, ...]
    """The leader's first."""
    abstained: int
    own: tuple[float, ...]
    """Mean log-probabilities of the leader's samples."""
    others: tuple[float, ...]

    @property
    def mean_own(self) -> float:
        return statistics.fmean(self.own)

    @property
    def mean_all(self) -> float:
        return statistics.fmean((*self.own, *self.others))


Confidence = Callable[[Run], float]


def recalibrated(runs: Sequence[Run], votes: Confidence) -> Confidence:
    """Platt scaling of the votes' log-odds."""
    shift, scale = _logistic([(log_odds(votes(run)), run.right) for run in runs], towards=1.0)
    return lambda run: chance(shift + scale * log_odds(votes(run)))


def logprob_alone(runs: Sequence[Run]) -> Confidence:
    """Logistic regression on the mean log-probability of all samples."""
    means = [run.mean_all for run in runs]
    centre, spread = statistics.fmean(means), statistics.pstdev(means)
    places = [((mean - centre) / spread, run.right) for mean, run in zip(means, runs, strict=True)]
    shift, scale = _logistic(places, towards=0.0)
    return lambda run: chance(shift + scale * (run.mean_all - centre) / spread)


def likelihood_product(runs: Sequence[Run], votes: Confidence) -> Confidence:
    """The ratio of two normal densities for each of the answer's samples, as if they knew nothing of each other."""
    right = [one for run in runs if run.right for one in run.own]
    wrong = [one for run in runs if not run.right for one in run.own]
    if min(len(right), len(wrong)) < 2:
        return votes
    normals = [statistics.NormalDist.from_samples(found) for found in (right, wrong)]

    def ratio(logprob: float) -> float:
        ups, downs = (
            -math.log(one.stdev) - ((logprob - one.mean) / one.stdev) ** 2 / 2 for one in normals
        )
        return ups - downs

    return lambda run: chance(log_odds(votes(run)) + math.fsum(map(ratio, run.own)))


def log_odds(probability: float) -> float:
    within = min(max(probability, _EDGE), 1 - _EDGE)
    return math.log(within / (1 - within))


def chance(odds: float) -> float:
    return 1 / (1 + math.exp(-min(max(odds, -500.0), 500.0)))


def _logistic(pairs: Sequence[tuple[float, bool]], *, towards: float) -> tuple[float, float]:
    """(intercept, slope) by Newton's method; the slope's prior is normal around ``towards``."""
    shift, scale = 0.0, towards
    for _ in range(_STEPS):
        errors = [(x, chance(shift + scale * x), right) for x, right in pairs]
        spreads = [(x, p * (1 - p)) for x, p, _ in errors]
        up = math.fsum(right - p for _, p, right in errors) - _EDGE * shift
        along = math.fsum(x * (right - p) for x, p, right in errors) - _RIDGE * (scale - towards)
        a = math.fsum(w for _, w in spreads) + _EDGE
        b = math.fsum(x * w for x, w in spreads)
        c = math.fsum(x * x * w for x, w in spreads) + _RIDGE
        whole = a * c - b * b
        shift += (c * up - b * along) / whole
        scale += (a * along - b * up) / whole
    return shift, scale
