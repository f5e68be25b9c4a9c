"""Keeps a report: as JSON, as an override for a configuration, and as a picture."""

from __future__ import annotations

import importlib
import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from tt_compute.bench.measure import BenchReport
from tt_compute.errors import BackendUnavailable

__all__ = ["check_plotting", "override_text", "plot", "save"]


def save(report: BenchReport, folder: Path, *, as_of: str) -> list[Path]:
    """Write the report as JSON and as YAML to paste, and as a picture where matplotlib is installed.

    Args:
        report: What was measured.
        folder: Made if need be.
        as_of: ISO date of the measurement.

    Raises:
        OSError: The folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", report.deployment)
    written = [folder / f"{name}.json", folder / f"{name}.yaml"]
    document = json.dumps(msgspec.to_builtins(report), indent=2, allow_nan=False)
    written[0].write_text(f"{document}\n", encoding="utf-8")
    written[1].write_text(override_text(report, as_of), encoding="utf-8")
    if find_spec("matplotlib") is not None:
        written.append(folder / f"{name}.png")
        plot(report, written[-1])
    return written


def override_text(report: BenchReport, as_of: str) -> str:
    """An entry for ``deployments:`` of a ``ttc.yaml`` that states the measured speed."""

    def fact(value: float) -> str:
        return f"{{value: {value:.4g}, source: ttc bench, as_of: {as_of}, status: measured}}"

    lines = [
        "# Measured by `ttc bench`; to be used as an entry of `deployments:` in ttc.yaml.",
        f"- id: {report.deployment}",
        "  override:",
        "    speed:",
        f"      load_s: {fact(report.load_s)}",
    ]
    if report.prefill_tokens_per_s is not None:
        lines.append(f"      prefill_tokens_per_s: {fact(report.prefill_tokens_per_s)}")
    alone = [wave for wave in report.waves if wave.width == 1 and wave.token_s is not None]
    for wave in alone:
        assert wave.token_s is not None
        first = wave.first_token_s
        lines.append(f"      decode_tokens_per_s: {fact(1 / wave.token_s.median)}")
        both = f"{{p50: {first.median:.4g}, p95: {first.high:.4g}}}"
        lines.append(
            f"      ttft_s: {{value: {both}, source: ttc bench, as_of: {as_of}, status: measured}}"
        )
    lines.append("      decode_tokens_per_s_by_wave:")
    lines += [f"        '{wave.width}': {fact(wave.tokens_per_s.median)}" for wave in report.waves]
    return "\n".join(lines) + "\n"


def check_plotting() -> None:
    """Say what is missing before anything is measured.

    Raises:
        BackendUnavailable: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise BackendUnavailable(
            "a plot needs matplotlib, which is not installed", hint='pip install "tt-compute[plot]"'
        )


def plot(report: BenchReport, path: Path) -> None:
    """Draw tokens/s and, where it was measured, J/token against the width of the wave."""
    library: Any = importlib.import_module("matplotlib.figure")
    figure = library.Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    widths = [wave.width for wave in report.waves]
    speeds = [wave.tokens_per_s for wave in report.waves]
    medians = [speed.median for speed in speeds]
    spread = [
        [speed.median - speed.low for speed in speeds],
        [speed.high - speed.median for speed in speeds],
    ]
    axes.errorbar(widths, medians, yerr=spread, marker="o", capsize=3, label="tokens/s")
    axes.set(xlabel="samples at once", ylabel="tokens/s", title=report.deployment, ylim=(0, None))
    axes.set_xscale("log", base=2)
    axes.set_xticks(widths, [str(width) for width in widths])
    energies = [wave.j_per_token for wave in report.waves]
    if None not in energies:
        right = axes.twinx()
        right.plot(widths, energies, marker="s", color="tab:red")
        right.set_ylabel("J/token", color="tab:red")
        right.set_ylim(0, None)
    axes.grid(visible=True, alpha=0.3)
    figure.savefig(path, dpi=120)
