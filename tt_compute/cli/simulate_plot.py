"""A picture of a sweep: latency and goodput against the rate of arrivals."""

from __future__ import annotations

from pathlib import Path

from tt_compute.errors import UsageError
from tt_compute.plotting import new_figure, save_figure
from tt_compute.simulation.report import Report

__all__ = ["plot_sweep"]


def plot_sweep(report: Report, path: Path) -> None:
    """Draw it as a PNG, whatever the file's name.

    Raises:
        UsageError: No request was served, or the file cannot be written.
    """
    known = [row for row in report.sweep if row.p50_s is not None]
    if not known:
        raise UsageError("there is nothing to draw: no request could be served")
    figure = new_figure(7, 7)
    upper, lower = figure.subplots(2, 1, sharex=True)
    rates = [row.rate_per_s for row in known]
    upper.plot(rates, [row.p50_s for row in known], marker="o", label="p50")
    upper.plot(rates, [row.p95_s for row in known], marker="s", label="p95")
    upper.set_yscale("log")
    upper.set_ylabel("simulated latency, s")
    lower.plot(rates, [row.goodput_per_s for row in known], marker="o", label="goodput")
    lower.plot(rates, rates, linestyle=":", color="grey", label="arrivals")
    lower.set_ylabel("requests per second answered in time")
    lower.set_xlabel("arrivals per second")
    for axes in (upper, lower):
        if report.saturation.rate_per_s is not None:
            axes.axvline(report.saturation.rate_per_s, color="grey", lw=1)
        axes.grid(visible=True, alpha=0.3)
        axes.legend(fontsize="small")
    save_figure(figure, path)
