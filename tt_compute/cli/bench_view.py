"""How the report of a benchmark looks on a terminal."""

from __future__ import annotations

from rich.text import Text

from tt_compute.bench.report import BenchReport, Spread, WaveFigures
from tt_compute.cli.shared import counted, printable
from tt_compute.cli.table import columns

__all__ = ["report_view"]

_HEADER = ("samples", "tokens/s", "low-high", "TTFT", "TPOT", "length")
_ENERGY_HEADER = ("J/token", "above idle")


def report_view(report: BenchReport) -> Text:
    """A line for each width, and below it what does not depend on the width."""
    metered = report.energy_source is not None
    header = _HEADER + (_ENERGY_HEADER if metered else ())
    rows = [_row(wave, metered=metered) for wave in report.waves]
    facts = [(name, printable(value)) for name, value in _facts(report).items()]
    return Text("\n").join(
        [
            Text(printable(report.deployment), "bold"),
            columns(rows, header=header, right=range(len(header))),
            Text(),
            columns(facts),
        ]
    )


def _row(wave: WaveFigures, *, metered: bool) -> tuple[str, ...]:
    speed = wave.tokens_per_s
    cells = (
        str(wave.width),
        f"{speed.median:.0f}",
        f"{speed.low:.0f}-{speed.high:.0f}",
        _seconds(wave.first_token_s),
        _seconds(wave.token_s),
        f"{wave.mean_tokens:.0f}",
    )
    energy = (_joules(wave.j_per_token), _joules(wave.j_per_token_above_idle))
    return cells + (energy if metered else ())


def _facts(report: BenchReport) -> dict[str, str]:
    rate = report.prefill_tokens_per_s
    return {
        "measured": f"medians of {counted(report.rounds, 'round')}, at most {report.new_tokens} new tokens",
        "prompt": _number(report.prompt_tokens, "tokens"),
        "model load": "unknown" if report.load_s is None else f"{report.load_s:.2f} s",
        "prefill": _number(None if rate is None else rate.median, "tokens/s"),
        "late draw": f"{_seconds(report.late_first_token_s)} to its first token",
        "memory": _memory(report),
        "energy": _energy(report),
    }


def _memory(report: BenchReport) -> str:
    known = [(wave.width, wave.memory_bytes) for wave in report.waves if wave.memory_bytes]
    if not known:
        return "unknown"
    ends = dict((known[0], known[-1]))
    figures = ", ".join(f"{size / 1e6:.0f} MB at {width}" for width, size in ends.items())
    return f"{figures}; resident, engines included"


def _energy(report: BenchReport) -> str:
    if report.energy_source is None:
        return f"unknown; {report.energy_reason}"
    idle = "unknown" if report.idle_w is None else f"{report.idle_w:.1f} W"
    left_out = f"; without {report.energy_reason}" if report.energy_reason else ""
    return f"of {report.energy_source}; idle {idle}{left_out}"


def _seconds(spread: Spread | None) -> str:
    if spread is None:
        return "unknown"
    return f"{spread.median * 1000:.1f} ms" if spread.median < 1 else f"{spread.median:.2f} s"


def _joules(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3g}"


def _number(value: float | None, unit: str) -> str:
    return "unknown" if value is None else f"{value:.0f} {unit}"
