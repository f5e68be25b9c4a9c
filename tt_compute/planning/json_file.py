"""A document of ours as a file of JSON: read whole and checked for its kind, written whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import msgspec

from tt_compute.errors import UsageError
from tt_compute.files import replace_file
from tt_compute.profiles.document import Tree, show

__all__ = ["JsonFile"]

_MAX_BYTES = 64 * 1024 * 1024
"""Far above thousands of candidates or questions; keeps a wrong file from filling the memory."""

_Pairs: TypeAlias = Sequence[tuple[str, object]]


class JsonFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file.

    Attributes:
        path: Where it is.
        kind: Its ``format``.
        version: The one that this release reads and writes.
        noun: What it is: ``plan``.
        writer: The command that writes such files.
        hint: What to do about one that cannot be used.
        error: What is raised about it.
    """

    path: Path
    kind: str
    version: int
    noun: str
    writer: str
    hint: str
    error: type[UsageError]

    def read(self) -> dict[str, Tree]:
        """The document; of it only ``format`` and ``version`` have been looked at.

        Raises:
            UsageError: The file cannot be read, is damaged, or of another kind or version.
        """
        tree = self._tree()
        if not isinstance(tree, dict) or tree.get("format") != self.kind:
            raise self._refusal(f"is no {self.noun} that {self.writer} wrote")
        version = tree.get("version")
        if isinstance(version, bool) or version != self.version:
            raise self.error(
                f"{self.path} is a {self.noun} of version {show(version)}, and this tt_compute reads {self.version}",
                hint=f"update tt-compute, or {self.hint}",
            )
        return tree

    def write(self, document: object) -> None:
        """Write it; a file that is there is replaced.

        Raises:
            UsageError: It cannot be written.
        """
        text = json.dumps(
            msgspec.to_builtins(document), ensure_ascii=False, indent=2, allow_nan=False
        )
        self.write_text(f"{text}\n")

    def write_text(self, text: str) -> None:
        """Write a document that is JSON already; a file that is there is replaced.

        Raises:
            UsageError: It cannot be written.
        """
        # A link stays one, and what is no file, such as /dev/null, is not replaced by one.
        target = Path(os.path.realpath(self.path))
        try:
            if target.exists() and not target.is_file():
                raise self.error(f"{self.path} is not a regular file", hint="name another one")
            # What stands in a reason may hold what is no character; nothing that is run does.
            replace_file(target, text.encode(errors="replace"))
        except OSError as error:
            raise self.error(
                f"{self.path} cannot be written: {error.strerror or error}",
                hint="name a file in a folder that is there and can be written",
            ) from error

    def _tree(self) -> Tree:
        try:
            with self.path.open("rb") as stream:
                data = stream.read(_MAX_BYTES + 1)
        except OSError as error:
            raise self._refusal(f"cannot be read: {error.strerror or error}") from error
        if len(data) > _MAX_BYTES:
            raise self._refusal(f"is larger than {_MAX_BYTES} bytes, no {self.noun} is")
        try:
            tree: Tree = msgspec.json.decode(data)
            # Of two equal keys the decoder keeps the last one.
            json.loads(data, object_pairs_hook=_once)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise self._refusal(f"is damaged: {error}") from error
        return tree

    def _refusal(self, what: str) -> UsageError:
        return self.error(f"{self.path} {what}", hint=self.hint)


def _once(pairs: _Pairs) -> dict[str, object]:
    keys = dict(pairs)
    if len(keys) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {show(twice)} stands twice in one object")
    return keys
