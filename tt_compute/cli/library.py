"""``ttc profiles`` and ``ttc models``: what is described, and what is here."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import click
import msgspec
from rich.table import Table
from rich.text import Text

from tt_compute.cli.downloads import DownloadBars
from tt_compute.cli.shared import Output, command, error_document, example, printable
from tt_compute.config import Config
from tt_compute.errors import UnknownNameError
from tt_compute.modelstore.store import LocalModelStore
from tt_compute.profiles.library import FOLDERS, Kind, ProfileLibrary
from tt_compute.profiles.validation import validate

__all__ = ["models", "profiles"]

KINDS: tuple[Kind, ...] = tuple(FOLDERS)
BAD_PROFILE = 2


@click.group()
def profiles() -> None:
    """Hardware, models and deployments, as YAML describes them."""


@profiles.command("list", epilog=example("ttc profiles list"))
@command
def list_profiles(output: Output) -> None:
    """List every profile, shipped ones and your own."""
    library = Config.load(output.config).library
    rows = [
        {"kind": kind, "id": profile_id, "file": str(library.file(kind, profile_id))}
        for kind in KINDS
        for profile_id in library.ids(kind)
    ]
    if output.as_json:
        output.document({"profiles": rows})
        return
    table = Table("kind", "id", "file", box=None, padding=(0, 2))
    for row in rows:
        table.add_row(*row.values())
    output.out.print(table)


@profiles.command(epilog=example("ttc profiles show local/smollm2-135m-openvino"))
@click.argument("profile_id", metavar="ID")
@command
def show(output: Output, profile_id: str) -> None:
    """Show one profile as it is understood; a deployment with its model and hardware."""
    library = Config.load(output.config).library
    document = msgspec.to_builtins(_profile(library, profile_id))
    if output.as_json:
        output.document(document)
    else:
        output.out.print_json(data=document)


@profiles.command("validate", epilog=example("ttc profiles validate ./my-profiles"))
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@command
def validate_profiles(output: Output, paths: tuple[Path, ...]) -> None:
    """Check profiles, all of them when no PATHS are given; every fault is told, with its line."""
    library = Config.load(output.config).library if not paths else ProfileLibrary()
    findings = validate(paths or library.roots, library=library, today=datetime.now(UTC).date())
    if output.as_json:
        output.document(
            {
                "files": findings.files,
                "errors": [error_document(error) for error in findings.errors],
                "warnings": list(findings.warnings),
            }
        )
    else:
        for error in findings.errors:
            output.err.print(Text(printable(error.message), style="red"))
            if error.hint:
                output.err.print(Text(f"  {printable(error.hint)}", style="dim"))
        for warning in findings.warnings:
            output.warn(warning)
        output.out.print(f"{findings.files} files, {len(findings.errors)} errors")
    if findings.errors:
        sys.exit(BAD_PROFILE)


@click.group()
def models() -> None:
    """Weights of local models."""


@models.command("list", epilog=example("ttc models list"))
@command
def list_models(output: Output) -> None:
    """List the models with weights and whether those are on this machine."""
    config = Config.load(output.config)
    known = [config.library.model(model_id) for model_id in config.library.ids("model")]
    files = LocalModelStore(config.cache_dir).list(known)
    if output.as_json:
        output.document({"models": [_stored(file) for file in files]})
        return
    table = Table("model", "format", "dtype", "size", "state", "path", box=None, padding=(0, 2))
    for file in files:
        size = f"{file.bytes / 1e6:.0f} MB"
        table.add_row(file.model, file.format, file.dtype, size, file.state, str(file.path))
    output.out.print(table)


@models.command(epilog=example("ttc models pull smollm2-135m-instruct"))
@click.argument("model_id", metavar="ID")
@click.option("--format", "format_", default="gguf", help="Format of the weights (default gguf).")
@command
def pull(output: Output, model_id: str, format_: str) -> None:
    """Fetch a model's weights into the shared cache; nothing to do when they are there."""
    config = Config.load(output.config)
    model = config.library.model(model_id)
    with DownloadBars(output.err) as bars:
        store = LocalModelStore(config.cache_dir, progress=bars)
        path = anyio.run(store.pull, model, format_)
    if output.as_json:
        output.document({"model": model.id, "format": format_, "path": str(path)})
    else:
        output.out.print(str(path))


def _profile(library: ProfileLibrary, profile_id: str) -> msgspec.Struct:
    for kind in KINDS:
        if profile_id in library.ids(kind):
            return _load(library, kind, profile_id)
    known = [one for kind in KINDS for one in library.ids(kind)]
    raise UnknownNameError(f"there is no profile {profile_id!r}", hint=f"known: {', '.join(known)}")


def _load(library: ProfileLibrary, kind: Kind, profile_id: str) -> msgspec.Struct:
    if kind == "hardware":
        return library.hardware(profile_id)
    if kind == "model":
        return library.model(profile_id)
    return library.resolve(profile_id)


def _stored(file: Any) -> dict[str, Any]:
    return {**msgspec.structs.asdict(file), "path": str(file.path)}
