"""``ttc backends``, ``doctor``, ``init``, ``config`` and ``store``: the state of the house."""

from __future__ import annotations

import platform
import sys
from pathlib import Path
from typing import Any

import anyio
import click
import msgspec
from rich.table import Table
from rich.text import Text

from tt_compute.cli.shared import Output, command, example
from tt_compute.config import FILE_NAME, Config, starter_text
from tt_compute.errors import ConfigError, TTComputeError
from tt_compute.modelstore.store import LocalModelStore
from tt_compute.registry import Registry
from tt_compute.setup import STORE_FILE, Setup
from tt_compute.store import Store

__all__ = ["backends", "config", "doctor", "init", "store"]

NOT_WELL = 4


@click.command(epilog=example("ttc backends"))
@command
def backends(output: Output) -> None:
    """List the backends: each available, or why not and the line that installs it."""
    rows = _backends()
    if output.as_json:
        output.document({"backends": rows})
        return
    table = Table("backend", "state", "from", box=None, padding=(0, 2))
    for row in rows:
        state = f"available {row['version'] or ''}" if row["available"] else row["reason"]
        table.add_row(row["name"], Text(state), Text(row["distribution"]))
        if row["install"]:
            table.add_row("", Text(row["install"], style="bold"), "")
    output.out.print(table)


@click.command(epilog=example("ttc doctor"))
@command
def doctor(output: Output) -> None:
    """Check that the configured deployments can run here, and say what was not checked."""
    findings = anyio.run(_examine, output.config)
    well = all(finding["ok"] is not False for finding in findings)
    if output.as_json:
        output.document({"ok": well, "checks": findings})
    else:
        marks = {True: "[green]ok[/]", False: "[red]no[/]", None: "[dim]not checked[/]"}
        table = Table.grid(padding=(0, 2))
        for finding in findings:
            table.add_row(marks[finding["ok"]], finding["name"], Text(finding["detail"]))
        output.out.print(table)
    if not well:
        sys.exit(NOT_WELL)


@click.command(epilog=example("ttc init"))
@click.argument("path", default=FILE_NAME, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@command
def init(output: Output, path: Path, *, force: bool) -> None:
    """Write a commented ttc.yaml to begin with."""
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(starter_text())
    except FileExistsError as exc:
        raise ConfigError("is there already", file=path, hint="--force replaces it") from exc
    except OSError as exc:
        raise ConfigError(f"cannot be written: {exc.strerror}", file=path) from exc
    if output.as_json:
        output.document({"path": str(path)})
    else:
        output.out.print(f"wrote {path}")


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
    table = Table("setting", "value", "from", box=None, padding=(0, 2))
    for setting in settings:
        table.add_row(setting.name, Text(str(setting.value)), Text(setting.origin))
    output.out.print(table)


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

    info = anyio.run(read)
    if output.as_json:
        output.document(info)
        return
    table = Table.grid(padding=(0, 2))
    for name, value in info.items():
        table.add_row(name, Text(str(value)))
    output.out.print(table)


@store.command("purge", epilog=example("ttc store purge --older-than-days 30"))
@click.option("--older-than-days", type=click.FloatRange(min=0), help="Only runs older than this.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@command
def store_purge(output: Output, *, older_than_days: float | None, yes: bool) -> None:
    """Delete runs for good, all of them unless told otherwise."""
    which = "all runs" if older_than_days is None else f"runs older than {older_than_days:g} days"
    if not yes:
        click.confirm(f"Delete {which} from the store?", abort=True, err=True)

    async def purge() -> int:
        async with _Opened(output) as opened:
            return await opened.purge(older_than_days=older_than_days)

    deleted = anyio.run(purge)
    if output.as_json:
        output.document({"deleted": deleted})
    else:
        output.out.print(f"deleted {deleted} runs")


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
    probe = setup.registry.probe(spec.backend)
    detail = f"{spec.backend} {probe.version or ''}".strip()
    if not probe.available:
        detail = f"{probe.reason} {probe.install}".strip()
    findings = [_finding(f"{deployment}: backend", ok=probe.available, detail=detail)]
    for file in LocalModelStore(setup.config.cache_dir).list([spec.model]):
        here = file.state == "present"
        detail = str(file.path) if here else f"{file.state}; `ttc models pull {spec.model.id}`"
        findings.append(_finding(f"{deployment}: {file.format}", ok=here or None, detail=detail))
    if probe.available:
        try:
            await setup.capabilities(spec)
        except TTComputeError as exc:
            findings.append(_finding(f"{deployment}: options", ok=False, detail=exc.message))
    return findings


def _finding(name: str, *, ok: bool | None, detail: str) -> dict[str, Any]:
    return {"name": name, "ok": ok, "detail": detail}
