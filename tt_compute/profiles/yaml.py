"""Reads YAML from strangers: PyYAML's event stream, one strict subset, every refusal with its place.

Nothing is composed or constructed by PyYAML, whose composer recurses and whose merge keys grow without
bound. Scalars follow the core schema of YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema): ``1e12``
is a number, ``no`` is a word, a date is a text.
"""

from __future__ import annotations

import math
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml

from tt_compute.errors import ConfigError
from tt_compute.profiles.document import MAX_DEPTH, Document, Tree, child, show

__all__ = ["MAX_BYTES", "MAX_KEY_CHARS", "MAX_NODES", "load_yaml", "parse_yaml"]

MAX_BYTES = 1024 * 1024
MAX_NODES = 5_000
"""Keys, scalars, lists and mappings in one document; 20 times the largest shipped profile."""
MAX_KEY_CHARS = 100
"""Of one key; keeps paths, and so the memory for them, short."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MAX_INTEGER_BITS = 64
_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_TRUE = frozenset(("true", "True", "TRUE"))
_FALSE = frozenset(("false", "False", "FALSE"))
_NUMERIC_START = frozenset("+-.0123456789")
_INTEGER = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_FORBIDDEN = re.compile(
    "[^\t\n -~\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
"""Control characters, the line breaks that only YAML 1.1 knows (NEL, LS, PS), and a stray BOM."""
_LEADING_DIRECTIVE = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\n)*+%")
_BLANK_OR_COMMENT = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|\Z)")


def load_yaml(file: Path) -> Document:
    """Read one document; errors name the file as given.

    Raises:
        ConfigError: The file cannot be read, is too large, or is not the YAML we take.
    """
    try:
        found = file.stat()  # before it is opened: opening a pipe would wait for a writer
        if not stat.S_ISREG(found.st_mode):
            raise ConfigError("expected a file", file=file)
        if found.st_size > MAX_BYTES:
            raise _too_large(str(file))
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as exc:
        raise ConfigError(f"cannot be read: {exc.strerror or exc}", file=file) from exc
    return parse_yaml(data, file=str(file))


def parse_yaml(data: bytes | str, *, file: str | None = None) -> Document:
    """Read one document.

    Args:
        data: UTF-8 or text, at most ``MAX_BYTES`` long.
        file: Name for errors.

    Raises:
        ConfigError: It is not the YAML we take.
    """
    if len(data) > MAX_BYTES:
        raise _too_large(file)
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    text = _decode(raw, file)
    builder = _Builder(file)
    try:
        for event in _events(text, file):
            builder.take(event)
    except yaml.MarkedYAMLError as exc:
        raise _translated(exc, text, file) from exc
    if not builder.done:
        raise ConfigError("the file is empty", file=file, line=1)
    return Document(tree=builder.tree, file=file, lines=builder.lines)


def scalar(text: str) -> Tree:
    """What a plain (unquoted) scalar means under the core schema.

    Raises:
        ValueError: An infinity, NaN, or a number too large to be one.
    """
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if text[0] not in _NUMERIC_START:
        return text
    if _NOT_FINITE.fullmatch(text):
        raise ValueError("infinities and NaN are not allowed")
    for pattern, base in ((_INTEGER, 10), (_OCTAL, 8), (_HEX, 16)):
        if pattern.fullmatch(text):
            return _integer(text, base)
    if _FLOAT.fullmatch(text):
        value = float(text)
        if not math.isfinite(value):
            raise ValueError("the number is too large")
        return value
    return text


def _integer(text: str, base: int) -> int:
    # Length first: converting a million digits takes long, and Python refuses 4300 of them its own way.
    if len(text) <= _MAX_INTEGER_BITS + 2:
        value = int(text, base)
        if value.bit_length() <= _MAX_INTEGER_BITS:
            return value
    raise ValueError(f"the integer does not fit into {_MAX_INTEGER_BITS} bits")


def _too_large(file: str | None) -> ConfigError:
    return ConfigError(f"larger than {MAX_BYTES} bytes", file=file, line=1)


def _decode(raw: bytes, file: str | None) -> str:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = raw.count(b"\n", 0, exc.start) + 1
        raise ConfigError(
            f"byte 0x{raw[exc.start]:02x} is not UTF-8",
            file=file,
            line=line,
            hint="save it as UTF-8",
        ) from exc
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    bad = _FORBIDDEN.search(text)
    if bad is not None:
        raise ConfigError(
            f"character U+{ord(bad[0]):04X} is not allowed",
            file=file,
            line=text.count("\n", 0, bad.start()) + 1,
            hint=f'write it as "\\u{ord(bad[0]):04x}" inside double quotes',
        )
    return text


def _events(text: str, file: str | None) -> Iterator[yaml.Event]:
    """The events of the only document.

    A directive is refused before the parser sees it: it takes quadratic time over many of them. So is
    whatever follows the document, which could begin with more.
    """
    directive = _LEADING_DIRECTIVE.match(text)
    if directive is not None:
        line = text.count("\n", 0, directive.end()) + 1
        raise ConfigError("directives (%) are not allowed", file=file, line=line)
    for event in yaml.parse(text, Loader=_LOADER):
        yield event
        if isinstance(event, yaml.DocumentEndEvent):
            assert event.end_mark is not None
            _refuse_rest(text, event.end_mark.index, file)
            return


def _refuse_rest(text: str, start: int, file: str | None) -> None:
    while start < len(text):
        blank = _BLANK_OR_COMMENT.match(text, start)
        if blank is None:
            raise ConfigError(
                "expected one document per file",
                file=file,
                line=text.count("\n", 0, start) + 1,
            )
        start = blank.end()


def _translated(exc: yaml.MarkedYAMLError, text: str, file: str | None) -> ConfigError:
    problem, mark = exc.problem or "not YAML", exc.problem_mark
    if mark is None or (mark.index >= len(text) and exc.context_mark is not None):
        mark = exc.context_mark  # what was never closed, rather than the end of the file
    row, column = (0, 0) if mark is None else (mark.line, mark.column)
    lines = text.split("\n")
    row = min(row, len(lines) - 1)  # the parser counts the end of the file as one line more
    line = lines[row]
    hint = None
    if "maximum nesting depth" in problem:
        problem = _too_deep()
    elif "\t" in line[: len(line) - len(line.lstrip())]:
        problem = "a tab in the indentation"
        hint = "indent with spaces"
    elif "cannot start any token" in problem:
        problem = f"an unquoted value cannot begin with {line[column : column + 1]!r}"
        hint = "put it in quotes"
    elif exc.context:
        problem = f"{problem} ({exc.context})"
    return ConfigError(problem, file=file, line=row + 1, hint=hint)


def _too_deep() -> str:
    return f"nested deeper than {MAX_DEPTH} levels"


class _Frame(msgspec.Struct, gc=False):
    """A list or mapping that is still open."""

    path: str
    node: list[Tree] | dict[str, Tree]
    key: str | None = None
    """The key whose value comes next."""
    key_line: int = 0


class _Builder:
    """Turns events into a tree, without recursion."""

    def __init__(self, file: str | None) -> None:
        self.tree: Tree = None
        self.lines: dict[str, int] = {}
        self.done = False
        self._file = file
        self._open: list[_Frame] = []
        self._nodes = 0

    def take(self, event: yaml.Event) -> None:
        """Handle the next event.

        Raises:
            ConfigError: The document holds what we do not take.
        """
        if isinstance(event, yaml.NodeEvent):
            self._count(event)
            frame = self._open[-1] if self._open else None
            if frame is not None and isinstance(frame.node, dict) and frame.key is None:
                self._take_key(frame, frame.node, event)
            else:
                self._take_value(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._open.pop()
            self.done = not self._open

    def _count(self, event: yaml.NodeEvent) -> None:
        if event.anchor is not None:
            raise self._error(event, "anchors and aliases (& and *) are not allowed")
        if getattr(event, "tag", None) is not None:
            raise self._error(event, "tags (!) are not allowed")
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise self._error(event, f"more than {MAX_NODES} values")

    def _take_key(self, frame: _Frame, node: dict[str, Tree], event: yaml.NodeEvent) -> None:
        if not isinstance(event, yaml.ScalarEvent):
            raise self._error(event, "expected a key that is text")
        key = event.value
        if event.implicit[0]:
            self._check_plain_key(event)
        if len(key) > MAX_KEY_CHARS:
            raise self._error(event, f"a key of more than {MAX_KEY_CHARS} characters")
        if key in node:
            first = self.lines[child(frame.path, key)]
            raise self._error(event, f"duplicate key {show(key)}, first on line {first}")
        frame.key = key
        frame.key_line = _line(event)

    def _check_plain_key(self, event: yaml.ScalarEvent) -> None:
        if event.value == "<<":
            raise self._error(event, "merge keys (<<) are not allowed", hint="write the keys out")
        if not isinstance(self._plain(event), str):
            raise self._error(
                event,
                f"expected a key that is text, got {event.value or 'nothing'}",
                hint=f"put it in quotes: '{event.value}'",
            )

    def _take_value(self, event: yaml.NodeEvent) -> None:
        path, key_line = self._next_place()
        if isinstance(event, yaml.ScalarEvent):
            self._put(path, _line(event), self._plain(event) if event.implicit[0] else event.value)
            self.done = not self._open
            return
        if len(self._open) == MAX_DEPTH:
            raise self._error(event, _too_deep())
        node: list[Tree] | dict[str, Tree] = (
            [] if isinstance(event, yaml.SequenceStartEvent) else {}
        )
        # Of a list or mapping the line of its key is what a reader looks for.
        self._put(path, key_line or _line(event), node)
        self._open.append(_Frame(path, node))

    def _next_place(self) -> tuple[str, int]:
        """Path of the node to come, and the line of its key, 0 if it has none."""
        if not self._open:
            return "", 0
        frame = self._open[-1]
        if isinstance(frame.node, list):
            return child(frame.path, len(frame.node)), 0
        assert frame.key is not None
        return child(frame.path, frame.key), frame.key_line

    def _put(self, path: str, line: int, value: Tree) -> None:
        self.lines[path] = line
        if not self._open:
            self.tree = value
            return
        frame = self._open[-1]
        if isinstance(frame.node, list):
            frame.node.append(value)
            return
        assert frame.key is not None
        frame.node[frame.key] = value
        frame.key = None

    def _plain(self, event: yaml.ScalarEvent) -> Tree:
        try:
            return scalar(event.value)
        except ValueError as exc:
            raise self._error(event, f"{exc}, got {show(event.value)}") from exc

    def _error(
        self, event: yaml.NodeEvent, message: str, *, hint: str | None = None
    ) -> ConfigError:
        path, _ = self._next_place() if self._expects_value() else (self._open[-1].path, 0)
        return ConfigError(message, file=self._file, line=_line(event), path=path, hint=hint)

    def _expects_value(self) -> bool:
        if not self._open:
            return True
        frame = self._open[-1]
        return isinstance(frame.node, list) or frame.key is not None


def _line(event: yaml.NodeEvent) -> int:
    assert event.start_mark is not None
    return event.start_mark.line + 1
