"""A picture of a plan: every candidate by latency and quality, and the frontier that nothing beats."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tt_compute.cli.render import ahead_marks, short_strategy, where
from tt_compute.errors import UsageError
from tt_compute.planning.types import Candidate, Plan
from tt_compute.plotting import new_figure, save_figure

__all__ = ["frontier", "plot_plan"]


class Point(NamedTuple):
    """A candidate in the picture."""

    latency_s: float
    quality: float
    candidate: Candidate


def plot_plan(plan: Plan, path: Path) -> None:
    """Draw it as a PNG, whatever the file's name.

    Raises:
        UsageError: No candidate has a known latency and quality, or the file cannot be written.
    """
    points = list(_points(plan.candidates))
    if not points:
        raise UsageError(
            "there is nothing to draw: no candidate's latency and quality are both known"
        )
    figure = new_figure(8, 5)
    axes = figure.subplots()
    for place in dict.fromkeys(where(point.candidate) for point in points):
        own = [point for point in points if where(point.candidate) == place]
        axes.scatter([p.latency_s for p in own], [p.quality for p in own], s=18, label=place)
    best = frontier(points)
    axes.step(
        [p.latency_s for p in best], [p.quality for p in best], where="post", color="grey", lw=1
    )
    chosen = [point for point in points if point.candidate == plan.chosen]
    marks = ahead_marks(point.candidate for point in points)
    for point in [*best, *(one for one in chosen if one not in best)]:
        one = point.candidate
        axes.annotate(
            f"{short_strategy(one)} {one.max_samples}{marks[one.ahead]}",
            (point.latency_s, point.quality),
            xytext=(4, 4),
            textcoords="offset points",
            fontsize="x-small",
        )
    axes.scatter(
        [p.latency_s for p in chosen],
        [p.quality for p in chosen],
        s=120,
        facecolors="none",
        edgecolors="red",
        label="chosen",
    )
    axes.set_xscale("log")
    axes.set_xlabel("predicted latency, p95, s")
    axes.set_ylabel("predicted quality")
    axes.legend(fontsize="small")
    save_figure(figure, path)


def frontier(points: Iterable[Point]) -> list[Point]:
    """Those that are better than every quicker one, quickest first."""
    best: list[Point] = []
    for point in sorted(points, key=lambda one: (one.latency_s, -one.quality)):
        if not best or point.quality > best[-1].quality:
            best.append(point)
    return best


def _points(candidates: Iterable[Candidate]) -> Iterable[Point]:
    for candidate in candidates:
        latency_s, quality = candidate.predicted.latency_p95_s, candidate.predicted.quality
        if latency_s is not None and latency_s > 0 and quality is not None:
            yield Point(latency_s, quality, candidate)
