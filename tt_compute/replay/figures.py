"""Means over replayed runs: accuracy, samples, tokens, latency, cost."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from tt_compute.planning.figures import Figures as DeploymentFigures
from tt_compute.planning.figures import Line, Meter
from tt_compute.planning.runs import Load, RunShape
from tt_compute.replay.play import Course
from tt_compute.reporting import wilson

__all__ = ["Bill", "Figures", "figures_of"]


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Of one policy, as means over questions and orders; None is unknown."""

    accuracy: float
    accuracy_ci95: tuple[float, float]
    """Wilson's interval over the questions."""
    samples_mean: float
    output_tokens_mean: float | None
    """None without recorded tokens, as all that follows from them."""
    cancelled_tokens_mean: float | None
    """The part of it in cancelled samples."""
    waves_mean: float
    """Samples that followed one upon the other."""
    latency_tokens_mean: float | None
    """Decode steps until the answer."""
    latency_s_mean: float | None
    cost_usd_mean: float | None
    abstained: float
    """Questions without an answer; a mean over the orders."""


class Bill(NamedTuple):
    """Where runs are put to seconds and dollars."""

    meter: Meter
    prompt_tokens: int
    """Of every question: files hold no prompts."""

    def charge(self, load: Load, tokens_mean: float) -> tuple[float | None, float | None]:
        """(seconds, USD) of a mean run; both are linear in its work, so they are the means over the runs."""
        shape = RunShape(
            quality=None, samples_mean=load.samples, tokens_mean=tokens_mean, mean=load, p50=load
        )
        found: DeploymentFigures = self.meter.figures(shape, tokens_mean / load.samples)
        return self._at(found.latency_p50_s), self._at(found.cost_usd)

    def unknown(self) -> list[str]:
        """Why seconds or dollars could not be told."""
        return [*self.meter.unknown["speed"], *self.meter.unknown["price"]]

    def _at(self, line: Line) -> float | None:
        value = line.at(self.prompt_tokens, self.meter.prefill.seconds(self.prompt_tokens))
        return value if math.isfinite(value) else None


def figures_of(courses: Sequence[Sequence[Course]], *, timed: bool, bill: Bill | None) -> Figures:
    """The means.

    Args:
        courses: The runs of each question; every question counts alike.
        timed: Whether tokens were recorded.
        bill: Where to put it; None = nowhere.
    """
    right = _over(courses, "right")
    interval = wilson(right * len(courses), len(courses))
    tokens = _over(courses, "output_tokens")
    latency_s, cost_usd = (
        bill.charge(_load(courses), tokens) if timed and bill is not None else (None, None)
    )
    return Figures(
        accuracy=right,
        accuracy_ci95=(max(0.0, interval.low), min(1.0, interval.high)),
        samples_mean=_over(courses, "samples"),
        output_tokens_mean=tokens if timed else None,
        cancelled_tokens_mean=_over(courses, "cancelled_tokens") if timed else None,
        waves_mean=_over(courses, "waves"),
        latency_tokens_mean=_over(courses, "steps") if timed else None,
        latency_s_mean=latency_s,
        cost_usd_mean=cost_usd,
        abstained=math.fsum(_mean(course.abstained for course in own) for own in courses),
    )


def _over(courses: Sequence[Sequence[Course]], name: str) -> float:
    return _mean(_mean(getattr(course, name) for course in own) for own in courses)


def _mean(values: Iterable[float]) -> float:
    return statistics.fmean(values)


def _load(courses: Sequence[Sequence[Course]]) -> Load:
    steps: dict[int, float] = defaultdict(float)
    for own in courses:
        for course in own:
            for width, count in course.widths:
                steps[width] += count / len(own) / len(courses)
    return Load(
        waves=_over(courses, "waves"),
        samples=_over(courses, "samples"),
        steps=tuple(sorted(steps.items())),
    )
