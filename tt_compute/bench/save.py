"""Keeps a report: as JSON, and as a configuration whose speeds are the measured ones."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tt_compute.bench.report import BenchReport
from tt_compute.files import write_file

__all__ = ["file_name", "overlay_text", "save"]

_HEAD = """\
# Measured by `ttc bench`. A configuration as it stands (--config); its entry replaces the one of the same
# deployment in ttc.yaml, or its `speed` goes into a deployment that ttc.yaml states in full.
version: 1
deployments:
"""


def save(report: BenchReport, folder: Path, *, as_of: str) -> list[Path]:
    """Write the report as JSON and as YAML and return where; files of the same deployment are replaced.

    Args:
        report: What was measured.
        folder: An existing one.
        as_of: ISO date of the measurement.

    Raises:
        UsageError: The folder cannot be written.
    """
    name = file_name(report)
    written = [folder / f"{name}.json", folder / f"{name}.yaml"]
    document = json.dumps(msgspec.to_builtins(report), indent=2, allow_nan=False)
    write_file(written[0], f"{document}\n".encode())
    write_file(written[1], overlay_text(report, as_of).encode())
    return written


def file_name(report: BenchReport) -> str:
    """The deployment's id as a name that every system takes, without a suffix."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", report.deployment)


def overlay_text(report: BenchReport, as_of: str) -> str:
    """A ``ttc.yaml`` with one entry, which states the measured speed and nothing else.

    TTFT is that of the short prompt: what a longer one takes on top is in the prefill rate. No p95 is
    stated, since a few rounds do not tell it.
    """
    speed = [f"        {line}" for line in _speed(report, as_of)]
    lines = [
        f"  - id: {json.dumps(report.deployment)}",
        "    override:",
        "      speed:" if speed else "      speed: {}",
        *speed,
    ]
    return _HEAD + "\n".join(lines) + "\n"


def _speed(report: BenchReport, as_of: str) -> Iterator[str]:
    def fact(value: float) -> str:
        return f"{{value: {value:.4g}, source: ttc bench, as_of: {as_of}, status: measured}}"

    alone = report.wave(1)
    spreads = {
        "ttft_s": report.short_prompt_first_token_s,
        "prefill_tokens_per_s": report.prefill_tokens_per_s,
        "decode_tokens_per_s": None if alone is None else alone.decode_tokens_per_s,
    }
    yield from (f"{name}: {fact(known.median)}" for name, known in spreads.items() if known)
    if report.short_prompt_tokens is not None:
        yield f"ttft_prompt_tokens: {fact(report.short_prompt_tokens)}"
    elif report.short_prompt_first_token_s is not None:
        # Not that of the profile, which is of other prompts.
        yield "ttft_prompt_tokens: null"
    if report.load_s is not None:
        yield f"load_s: {fact(report.load_s)}"
    # A wave that did not run at its width says nothing of that width.
    rates = {
        wave.width: wave.decode_tokens_per_s for wave in report.waves if wave.at_once == wave.width
    }
    known_rates = {width: rate.median for width, rate in rates.items() if rate is not None}
    if known_rates:
        yield "decode_tokens_per_s_by_wave:"
        yield from (f"  '{width}': {fact(rate)}" for width, rate in known_rates.items())
