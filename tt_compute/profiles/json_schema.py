"""Where the JSON Schemas of our YAML files are, for editors. ``tools/schemas.py`` writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

__all__ = ["SCHEMA_KINDS", "SchemaKind", "modeline", "schema_file"]

SchemaKind = Literal["config", "hardware", "model", "deployment"]
SCHEMA_KINDS: tuple[SchemaKind, ...] = get_args(SchemaKind)
"""``config`` is ``ttc.yaml``, the others are the kinds of profile."""


def schema_file(kind: SchemaKind) -> Path:
    """The schema of one kind of file: inside the installed package, in a checkout below ``docs``."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "_schemas"
    folder = installed if installed.is_dir() else package.parent / "docs" / "schemas"
    return folder / f"{kind}.json"


def modeline(kind: SchemaKind, *, beside: Path) -> str:
    """The comment by which the YAML extensions of editors find the schema.

    Args:
        kind: Of the file that the comment stands in.
        beside: Folder of that file. A schema below it, as in ``.venv``, is named from there, so that the
            file can be shared; any other one by its URI.
    """
    file, folder = schema_file(kind), beside.resolve()
    below = file.is_relative_to(folder)
    target = file.relative_to(folder).as_posix() if below else file.as_uri()
    return f"# yaml-language-server: $schema={target}\n"
