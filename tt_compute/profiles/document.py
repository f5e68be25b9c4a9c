"""A YAML document as plain values that remember where each of them stood."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias, cast

import msgspec

from tt_compute.errors import ConfigError

__all__ = [
    "MAX_DEPTH",
    "Document",
    "Place",
    "Tree",
    "ancestors",
    "child",
    "document_of",
    "join",
    "looks_like_a_key",
    "overridden",
    "show",
]

Tree: TypeAlias = "str | int | float | bool | list[Tree] | dict[str, Tree] | None"
"""What a document can hold; every number is finite."""

MAX_DEPTH = 32
"""Deepest nesting of a document; the schemas need 6."""
_SHOWN_CHARS = 60
_PLAIN_KEY = re.compile(r"[^.\[\]'\"\s]+")
_LAST_SEGMENT = re.compile(r"(?:\[[^\[\]]*\]|\.?[^.\[\]]+)$")
_LOOKS_LIKE_A_KEY = re.compile(
    r"\b(?:gsk|csk|sk|pk|rk|hf|xai|key|nvapi|r8|AIza)[-_A-Za-z0-9]{16,}"
    r"|(?<![\w-])(?=[\w-]*[0-9])(?=[\w-]*[a-z])(?=[\w-]*[A-Z])[\w-]{20,}"
    r"|\b[0-9a-fA-F]{32,}\b"
)
"""The prefixes of API keys in use, and long words that look random."""


class Place(NamedTuple):
    """A line of a file; None where there is none."""

    file: str | None
    line: int | None


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A document, or a part of one, and the places of its nodes. Paths count from ``tree``."""

    tree: Tree
    file: str | None = None
    """None for a mapping given in code."""
    lines: dict[str, int] = {}
    """1-based line of every node, by its path from the root of the file."""
    root: str = ""
    """Path of ``tree`` from the root of the file."""
    overridden: dict[str, Place] = {}
    """Places of the nodes that another document put here."""

    def place(self, path: str) -> Place:
        """Where a node stands; of one whose line is unknown, where the nearest one around it does."""
        for at in ancestors(path):
            if at in self.overridden:
                return self.overridden[at]
            line = self.lines.get(join(self.root, at))
            if line is not None:
                return Place(self.file, line)
        return Place(self.file, None)

    def error(self, path: str, message: str, *, hint: str | None = None) -> ConfigError:
        """The error for the node at ``path``."""
        file, line = self.place(path)
        shown = join(self.root, path) if file == self.file else path
        return ConfigError(message, file=file, line=line, path=shown, hint=hint)

    def part(self, path: str, tree: Tree) -> Document:
        """``tree``, which stands at ``path``, as a document of its own."""
        return Document(tree=tree, file=self.file, lines=self.lines, root=join(self.root, path))

    def own_lines(self) -> dict[str, int]:
        """Lines by path from ``tree``, without what another document put here."""
        skip = len(self.root)
        inside = {
            path[skip:].removeprefix(".") if skip else path: line
            for path, line in self.lines.items()
            if not skip or (path.startswith(self.root) and path[skip : skip + 1] in ("", ".", "["))
        }
        return {path: line for path, line in inside.items() if path not in self.overridden}


def join(path: str, rest: str) -> str:
    """Two paths, one after the other."""
    if not path or not rest or rest.startswith("["):
        return path + rest
    return f"{path}.{rest}"


def ancestors(path: str) -> Iterator[str]:
    """The path itself, then those of the nodes around it, up to the root, which is empty."""
    while path:
        yield path
        shorter = _LAST_SEGMENT.sub("", path)
        path = shorter if len(shorter) < len(path) else ""
    yield ""


def child(path: str, step: str | int) -> str:
    """Path of an element of a list or of a key of a mapping."""
    if isinstance(step, int):
        return f"{path}[{step}]"
    if _PLAIN_KEY.fullmatch(step):
        return join(path, step)
    return f"{path}[{step!r}]"


def show(value: Tree) -> str:
    """A value as an error names it: short, and nothing that looks like a key."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, dict)):
        return "a mapping" if isinstance(value, dict) else "a list"
    if isinstance(value, (int, float)):
        return f"{value:g}" if isinstance(value, float) else str(value)
    if looks_like_a_key(value):
        return "a text that looks like a key (not shown)"
    short = value if len(value) <= _SHOWN_CHARS else value[: _SHOWN_CHARS - 3] + "..."
    return repr(short)


def overridden(base: Document, override: Document) -> Document:
    """``base`` with the values of ``override`` in their place.

    Mappings are merged key by key; lists, and mappings that state a fact (those with ``value``), are
    replaced as a whole, so that no number keeps the source of another. Both trees must be mappings.
    """
    places = dict(base.overridden)
    tree = _merged(base.tree, override.tree, "", override, places)
    return msgspec.structs.replace(base, tree=tree, overridden=places)


def _merged(
    base: Tree, over: Tree, path: str, override: Document, places: dict[str, Place]
) -> Tree:
    if isinstance(base, dict) and isinstance(over, dict) and "value" not in base | over:
        result = dict(base)
        for key, value in over.items():
            result[key] = _merged(base.get(key), value, child(path, key), override, places)
        return result
    _place_all(over, path, override, places)
    return over


def _place_all(node: Tree, path: str, override: Document, places: dict[str, Place]) -> None:
    places[path] = override.place(path)
    if isinstance(node, dict):
        for key, value in node.items():
            _place_all(value, child(path, key), override, places)
    elif isinstance(node, list):
        for i, value in enumerate(node):
            _place_all(value, child(path, i), override, places)


def looks_like_a_key(text: str) -> bool:
    """Whether a text should not be repeated in a message."""
    return _LOOKS_LIKE_A_KEY.search(text) is not None


def document_of(mapping: Mapping[str, object], *, file: Path | str | None = None) -> Document:
    """A mapping given in code, held to the same rules as a file.

    Raises:
        ConfigError: It holds something YAML cannot say, a NaN or infinity, or is nested too deep.
    """
    name = None if file is None else str(file)
    return Document(tree=_plain(mapping, "", 0), file=name)


def _plain(value: object, path: str, depth: int) -> Tree:
    if depth > MAX_DEPTH:
        raise ConfigError(f"nested deeper than {MAX_DEPTH} levels", path=path)
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, str):
        return _text(value, path)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ConfigError(f"expected a finite number, got {value}", path=path)
        return value
    if isinstance(value, (list, tuple)):
        items = cast("Sequence[object]", value)
        return [_plain(item, child(path, i), depth + 1) for i, item in enumerate(items)]
    if isinstance(value, Mapping):
        pairs = cast("Mapping[object, object]", value)
        return {
            _text_key(key, path): _plain(item, child(path, str(key)), depth + 1)
            for key, item in pairs.items()
        }
    raise ConfigError(f"expected plain data, got {type(value).__name__}", path=path)


def _text_key(key: object, path: str) -> str:
    if not isinstance(key, str):
        raise ConfigError(f"expected keys that are text, got {type(key).__name__}", path=path)
    return _text(key, path)


def _text(value: str, path: str) -> str:
    """Refuse half a surrogate pair, which no file can hold."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        half = ascii(value[error.start])
        raise ConfigError(f"{half} is half a surrogate pair, not a character", path=path) from error
    return value
