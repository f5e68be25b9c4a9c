"""Predicted against actual, over past runs: how well plans came true, and whether they drift."""

from __future__ import annotations

import itertools
import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from tt_compute.store.runs import RunRecord
from tt_compute.strategies.naming import names_deployments

__all__ = ["Bin", "GroupReport", "Quantity", "Share", "report_groups", "wilson"]

_Z95: Final = 1.959964
_DRIFT: Final = 1.25
"""A median ratio of actual over predicted beyond this, or below its inverse, in the latest runs is drift."""
_LATEST: Final = 20
_LEAST: Final = 5
"""Fewer runs say nothing of drift."""
_BINS: Final = 5


class Quantity(msgspec.Struct, frozen=True, kw_only=True):
    """Means over the runs where both are known, and how a typical run differed."""

    runs: int
    predicted: float
    actual: float
    ratio_median: float | None
    """Of actual over predicted; None where predictions are 0."""


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """A proportion with its 95 % interval (Wilson 1927)."""

    n: int
    share: float
    low: float
    high: float


class Bin(msgspec.Struct, frozen=True, kw_only=True):
    """Judged runs of about the same confidence."""

    n: int
    confidence: float
    correct: float


class GroupReport(msgspec.Struct, frozen=True, kw_only=True):
    """One deployment and kind of task; runs that asked several deployments by themselves, by strategy."""

    deployment: str
    strategy: str | None
    """Of runs across deployments, such as a panel's: what came of them is not that of the deployment alone."""
    task: str
    runs: int
    judged: int
    quality: Share | None
    """Of the judged runs, those that were right; None without a verdict."""
    quality_predicted: float | None
    """Mean over the judged runs."""
    latency_s: Quantity | None
    """Against the predicted p50."""
    over_p50: Share | None
    over_p95: Share | None
    """Runs that took longer than predicted for 95 of 100."""
    cost_usd: Quantity | None
    samples: Quantity | None
    energy_j: Quantity | None
    calibration: tuple[Bin, ...]
    warnings: tuple[str, ...]


def report_groups(runs: Iterable[RunRecord]) -> list[GroupReport]:
    """One for each deployment and kind of task, in the order of their names."""
    groups: dict[tuple[str, str, str], list[RunRecord]] = defaultdict(list)
    for run in runs:
        across = run.strategy if names_deployments(run.strategy) else ""
        groups[run.deployment, across, run.task].append(run)
    return [_group(*key, found) for key, found in sorted(groups.items())]


def wilson(right: float, n: int) -> Share:
    """The proportion ``right`` of ``n`` with Wilson's score interval, 95 % (Wilson 1927).

    Of means of several tries each, which ``right`` may be a sum of, the interval is wider than it need be.
    """
    p, z2 = right / n, _Z95**2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return Share(n=n, share=p, low=centre - half, high=centre + half)


def _group(deployment: str, across: str, task: str, runs: Sequence[RunRecord]) -> GroupReport:
    judged = [run for run in runs if run.correct is not None]
    rights = sum(bool(run.correct) for run in judged)
    predicted = [run.predicted_quality for run in judged if run.predicted_quality is not None]
    quality = wilson(rights, len(judged)) if judged else None
    mean_predicted = statistics.fmean(predicted) if predicted else None
    return GroupReport(
        deployment=deployment,
        strategy=across or None,
        task=task,
        runs=len(runs),
        judged=len(judged),
        quality=quality,
        quality_predicted=mean_predicted,
        latency_s=_quantity(runs, _latency),
        over_p50=_over(runs, lambda run: run.predicted_latency_p50_s),
        over_p95=_over(runs, lambda run: run.predicted_latency_p95_s),
        cost_usd=_quantity(runs, lambda run: (run.predicted_cost_usd, run.cost_usd)),
        samples=_quantity(runs, _samples),
        energy_j=_quantity(runs, lambda run: (run.predicted_energy_j, run.energy_j)),
        calibration=_bins(judged),
        warnings=tuple(_drift(runs, quality, mean_predicted)),
    )


Pair = Callable[[RunRecord], tuple[float | None, float | None]]


def _latency(run: RunRecord) -> tuple[float | None, float | None]:
    return run.predicted_latency_p50_s, run.latency_s


def _samples(run: RunRecord) -> tuple[float | None, float | None]:
    return run.predicted_samples_mean, run.samples_drawn


def _pairs(runs: Sequence[RunRecord], pair: Pair) -> list[tuple[float, float]]:
    both = (pair(run) for run in runs)
    return [
        (predicted, actual)
        for predicted, actual in both
        if predicted is not None and actual is not None
    ]


def _quantity(runs: Sequence[RunRecord], pair: Pair) -> Quantity | None:
    known = _pairs(runs, pair)
    if not known:
        return None
    ratios = [actual / predicted for predicted, actual in known if predicted > 0]
    return Quantity(
        runs=len(known),
        predicted=statistics.fmean(predicted for predicted, _ in known),
        actual=statistics.fmean(actual for _, actual in known),
        ratio_median=statistics.median(ratios) if ratios else None,
    )


def _over(runs: Sequence[RunRecord], limit: Callable[[RunRecord], float | None]) -> Share | None:
    known = [(run.latency_s, at) for run in runs if (at := limit(run)) is not None]
    return wilson(sum(took > at for took, at in known), len(known)) if known else None


def _bins(judged: Sequence[RunRecord]) -> tuple[Bin, ...]:
    """As many runs in each, in the order of their confidence."""
    known = sorted(
        (run.confidence, bool(run.correct)) for run in judged if run.confidence is not None
    )
    if not known:
        return ()
    count = min(_BINS, max(1, len(known) // _LEAST))
    edges = [round(len(known) * at / count) for at in range(count + 1)]
    parts = [known[start:end] for start, end in itertools.pairwise(edges)]
    return tuple(
        Bin(
            n=len(part),
            confidence=statistics.fmean(confidence for confidence, _ in part),
            correct=statistics.fmean(correct for _, correct in part),
        )
        for part in parts
    )


def _drift(
    runs: Sequence[RunRecord], quality: Share | None, predicted: float | None
) -> Iterable[str]:
    latest = runs[-_LATEST:]
    pairs: tuple[tuple[str, Pair], ...] = (("latency", _latency), ("samples", _samples))
    for name, pair in pairs:
        found = _quantity(latest, pair)
        if found is None or found.runs < _LEAST or found.ratio_median is None:
            continue
        if not 1 / _DRIFT <= found.ratio_median <= _DRIFT:
            yield (
                f"{name} is {found.ratio_median:.2f} times the prediction in the latest {found.runs} runs"
            )
    if quality is None or predicted is None or quality.n < _LEAST:
        return
    if not quality.low <= predicted <= quality.high:
        yield (
            f"{quality.share:.0%} of {quality.n} judged answers were right, and {predicted:.0%} were predicted"
        )
