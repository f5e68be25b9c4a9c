"""``ttc profiles`` and ``ttc models``: what is described, and what is here."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.text import Text

from tt_compute.cli.codes import BAD_USAGE
from tt_compute.cli.loop import run_async
from tt_compute.cli.refresh import refresh_profiles
from tt_compute.cli.screen import Screen
from tt_compute.cli.shared import (
    Output,
    command,
    counted,
    error_document,
    example,
    printable,
)
from tt_compute.cli.table import columns
from tt_compute.config import Config
from tt_compute.errors import BackendUnavailable, UnknownNameError
from tt_compute.modelstore.store import LocalModelStore, StoredFile
from tt_compute.profiles.json_schema import SCHEMA_KINDS, SchemaKind, schema_file
from tt_compute.profiles.library import FOLDERS, Kind, ProfileLibrary
from tt_compute.profiles.schema import ModelProfile
from tt_compute.profiles.validation import validate
from tt_compute.registry import converters
from tt_compute.types import Converter

__all__ = ["models", "profiles"]

KINDS: tuple[Kind, ...] = tuple(FOLDERS)
_CONVERTED = "gguf"
"""The format that converters start from."""


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
    cells = [[printable(cell) for cell in row.values()] for row in rows]
    output.lay(columns(cells, header=("kind", "id", "file")))


@profiles.command(epilog=example("ttc profiles show local/smollm2-135m-openvino"))
@click.argument("profile_id", metavar="ID")
@click.option("--kind", type=click.Choice(KINDS), help="Which, where several kinds share the id.")
@command
def show(output: Output, profile_id: str, *, kind: Kind | None) -> None:
    """Show one profile as it is understood; a deployment with its model and hardware."""
    library = Config.load(output.config).library
    document = msgspec.to_builtins(_profile(library, profile_id, kind))
    if output.as_json:
        output.document(document)
    else:
        output.lay(Text(printable(json.dumps(document, ensure_ascii=False, indent=2))))


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
            output.tell("error:", "bold red", error.message)
            if error.hint:
                output.tell("hint:", "bold", error.hint)
        for warning in findings.warnings:
            output.warn(warning)
        output.say(f"{counted(findings.files, 'file')}, {counted(len(findings.errors), 'error')}")
    if findings.errors:
        sys.exit(BAD_USAGE)


@profiles.command("schema", epilog=example("ttc profiles schema config"))
@click.argument("kind", metavar="KIND", type=click.Choice(SCHEMA_KINDS))
@click.option("--path", "as_path", is_flag=True, help="Print where the schema's file is instead.")
@command
def print_schema(output: Output, kind: SchemaKind, *, as_path: bool) -> None:
    """Print the JSON Schema of ttc.yaml (KIND config) or of a kind of profile, for editors."""
    file = schema_file(kind)
    document = {"path": str(file)} if as_path else json.loads(file.read_text(encoding="utf-8"))
    if output.as_json:
        output.document(document)
    else:
        output.lay(
            Text(str(file) if as_path else json.dumps(document, ensure_ascii=False, indent=2))
        )


profiles.add_command(refresh_profiles)


@click.group()
def models() -> None:
    """Weights of local models."""


@models.command("list", epilog=example("ttc models list"))
@command
def list_models(output: Output) -> None:
    """List the models with weights and whether those are on this machine."""
    config = Config.load(output.config)
    known = [config.library.model(model_id) for model_id in config.library.ids("model")]
    store = LocalModelStore(config.cache_dir)
    files = [*store.list(known), *_converted(store, known)]
    if output.as_json:
        output.document({"models": [_stored(file) for file in files]})
        return
    rows = [
        (
            printable(file.model),
            file.format,
            printable(file.dtype),
            "unknown" if file.bytes is None else f"{file.bytes / 1e6:.0f} MB",
            file.state,
            printable(str(file.path)),
        )
        for file in files
    ]
    header = ("model", "format", "dtype", "size", "state", "path")
    output.lay(columns(rows, header=header, right={3}))


@models.command(epilog=example("ttc models pull smollm2-135m-instruct"))
@click.argument("model_id", metavar="ID")
@click.option("--format", "format_", default="gguf", help="Format of the weights (default gguf).")
@command
def pull(output: Output, model_id: str, format_: str) -> None:
    """Fetch a model's weights into the shared cache; nothing to do when they are there."""
    config = Config.load(output.config)
    model = config.library.model(model_id)
    formats = {file.format for file in model.weights}
    makers = converters() if _CONVERTED in formats else {}
    if format_ not in formats | makers.keys():
        raise UnknownNameError(
            f"model {model_id} has no weights in format {format_!r}",
            hint=f"there are: {', '.join(sorted(formats | makers.keys())) or 'none'}",
        )
    converter: Converter | None = None if format_ in formats else makers[format_].load()()
    with Screen(output) as screen:
        store = LocalModelStore(config.cache_dir, progress=screen.download)
        path = run_async(_pull, store, model, format_, converter)
    if output.as_json:
        output.document({"model": model.id, "format": format_, "path": str(path)})
    else:
        output.say(str(path))


async def _pull(
    store: LocalModelStore, model: ModelProfile, format_: str, converter: Converter | None
) -> Path:
    if converter is None:
        return await store.pull(model, format_)
    return await store.convert(await store.pull(model, _CONVERTED), converter)


def _converted(store: LocalModelStore, known: Sequence[ModelProfile]) -> list[StoredFile]:
    """What the installed converters make, as far as their libraries are there."""
    found: list[StoredFile] = []
    for entry in converters().values():
        try:
            converter: Converter = entry.load()()
        except BackendUnavailable:
            continue
        for model in known:
            sources = [file for file in model.weights if file.format == _CONVERTED]
            found += [store.converted(model, file, converter) for file in sources[:1]]
    return found


def _profile(library: ProfileLibrary, profile_id: str, kind: Kind | None) -> msgspec.Struct:
    """The deployment of this id first: it holds its model and hardware."""
    kinds = tuple(reversed(KINDS)) if kind is None else (kind,)
    for one in kinds:
        if profile_id in library.ids(one):
            return _load(library, one, profile_id)
    known = sorted({known for one in kinds for known in library.ids(one)})
    raise UnknownNameError(f"there is no profile {profile_id!r}", hint=f"known: {', '.join(known)}")


def _load(library: ProfileLibrary, kind: Kind, profile_id: str) -> msgspec.Struct:
    if kind == "hardware":
        return library.hardware(profile_id)
    if kind == "model":
        return library.model(profile_id)
    return library.resolve(profile_id)


def _stored(file: Any) -> dict[str, Any]:
    return {**msgspec.structs.asdict(file), "path": str(file.path)}
