"""``ttc calibrate``: measures the configured deployments, so that predictions come true on this machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from tt_compute.bench import calibration
from tt_compute.bench.calibration import Comparison
from tt_compute.bench.report import BenchReport, BenchSettings
from tt_compute.calibrated import (
    FILE_NAME,
    Calibrated,
    apply,
    calibrated_text,
    load_calibrated,
)
from tt_compute.cli.bench import Session, check_measurable, measurable
from tt_compute.cli.interrupts import INTERRUPTS
from tt_compute.cli.loop import run_async
from tt_compute.cli.shared import Output, command, example, printable
from tt_compute.cli.table import columns
from tt_compute.config import Config
from tt_compute.overlay import OverlayFile, write_overlay
from tt_compute.paths import config_dir
from tt_compute.profiles.schema import DeploymentSpec
from tt_compute.registry import Registry

__all__ = ["calibrate"]

_LOCAL = BenchSettings(waves=(1, 2, 4, 8, 16, 32), new_tokens=96, rounds=2)
_REMOTE = BenchSettings(waves=(1, 4), prompt_tokens=64, new_tokens=64, rounds=1)
"""A handful of calls."""


@click.command("calibrate", epilog=example("ttc calibrate"))
@click.option("--deployment", help="Id of the only deployment to measure; default: the configured.")
@click.option("--dry-run", is_flag=True, help="Measure and compare, and write nothing.")
@click.option("--yes", is_flag=True, help="Spend money at deployments that are not local.")
@command
def calibrate(output: Output, *, deployment: str | None, dry_run: bool, yes: bool) -> None:
    """Measure deployments and keep their speed beside the configuration, where plans read it."""
    config = Config.load(output.config, available=_available)
    specs = (config.spec(deployment),) if deployment else measurable(output, config)
    for spec in specs:
        check_measurable(spec, _settings(spec), yes=yes)
    folder = config_dir(os.environ) if config.file is None else config.file.parent
    known = dict(load_calibrated(folder))
    plain = Config.load(output.config, available=_available, calibrated=False)
    rows: dict[str, Sequence[Comparison]] = {}
    for spec in specs:
        session = Session(output, config, _settings(spec))
        run_async(session.run, (spec,))
        stated = plain.spec(spec.id)
        measured = _measured(stated, session.reports[0])
        rows[spec.id] = calibration.compare(spec, apply(stated, measured), session.reports[0])
        known[spec.id] = measured
    if not dry_run:
        with INTERRUPTS.held():
            write_overlay(folder / FILE_NAME, calibrated_text(known), OverlayFile[Calibrated])
    _tell(output, rows, None if dry_run else folder / FILE_NAME)


def _available(backend: str) -> bool:
    return Registry().probe(backend).available


def _settings(spec: DeploymentSpec) -> BenchSettings:
    return _REMOTE if spec.is_remote else _LOCAL


def _measured(spec: DeploymentSpec, report: BenchReport) -> Calibrated:
    here = spec.hardware.device == "cpu" and not spec.is_remote
    bandwidth = calibration.bandwidth_bytes_per_s(os.cpu_count() or 1) if here else None
    return calibration.calibrate(
        spec, report, bandwidth=bandwidth, as_of=datetime.now(UTC).date().isoformat()
    )


def _tell(output: Output, rows: dict[str, Sequence[Comparison]], file: Path | None) -> None:
    if output.as_json:
        documents: list[dict[str, Any]] = [
            {"deployment": name, "quantities": [_document(one) for one in compared]}
            for name, compared in rows.items()
        ]
        output.document({"deployments": documents, "file": None if file is None else str(file)})
        return
    for name, compared in rows.items():
        output.say(printable(name))
        table = [
            (
                one.quantity,
                f"{one.measured:.3g}",
                _shown(one.before, one.error_before),
                _shown(one.after, one.error_after),
            )
            for one in compared
        ]
        output.lay(columns(table, header=("quantity", "measured", "predicted before", "after")))
    if file is not None:
        output.wrote(file)


def _document(one: Comparison) -> dict[str, Any]:
    return {
        "quantity": one.quantity,
        "measured": one.measured,
        "before": one.before,
        "after": one.after,
        "error_before": one.error_before,
        "error_after": one.error_after,
    }


def _shown(value: float | None, error: float | None) -> str:
    return "unknown" if value is None or error is None else f"{value:.3g} ({error:+.0%})"
