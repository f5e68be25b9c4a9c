"""Checks many profile files at once and tells all that is wrong with them, not only the first fault."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path

import msgspec

from tt_compute.errors import ConfigError, UnknownNameError
from tt_compute.profiles.checking import check, suggestion
from tt_compute.profiles.document import Document, Tree, child, show
from tt_compute.profiles.library import FOLDERS, Kind, ProfileLibrary, duplicate, profile_files
from tt_compute.profiles.schema import DeploymentProfile, HardwareProfile, ModelProfile
from tt_compute.profiles.yaml import load_yaml

__all__ = ["MAX_AGE_DAYS", "Findings", "validate"]

MAX_AGE_DAYS = 180
"""Prices and speeds older than this deserve another look."""

_STRUCTS: dict[Kind, type[msgspec.Struct]] = {
    "hardware": HardwareProfile,
    "model": ModelProfile,
    "deployment": DeploymentProfile,
}
_KINDS: dict[str, Kind] = {folder: kind for kind, folder in FOLDERS.items()}


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """What a check found."""

    files: int
    errors: tuple[ConfigError, ...]
    warnings: tuple[str, ...]
    """``file:line: path: text``: facts that are old, or dated after today."""


def validate(
    paths: Iterable[Path],
    *,
    library: ProfileLibrary,
    today: date,
    max_age_days: int = MAX_AGE_DAYS,
) -> Findings:
    """Check files and folders.

    Args:
        paths: Profile files, profile folders, or their sub-folders.
        library: Where references may lead beside the files themselves.
        today: The date that ages are counted from.
        max_age_days: Older facts are warned about.
    """
    run = _Run(library, today, max_age_days)
    for path in paths:
        run.add(path)
    run.check_references()
    return Findings(files=len(run.seen), errors=tuple(run.errors), warnings=tuple(run.warnings))


class _Run:
    def __init__(self, library: ProfileLibrary, today: date, max_age_days: int) -> None:
        self.errors: list[ConfigError] = []
        self.warnings: list[str] = []
        self.seen: set[Path] = set()
        self._library = library
        self._today = today
        self._max_age_days = max_age_days
        self._ids: dict[tuple[Kind, str], Path] = {}
        self._deployments: list[Document] = []

    def add(self, path: Path) -> None:
        try:
            files = list(_expand(path))
        except ConfigError as exc:
            self.errors.append(exc)
            return
        for file, kind in files:
            if file.resolve() not in self.seen:
                self.seen.add(file.resolve())
                self._check_file(file, kind)

    def check_references(self) -> None:
        """Once all files are known: what deployments name must be there, and no id twice."""
        known = {kind: self._known(kind) for kind in FOLDERS}
        for document in self._deployments:
            for kind in ("model", "hardware"):
                named = document.tree.get(kind) if isinstance(document.tree, dict) else None
                if isinstance(named, str) and named not in known[kind]:
                    hint = suggestion(named, tuple(sorted(known[kind])))
                    self.errors.append(
                        document.error(kind, f"there is no {kind} {show(named)}", hint=hint)
                    )

    def _known(self, kind: Kind) -> set[str]:
        mine = {profile_id for of_kind, profile_id in self._ids if of_kind == kind}
        try:
            return mine | set(self._library.ids(kind))
        except ConfigError as exc:
            # A file under check that is broken was told about already, with all that is wrong in it.
            if str(exc) not in {str(error) for error in self.errors}:
                self.errors.append(exc)
            return mine

    def _check_file(self, file: Path, kind: Kind | None) -> None:
        try:
            document = load_yaml(file)
            kind = kind or _kind_of(document)
        except ConfigError as exc:
            self.errors.append(exc)
            return
        normal, problems = check(document, _STRUCTS[kind])
        self.errors.extend(problems)
        self._check_id(document, file, kind)
        if kind == "deployment":
            self._deployments.append(document)
        if not problems:
            self.warnings.extend(self._stale(document, normal, ""))

    def _check_id(self, document: Document, file: Path, kind: Kind) -> None:
        profile_id = document.tree.get("id") if isinstance(document.tree, dict) else None
        if not isinstance(profile_id, str):
            return
        first = self._ids.setdefault((kind, profile_id), self._in_library(kind, profile_id) or file)
        if first.resolve() != file.resolve():
            line = document.place("id").line
            self.errors.append(duplicate(kind, profile_id, file=file, line=line, first=first))

    def _in_library(self, kind: Kind, profile_id: str) -> Path | None:
        try:
            return self._library.file(kind, profile_id)
        except (ConfigError, UnknownNameError):
            return None  # a library at fault with itself is told about once, with the references

    def _stale(self, document: Document, node: Tree, path: str) -> Iterator[str]:
        if not isinstance(node, dict):
            for i, item in enumerate(node if isinstance(node, list) else ()):
                yield from self._stale(document, item, child(path, i))
            return
        as_of = node.get("as_of")
        if isinstance(as_of, str):
            age = (self._today - date.fromisoformat(as_of)).days
            text = f"as of {as_of}, {age} days ago" if age >= 0 else f"as of {as_of}, after today"
            if not 0 <= age <= self._max_age_days:
                yield str(document.error(child(path, "as_of"), text))
        for key, value in node.items():
            if path or key != "options":
                yield from self._stale(document, value, child(path, key))


def _expand(path: Path) -> Iterator[tuple[Path, Kind | None]]:
    """Files below ``path`` with the kind that their folder says; None = the file must say it."""
    if not path.is_dir():
        yield path, _KINDS.get(path.absolute().parent.name)
        return
    if path.name in _KINDS and not any((path / name).is_dir() for name in _KINDS):
        kind = _KINDS[path.name]
        for file in profile_files(path.parent, kind):
            yield file, kind
        return
    if not any((path / name).is_dir() for name in _KINDS):
        raise ConfigError(
            f"no profiles here: expected a folder with {', '.join(_KINDS)}", file=path
        )
    for kind in FOLDERS:
        for file in profile_files(path, kind):
            yield file, kind


def _kind_of(document: Document) -> Kind:
    stated = document.tree.get("kind") if isinstance(document.tree, dict) else None
    for kind in FOLDERS:
        if stated == kind:
            return kind
    raise document.error("kind", f"expected one of {', '.join(FOLDERS)}, got {show(stated)}")
