"""A picture of reports: tokens/s and J/token against the width of the wave."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tt_compute.bench.report import BenchReport
from tt_compute.plotting import new_figure, save_figure

__all__ = ["plot"]


def plot(reports: Sequence[BenchReport], path: Path) -> None:
    """Draw tokens/s with its spread and, where it was measured, J/token; writes a PNG, whatever the name.

    Raises:
        UsageError: The file cannot be written.
    """
    known = any(wave.j_per_token for report in reports for wave in report.waves)
    figure = new_figure(7, 7 if known else 4)
    upper, *lower = figure.subplots(1 + known, 1, sharex=True, squeeze=False)[:, 0]
    for report in reports:
        _draw_speed(upper, report)
        for axes in lower:
            _draw_energy(axes, report)
    _label(upper, "tokens/s", reports)
    for axes in lower:
        _label(axes, "J/token, idle power included", reports)
    (lower or [upper])[-1].set_xlabel("samples drawn together")
    save_figure(figure, path)


def _draw_speed(axes: Any, report: BenchReport) -> None:
    speeds = [wave.tokens_per_s for wave in report.waves]
    medians = [speed.median for speed in speeds]
    below = [speed.median - speed.low for speed in speeds]
    above = [speed.high - speed.median for speed in speeds]
    widths = [wave.width for wave in report.waves]
    axes.errorbar(
        widths, medians, yerr=[below, above], marker="o", capsize=3, label=report.deployment
    )


def _draw_energy(axes: Any, report: BenchReport) -> None:
    known = [(wave.width, wave.j_per_token) for wave in report.waves if wave.j_per_token]
    axes.plot(*zip(*known, strict=True), marker="s", label=report.deployment)


def _label(axes: Any, quantity: str, reports: Sequence[BenchReport]) -> None:
    widths = sorted({wave.width for report in reports for wave in report.waves})
    axes.set_xscale("log", base=2)
    axes.set_xticks(widths, [str(width) for width in widths])
    axes.set_ylabel(quantity)
    axes.set_ylim(0, None)
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
