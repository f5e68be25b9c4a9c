"""Evidence of other stores, kept beside the own: abilities and lengths, marked with their origin.

Speeds are not taken in: they are of the machine that measured them.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping

import msgspec

from tt_compute.errors import StoreError
from tt_compute.planning.estimates import Import, Version
from tt_compute.planning.evidence_file import Evidence, ModelEvidence

__all__ = ["add_import", "describe_imports", "drop_imports", "read_imports", "store_name"]


def store_name(connection: sqlite3.Connection) -> str:
    """The store's random name, by which another one tells what it has from here."""
    row = connection.execute("SELECT value FROM meta WHERE name = 'name'").fetchone()
    if row is None:
        raise sqlite3.DatabaseError("the store's name is missing")
    name: str = row[0]
    return name


def add_import(connection: sqlite3.Connection, evidence: Evidence, now: float) -> int:
    """Take evidence in, in the place of what came from the same store before; inside a transaction.

    Returns:
        Questions that were taken in.

    Raises:
        StoreError: It is this store's own.
    """
    if evidence.origin == store_name(connection):
        raise StoreError(
            "this evidence comes from this store, which has it already",
            hint="take it in on another machine",
        )
    connection.execute(
        "DELETE FROM imported WHERE origin = ? AND is_mock = ?", (evidence.origin, evidence.mock)
    )
    connection.executemany(
        "INSERT INTO imported VALUES (?, ?, ?, ?, ?, ?)",
        (
            (evidence.origin, now, evidence.mock, one.model, one.task, msgspec.json.encode(one))
            for one in evidence.models
        ),
    )
    return sum(map(_questions, evidence.models))


def drop_imports(
    connection: sqlite3.Connection, *, mock: bool, model: str | None, task: str | None
) -> int:
    """Delete what was imported of a model and kind of task, None = of all; returns how many rows."""
    return connection.execute(
        "DELETE FROM imported WHERE is_mock = ? AND (? IS NULL OR model = ?) AND (? IS NULL OR task = ?)",
        (mock, model, model, task, task),
    ).rowcount


def read_imports(
    connection: sqlite3.Connection, *, mock: bool, versions: Mapping[str, Version]
) -> list[ModelEvidence]:
    """What fits the weights that run here now, the newest import first."""
    return [one for _, _, one in _rows(connection, mock=mock) if _fits(one, versions)]


def describe_imports(
    connection: sqlite3.Connection, *, mock: bool, versions: Mapping[str, Version]
) -> tuple[Import, ...]:
    """One for each store that evidence was taken in from, the newest first."""
    found: dict[tuple[str, float], list[ModelEvidence]] = defaultdict(list)
    for origin, imported_at, one in _rows(connection, mock=mock):
        found[origin, imported_at].append(one)
    return tuple(
        Import(
            origin=origin,
            imported_at=imported_at,
            models=tuple(dict.fromkeys(one.model for one in models)),
            questions=sum(map(_questions, models)),
            used=any(_fits(one, versions) for one in models),
        )
        for (origin, imported_at), models in found.items()
    )


def _rows(
    connection: sqlite3.Connection, *, mock: bool
) -> Iterator[tuple[str, float, ModelEvidence]]:
    for origin, imported_at, text in connection.execute(
        "SELECT origin, imported_at, evidence FROM imported WHERE is_mock = ? ORDER BY rowid DESC",
        (mock,),
    ):
        try:
            yield origin, imported_at, msgspec.json.decode(text, type=ModelEvidence)
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise sqlite3.DatabaseError(f"imported evidence makes no sense: {exc}") from exc


def _fits(one: ModelEvidence, versions: Mapping[str, Version]) -> bool:
    """Whether it is of weights that a deployment here has, as far as they are known."""
    known = {version.weights for version in versions.values()}
    return one.weights is None or not known or None in known or one.weights in known


def _questions(one: ModelEvidence) -> int:
    return len(one.observations) + len(one.greedy)
