"""How a simulation looks on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from tt_compute.cli.shared import counted, printable
from tt_compute.cli.table import Cell, columns
from tt_compute.simulation.report import FleetEntry, PlanEntry, Report, SweepRow

__all__ = ["report_view"]

_MOST_PLANS = 12


def report_view(report: Report) -> Text:
    """What arrives and how it is planned, what comes of it, where, and where it ends."""
    parts = [
        Text(_workload(report), "bold"),
        _plans(report.plans),
        _figures(report),
        _fleet(report.fleet),
        Text(_saturation(report)),
    ]
    if report.sweep:
        parts.append(_sweep(report.sweep))
    return Text("\n\n").join(parts)


def _workload(report: Report) -> str:
    workload = report.workload
    rate = "all at once" if workload.rate_per_s is None else f"{workload.rate_per_s:.4g} per second"
    unserved = f", {report.unserved} of them not served" if report.unserved else ""
    return f"{counted(workload.requests, 'request')}, {rate}{unserved}; simulated, seed {workload.seed}"


def _plans(plans: Sequence[PlanEntry]) -> Text:
    """Those of the most requests."""
    often = sorted(plans, key=lambda plan: -plan.requests)
    rows: list[Sequence[Cell] | Text] = [_plan(plan) for plan in often[:_MOST_PLANS]]
    if len(plans) > _MOST_PLANS:
        rows.append(Text(f"and {counted(len(plans) - _MOST_PLANS, 'kind')} of fewer requests"))
    header = "task", "prompt", "sample", "requests", "planned", "on", "p50", "quality", "else on"
    return columns(rows, header=header, right=(1, 2, 3, 6, 7))


def _plan(plan: PlanEntry) -> Sequence[Cell]:
    what, predicted = "nothing", plan.predicted
    if plan.strategy is not None:
        what = plan.strategy + (f" of {plan.max_samples}" if plan.max_samples != 1 else "")
    return (
        plan.task,
        str(plan.input_tokens),
        "-" if plan.output_tokens is None else str(plan.output_tokens),
        str(plan.requests),
        what,
        printable(plan.deployment or "-"),
        _seconds(None if predicted is None else predicted.latency_p50_s),
        _plain(None if predicted is None else predicted.quality, "{:.2f}"),
        printable(", ".join(plan.else_at) or "-"),
    )


def _figures(report: Report) -> Text:
    latency = report.latency_s
    quantiles = ("p50", "p90", "p95", "p99")
    shown = ", ".join(f"{name} {_seconds(getattr(latency, name))}" for name in quantiles)
    spread = "unknown" if latency.mean is None else f"mean {_seconds(latency.mean)}, {shown}"
    per_request = f", {_usd(report.cost_usd_per_request)} per request"
    cost = _usd(report.cost_usd) + ("" if report.cost_usd is None else per_request)
    rows = (
        ("latency", spread),
        ("goodput", _plain(report.goodput_per_s, "{:.4g} per second")),
        ("throughput", _plain(report.throughput_per_s, "{:.4g} per second")),
        ("samples", _plain(report.samples_mean, "{:.2f} per request")),
        ("cost", cost),
        ("energy", _plain(report.energy_j, "{:.4g} J")),
    )
    return columns(rows)


def _fleet(fleet: Sequence[FleetEntry]) -> Text:
    rows = [
        (
            printable(one.deployment),
            str(one.replicas),
            str(one.requests),
            _plain(one.utilisation, "{:.1%}"),
            _plain(one.busy, "{:.1%}"),
            _usd(one.cost_usd),
            _plain(one.energy_j, "{:.4g} J"),
        )
        for one in fleet
    ]
    header = "deployment", "copies", "requests", "used", "busy", "cost", "energy"
    return columns(rows, header=header, right=range(1, len(header)))


def _saturation(report: Report) -> str:
    end = report.saturation
    if end.rate_per_s is None:
        return f"where it saturates is unknown: {printable(end.reason or '')}"
    where = printable(f"{end.binds} of {end.deployment}")
    return f"saturates at {end.rate_per_s:.4g} requests per second, by {where}"


def _sweep(rows: Sequence[SweepRow]) -> Text:
    cells = [
        (
            f"{row.rate_per_s:.4g}",
            _seconds(row.p50_s),
            _seconds(row.p95_s),
            _plain(row.goodput_per_s, "{:.4g}"),
            _plain(row.utilisation, "{:.1%}"),
            _usd(row.cost_usd_per_hour),
        )
        for row in rows
    ]
    header = "rate/s", "p50", "p95", "goodput/s", "used", "cost/h"
    return columns(cells, header=header, right=range(len(header)))


def _plain(value: float | None, form: str) -> str:
    return "unknown" if value is None else form.format(value)


def _seconds(value: float | None) -> str:
    if value is None:
        return "unknown"
    return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.4g} s"


def _usd(value: float | None) -> str:
    if value is None:
        return "unknown"
    return f"${value:.2f}" if value >= 1 else f"${value:.4g}"
