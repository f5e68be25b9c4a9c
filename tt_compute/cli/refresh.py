"""``ttc profiles refresh``: reads what services offer into a file beside the configuration."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import click

from tt_compute.cli.codes import FAILED
from tt_compute.cli.interrupts import INTERRUPTS
from tt_compute.cli.loop import run_async
from tt_compute.cli.shared import Output, command, error_document, example, printable
from tt_compute.cli.table import columns
from tt_compute.config import Config
from tt_compute.overlay import OverlayFile, write_overlay
from tt_compute.paths import config_dir
from tt_compute.refreshed import FILE_NAME, PRICES, Refreshed, read_refreshed, refreshed_text
from tt_compute.refreshing import Change, Outcome, refresh
from tt_compute.registry import Registry
from tt_compute.setup import Setup

__all__ = ["refresh_profiles"]


@click.command("refresh", epilog=example("ttc profiles refresh --dry-run"))
@click.option(
    "--deployment",
    "deployments",
    multiple=True,
    metavar="ID",
    help="Only this one; may be given several times. Default: the configured.",
)
@click.option("--dry-run", is_flag=True, help="Ask and compare, and write nothing.")
@command
def refresh_profiles(output: Output, *, deployments: tuple[str, ...], dry_run: bool) -> None:
    """Ask services what their models cost and allow; keep it beside the configuration."""
    outcomes = run_async(_refresh, output.config, deployments, datetime.now(UTC).date())
    config = Config.load(output.config, available=_available, refreshed=False)
    folder = config_dir(os.environ) if config.file is None else config.file.parent
    said = {one.deployment: one.said for one in outcomes if one.said is not None}
    file = _keep(folder, said) if said and not dry_run else None
    _tell(output, outcomes, file)
    if any(one.state == "failed" for one in outcomes):
        sys.exit(FAILED)


async def _refresh(path: Path | None, deployments: tuple[str, ...], today: date) -> list[Outcome]:
    setup = Setup(path)
    try:
        plain = Config.load(path, available=_available, refreshed=False)
        named = deployments or tuple(spec.id for spec in setup.config.deployments)
        return await refresh(setup, plain, tuple(dict.fromkeys(named)), today)
    finally:
        await setup.aclose()


def _available(backend: str) -> bool:
    return Registry().probe(backend).available


def _keep(folder: Path, said: dict[str, Refreshed]) -> Path:
    """What was told now in the place of what the same deployments' services told earlier."""
    file = folder / FILE_NAME
    known = {**read_refreshed(folder).deployments, **said}
    kept = {name: one for name, one in known.items() if one != Refreshed()}
    with INTERRUPTS.held():
        write_overlay(file, refreshed_text(kept), OverlayFile[Refreshed])
    return file


def _tell(output: Output, outcomes: Sequence[Outcome], file: Path | None) -> None:
    if output.as_json:
        documents = [_document(one) for one in outcomes]
        output.document({"deployments": documents, "file": None if file is None else str(file)})
        return
    for one in outcomes:
        _say(output, one)
        for warning in one.warnings:
            output.warn(f"{one.deployment}: {warning}")
        if one.error is not None:
            output.tell("error:", "bold red", f"{one.deployment}: {one.error.message}")
            if one.error.hint:
                output.tell("hint:", "bold", one.error.hint)
    if file is not None:
        output.wrote(file)


def _say(output: Output, one: Outcome) -> None:
    name = printable(one.deployment)
    if one.state == "failed":
        output.say(f"{name}: failed")
    elif one.state == "skipped":
        output.say(f"{name}: skipped, {one.reason}")
    else:
        output.say(f"{name}, by {printable(one.url or '')}")
        rows = [
            (printable(change.fact), _shown(change.old), _shown(change.new), _remark(change))
            for change in one.facts
        ]
        if rows:
            header = ("fact", "old", "new", "")
            output.lay(columns(rows, header=header, right={1, 2}, indent="  "))
        if not any(change.fact.startswith(PRICES) for change in one.facts):
            output.say("  no price is told")


def _shown(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.12g}"


def _remark(change: Change) -> str:
    if change.old == change.new:
        return "unchanged"
    return "" if change.kept is None else f"not taken: {change.kept}"


def _document(one: Outcome) -> dict[str, Any]:
    return {
        "deployment": one.deployment,
        "state": one.state,
        "reason": one.reason,
        "url": one.url,
        "facts": [
            {
                "fact": change.fact,
                "old": change.old,
                "new": change.new,
                "in_force": change.in_force,
                "kept": change.kept,
            }
            for change in one.facts
        ],
        "warnings": list(one.warnings),
        "error": None if one.error is None else error_document(one.error),
    }
