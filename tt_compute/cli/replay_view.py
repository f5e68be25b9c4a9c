"""How replays look on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from tt_compute.cli.shared import counted
from tt_compute.cli.table import columns
from tt_compute.replay.figures import Figures
from tt_compute.replay.lab import Report
from tt_compute.replay.play import Policy
from tt_compute.replay.sweep import Row

__all__ = ["report_view", "sweep_view"]

_HEADER = (
    "accuracy",
    "95 %",
    "samples",
    "tokens",
    "cancelled",
    "waves",
    "steps",
    "latency",
    "cost",
    "abstained",
)
_OUT_OF_SIGHT = "-"


def report_view(report: Report, policy: Policy) -> Text:
    """A policy above its baselines."""
    found = {
        _name(policy): report.figures,
        "single": report.baselines.single,
        f"fixed {policy.budget}": report.baselines.fixed_n,
        "oracle": report.baselines.oracle,
    }
    rows = [(name, *_cells(figures)) for name, figures in found.items()]
    table = columns(rows, header=("", *_HEADER), right=range(1, len(_HEADER) + 1))
    return Text("\n").join([Text(counted(report.questions, "question")), table])


def sweep_view(rows: Sequence[Row], questions: int) -> Text:
    """Every policy; those that nothing beats are marked."""
    lines = [
        (
            "*" if row.pareto else "",
            _weighed(row.policy),
            row.policy.stop_rule or _OUT_OF_SIGHT,
            _OUT_OF_SIGHT if row.policy.ahead == 1 else f"{row.policy.ahead:.0%}",
            str(row.policy.budget),
            *_cells(row.figures),
        )
        for row in rows
    ]
    header = ("", "strategy", "stop rule", "ahead", "budget", *_HEADER)
    table = columns(lines, header=header, right=range(3, len(header)))
    note = "* nothing else is as accurate, as cheap and as quick"
    return Text("\n").join([Text(counted(questions, "question")), table, Text(note)])


def _name(policy: Policy) -> str:
    ahead = "" if policy.ahead == 1 else f" ahead from {policy.ahead:.0%}"
    return _weighed(policy) + (f", {policy.stop_rule}{ahead}" if policy.stop_rule else "")


def _weighed(policy: Policy) -> str:
    return policy.strategy + (f" by {policy.weight}" if policy.weight else "")


def _cells(found: Figures) -> tuple[str, ...]:
    low, high = found.accuracy_ci95
    return (
        f"{found.accuracy:.2%}",
        f"{low:.1%}-{high:.1%}",
        f"{found.samples_mean:.2f}",
        _number(found.output_tokens_mean, ".0f"),
        _number(found.cancelled_tokens_mean, ".0f"),
        f"{found.waves_mean:.2f}",
        _number(found.latency_tokens_mean, ".0f"),
        _number(found.latency_s_mean, ".3g", " s"),
        _number(found.cost_usd_mean, ".3g", " USD"),
        f"{found.abstained:g}",
    )


def _number(value: float | None, form: str, unit: str = "") -> str:
    return _OUT_OF_SIGHT if value is None else f"{value:{form}}{unit}"
