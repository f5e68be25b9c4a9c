"""Runs that teach nothing any more, because the user said so; their receipts stay."""

from __future__ import annotations

import sqlite3

__all__ = ["count_forgotten", "forget", "teaches"]

_MATCHES = """forgotten.is_mock = receipts.is_mock AND receipts.number <= forgotten.up_to
      AND (forgotten.deployment IS NULL OR forgotten.deployment = receipts.deployment)
      AND (forgotten.task IS NULL OR forgotten.task = receipts.task)
      AND (forgotten.model IS NULL OR {model})"""
_PLANNED_OR_DRAWN = """forgotten.model = receipts.model
          OR forgotten.model IN (SELECT model FROM samples WHERE receipt = receipts.number)"""


def teaches(model: str) -> str:
    """A condition on a row of ``receipts``; ``model`` is the column that holds whose evidence it is."""
    matches = _MATCHES.format(model=f"forgotten.model = {model}")
    return f"NOT EXISTS (SELECT 1 FROM forgotten WHERE {matches})"  # noqa: S608 - our own column names


def forget(
    connection: sqlite3.Connection,
    *,
    mock: bool,
    model: str | None,
    deployment: str | None,
    task: str | None,
) -> int:
    """Let all runs so far that match teach nothing; inside a transaction.

    Returns:
        How many runs that did.
    """
    before = count_forgotten(connection, mock=mock)
    newest: int = connection.execute("SELECT coalesce(max(number), 0) FROM receipts").fetchone()[0]
    connection.execute(
        "DELETE FROM forgotten WHERE is_mock = ? AND model IS ? AND deployment IS ? AND task IS ?",
        (mock, model, deployment, task),
    )
    connection.execute(
        "INSERT INTO forgotten VALUES (?, ?, ?, ?, ?)", (mock, newest, model, deployment, task)
    )
    return count_forgotten(connection, mock=mock) - before


def count_forgotten(connection: sqlite3.Connection, *, mock: bool) -> int:
    """Kept runs that teach nothing, or nothing of one of their models."""
    matches = _MATCHES.format(model=_PLANNED_OR_DRAWN)
    found: int = connection.execute(
        "SELECT count(*) FROM receipts WHERE is_mock = ? "  # noqa: S608 - our own column names
        f"AND EXISTS (SELECT 1 FROM forgotten WHERE {matches})",
        (mock,),
    ).fetchone()[0]
    return found
