"""Files of facts that are kept beside the configuration and put in the place of what profiles say."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Generic, Literal, TypeAlias, TypeVar, cast

import msgspec

from tt_compute.errors import UsageError
from tt_compute.profiles.checking import build
from tt_compute.profiles.document import Document, child, join
from tt_compute.profiles.schema import Fact, Ttft
from tt_compute.profiles.yaml import load_yaml

__all__ = [
    "Known",
    "Overlay",
    "OverlayFile",
    "facts",
    "figure",
    "load_overlay",
    "merged",
    "overlay_text",
    "write_overlay",
]

E = TypeVar("E", bound=msgspec.Struct)
T = TypeVar("T", bound=msgspec.Struct)
Known: TypeAlias = Fact | Ttft
"""A number with its origin."""


class OverlayFile(
    msgspec.Struct, Generic[E], frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """Shape of an overlay; ``E`` is what it says of one deployment."""

    version: Literal[1] = 1
    deployments: dict[str, E] = {}


class Overlay(msgspec.Struct, Generic[E], frozen=True):
    """One overlay that was read."""

    deployments: Mapping[str, E] = {}
    document: Document = Document(tree={})

    def origin(self, deployment: str, path: str) -> str:
        """``file:line`` of what it says at a path of a deployment."""
        place = self.document.place(join(child("deployments", deployment), path))
        return f"{place.file}:{place.line}"


def load_overlay(file: Path, shape: type[OverlayFile[E]]) -> Overlay[E]:
    """What a file says; nothing where there is none.

    Raises:
        ConfigError: It is not what the command that writes it writes; delete it to begin anew.
    """
    if not file.is_file():
        return Overlay()
    document = load_yaml(file)
    return Overlay(build(document, shape).deployments, document)


def write_overlay(file: Path, content: str, shape: type[OverlayFile[E]]) -> None:
    """Whole or not at all, and nothing that could not be read again.

    Raises:
        UsageError: It cannot be written.
        ConfigError: It is not of this shape; what was there stays.
    """
    scratch = file.with_suffix(".tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_text(content, encoding="utf-8")
        load_overlay(scratch, shape)
        scratch.replace(file)
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            scratch.unlink(missing_ok=True)


def overlay_text(deployments: Mapping[str, msgspec.Struct], *, about: str, digits: int) -> str:
    """The file that says this.

    Args:
        deployments: What is said of each.
        about: The comment that it begins with.
        digits: Significant ones of each number.
    """
    lines = [
        f"# {about}",
        "version: 1",
        "deployments:" if deployments else "deployments: {}",
    ]
    for name, said in sorted(deployments.items()):
        lines.append(f"  {json.dumps(name)}:")
        found = [
            f"    {line}" for key, value in _members(said) for line in _lines(key, value, digits)
        ]
        lines += found or ["    {}"]
    return "\n".join(lines) + "\n"


def merged(stated: T, told: T) -> T:
    """``stated`` with what ``told`` knows in its place."""
    known = {name: value for name, value in msgspec.structs.asdict(told).items() if _known(value)}
    return msgspec.structs.replace(stated, **known)


def facts(said: msgspec.Struct, path: str = "") -> Iterator[tuple[str, Known]]:
    """Every number that is known, with its path."""
    for name, value in _members(said):
        at = child(path, name)
        if isinstance(value, Fact | Ttft):
            yield at, value
        elif isinstance(value, msgspec.Struct):
            yield from facts(value, at)
        else:
            for key, fact in cast("Mapping[str, Fact]", value).items():
                yield child(at, key), fact


def figure(known: Known) -> float:
    """The number itself; of a time to first token the p50."""
    value = known.value if isinstance(known, Fact) else known.p50
    assert value is not None
    return value


def _members(said: msgspec.Struct) -> Iterator[tuple[str, object]]:
    for name, value in msgspec.structs.asdict(said).items():
        if _known(value):
            yield name, value


def _known(value: object) -> bool:
    if isinstance(value, Fact):
        return value.value is not None
    if isinstance(value, Ttft):
        return value.p50 is not None
    if isinstance(value, msgspec.Struct):
        return any(True for _ in _members(value))
    return bool(value)


def _lines(name: str, value: object, digits: int) -> Iterator[str]:
    if isinstance(value, Fact | Ttft):
        yield f"{name}: {_fact(value, digits)}"
        return
    yield f"{name}:"
    if isinstance(value, msgspec.Struct):
        inside = list(_members(value))
    else:
        rates = cast("Mapping[str, Fact]", value)
        inside = [(f"'{width}'", fact) for width, fact in rates.items()]
    for key, member in inside:
        yield from (f"  {line}" for line in _lines(key, member, digits))


def _fact(known: Known, digits: int) -> str:
    dated = "" if known.as_of is None else f"as_of: {known.as_of}, "
    source = json.dumps(known.source, ensure_ascii=False)
    origin = f"source: {source}, {dated}status: {known.status}"
    return f"{{value: {figure(known):.{digits}g}, {origin}}}"
