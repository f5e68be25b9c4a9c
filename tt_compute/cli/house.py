"""``ttc backends``, ``doctor``, ``init``, ``config`` and ``store``: the state of the house."""

from __future__ import annotations

import math
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import click
import msgspec
from rich.text import Text

from tt_compute.cli.codes import FAILED
from tt_compute.cli.interrupts import INTERRUPTS
from tt_compute.cli.loop import run_async
from tt_compute.cli.shared import Output, command, counted, example, printable
from tt_compute.cli.table import Cell, columns
from tt_compute.config import FILE_NAME, Config, starter_text
from tt_compute.errors import (
    AuthenticationError,
    ConfigError,
    InvalidRequestError,
    TTComputeError,
)
from tt_compute.modelstore.store import LocalModelStore
from tt_compute.profiles.json_schema import modeline
from tt_compute.registry import Registry
from tt_compute.setup import STORE_FILE, Setup
from tt_compute.store import Store

__all__ = ["backends", "config", "doctor", "init", "store", "told"]

_MARKS = {
    True: Text("ok", "green"),
    False: Text("no", "bold red"),
    None: Text("not checked", "dim"),
}


@click.command(epilog=example("ttc backends"))
@command
def backends(output: Output) -> None:
    """List the backends: each available, or why not and the line that installs it."""
    rows = _backends()
    if output.as_json:
        output.document({"backends": rows})
        return
    table: list[Sequence[Cell] | Text] = []
    for row in rows:
        state = f"available {row['version'] or ''}".strip() if row["available"] else "no"
        table.append((row["name"], state, row["distribution"]))
        table += [
            Text(f"    {printable(row[key])}", style)
            for key, style in (("reason", ""), ("install", "bold"))
            if row[key]
        ]
    output.lay(columns(table, header=("backend", "state", "from")))


@click.command(epilog=example("ttc doctor"))
@command
def doctor(output: Output) -> None:
    """Check that the configured deployments can run here, and say what was not checked."""
    findings = run_async(_examine, output.config)
    well = all(finding["ok"] is not False for finding in findings)
    if output.as_json:
        output.document({"ok": well, "checks": findings})
    else:
        rows = [
            (_MARKS[finding["ok"]], printable(finding["name"]), printable(finding["detail"]))
            for finding in findings
        ]
        output.lay(columns(rows))
    if not well:
        sys.exit(FAILED)


@click.command(epilog=example("ttc init"))
@click.argument("path", default=FILE_NAME, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@command
def init(output: Output, path: Path, *, force: bool) -> None:
    """Write a commented ttc.yaml to begin with."""
    text = modeline("config", beside=path.parent) + starter_text()
    try:
        with INTERRUPTS.held(), path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as exc:
        raise ConfigError("is there already", file=path, hint="--force replaces it") from exc
    except OSError as exc:
        raise ConfigError(f"cannot be written: {exc.strerror}", file=path) from exc
    if output.as_json:
        output.document({"path": str(path)})
    else:
        output.say(f"wrote {path}")


@click.group()
def config() -> None:
    """The configuration in force."""


@config.command("show", epilog=example("ttc config show"))
@command
def show_config(output: Output) -> None:
    """Show each effective value and where it comes from."""
    settings = Config.load(output.config, available=_available).settings()
    if output.as_json:
        output.document({"settings": [setting._asdict() for setting in settings]})
        return
    rows = [
        (setting.name, printable(_shown(setting.value)), printable(setting.origin))
        for setting in settings
    ]
    output.lay(columns(rows, header=("setting", "value", "from")))


@click.group()
def store() -> None:
    """The receipts of past runs: numbers and keyed hashes, no texts unless you opted in."""


@store.command("info", epilog=example("ttc store info"))
@command
def store_info(output: Output) -> None:
    """Show where the store is, how large it is and what it holds."""

    async def read() -> dict[str, Any]:
        async with _Opened(output) as opened:
            return dict(msgspec.to_builtins(await opened.info(), enc_hook=str))

    info = run_async(read)
    if output.as_json:
        output.document(info)
        return
    rows = [(name, printable(told(name, value))) for name, value in info.items()]
    output.lay(columns(rows))


@store.command("purge", epilog=example("ttc store purge --older-than-days 30"))
@click.option("--older-than-days", type=click.FloatRange(min=0), help="Only runs older than this.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@command
def store_purge(output: Output, *, older_than_days: float | None, yes: bool) -> None:
    """Delete runs for good, all of them unless told otherwise."""
    if older_than_days is not None and not math.isfinite(older_than_days):
        raise InvalidRequestError(f"--older-than-days must be a number, got {older_than_days}")
    which = "all runs" if older_than_days is None else f"runs older than {older_than_days:g} days"
    if not yes:
        click.confirm(f"Delete {which} from the store?", abort=True, err=True)

    async def purge() -> int:
        async with _Opened(output) as opened:
            return await opened.purge(older_than_days=older_than_days)

    deleted = run_async(purge)
    if output.as_json:
        output.document({"deleted": deleted})
    else:
        output.say(f"deleted {counted(deleted, 'run')}")


class _Opened:
    """The store of the configuration in force, closed at the end of the block."""

    def __init__(self, output: Output) -> None:
        self._setup = Setup(output.config)
        self._output = output

    async def __aenter__(self) -> Store:
        opened = await self._setup.store()
        for warning in opened.warnings:
            self._output.warn(warning)
        return opened

    async def __aexit__(self, *_exc: object) -> None:
        await self._setup.aclose()


def _shown(value: object) -> str:
    """A setting's value, for people."""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, cast("Sequence[object]", value)))
    if value is None:
        return "-"
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)


def told(name: str, value: object) -> str:
    """A figure of the store, for people."""
    if isinstance(value, float) and name.endswith("_at"):
        try:
            return datetime.fromtimestamp(value, UTC).isoformat(sep=" ", timespec="seconds")
        except (ValueError, OverflowError, OSError):
            # Of a clock that went wrong.
            return f"{value:g} s after 1970"
    return _shown(value)


def _available(backend: str) -> bool:
    return Registry().probe(backend).available


def _backends() -> list[dict[str, Any]]:
    registry = Registry()
    return [
        {
            "name": registration.name,
            "distribution": registration.distribution,
            **msgspec.to_builtins(registry.probe(registration.name)),
        }
        for registration in registry.describe()
    ]


async def _examine(path: Path | None) -> list[dict[str, Any]]:
    findings = [_finding("python", ok=True, detail=platform.python_version())]
    setup = Setup(path)
    try:
        source = setup.config.file
        findings.append(
            _finding("configuration", ok=True, detail=str(source or "none; the embedded default"))
        )
        opened = await setup.store()
        usable = opened.unusable is None
        detail = opened.unusable or str(setup.config.data_dir / STORE_FILE)
        findings.append(
            _finding("store", ok=usable or not setup.config.store.enabled, detail=detail)
        )
        for spec in setup.config.deployments:
            findings += await _examine_deployment(setup, spec.id)
    finally:
        await setup.aclose()
    findings.append(
        _finding("speed", ok=None, detail="no sample was drawn; predictions rest on the profiles")
    )
    return findings


async def _examine_deployment(setup: Setup, deployment: str) -> list[dict[str, Any]]:
    spec = setup.spec(deployment)
    probe = setup.probe(spec.backend)
    detail = f"{spec.backend} {probe.version or ''}".strip()
    if not probe.available:
        detail = "; ".join(part for part in (probe.reason, probe.install) if part)
    findings = [_finding(f"{deployment}: backend", ok=probe.available, detail=detail)]
    for file in LocalModelStore(setup.config.cache_dir).list([spec.model]):
        here = file.state == "present"
        detail = str(file.path) if here else f"{file.state}; `ttc models pull {spec.model.id}`"
        findings.append(_finding(f"{deployment}: {file.format}", ok=here or None, detail=detail))
    if probe.available:
        try:
            await setup.capabilities(spec)
            findings += [
                _finding(f"{deployment}: {found.name}", ok=found.ok, detail=found.detail)
                for found in await setup.examine(spec)
            ]
        except AuthenticationError as exc:
            findings.append(_finding(f"{deployment}: key", ok=False, detail=exc.message))
        except TTComputeError as exc:
            findings.append(_finding(f"{deployment}: options", ok=False, detail=exc.message))
    return findings


def _finding(name: str, *, ok: bool | None, detail: str) -> dict[str, Any]:
    return {"name": name, "ok": ok, "detail": detail}
