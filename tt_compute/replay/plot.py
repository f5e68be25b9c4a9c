"""A picture of a sweep: accuracy against what it takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tt_compute.plotting import new_figure, save_figure
from tt_compute.replay.sweep import Row

__all__ = ["plot_sweep"]


def plot_sweep(rows: Sequence[Row], path: Path) -> None:
    """Draw it as a PNG, whatever the file's name: what nothing beats is filled and named by its budget.

    Raises:
        UsageError: The file cannot be written.
    """
    figure = new_figure(11, 5)
    left, right = figure.subplots(1, 2, sharey=True)
    timed = all(row.figures.output_tokens_mean is not None for row in rows)
    amounts = ("output tokens", "latency, decode steps") if timed else ("samples", "waves")
    for name in dict.fromkeys(_name(row) for row in rows):
        own = [row for row in rows if _name(row) == name]
        for place, axes in enumerate((left, right)):
            _draw(axes, own, name, place)
    for axes, amount in zip((left, right), amounts, strict=True):
        axes.set_xscale("symlog", linthresh=1)
        axes.set_xlabel(f"{amount}, mean")
        axes.grid(visible=True, alpha=0.3)
    left.set_ylabel("accuracy")
    left.legend(fontsize="small", loc="lower right")
    save_figure(figure, path)


def _draw(axes: Any, rows: Sequence[Row], name: str, place: int) -> None:
    points = [(_amounts(row)[place], row.figures.accuracy) for row in rows]
    line = axes.plot(
        *zip(*points, strict=True), marker="o", markerfacecolor="white", lw=0.8, label=name
    )[0]
    for row, point in zip(rows, points, strict=True):
        if row.pareto:
            axes.plot(*point, marker="o", color=line.get_color())
            axes.annotate(str(row.policy.budget), point, fontsize="x-small")


def _amounts(row: Row) -> tuple[float, float]:
    found = row.figures
    if found.output_tokens_mean is None or found.latency_tokens_mean is None:
        return found.samples_mean, found.waves_mean
    return found.output_tokens_mean, found.latency_tokens_mean


def _name(row: Row) -> str:
    policy = row.policy
    ahead = "" if policy.ahead == 1 else f" ahead from {policy.ahead:.0%}"
    return policy.strategy + (f", {policy.stop_rule}{ahead}" if policy.stop_rule else "")
