"""Age and size: the oldest runs go first."""

from __future__ import annotations

import sqlite3

import msgspec

__all__ = ["Limits", "delete_before", "enforce", "give_back_space"]

_TENTH = 10


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much is kept. None = no limit."""

    max_age_s: float | None
    max_bytes: int | None
    """Of the pages in use; log and free pages of the file come on top."""


def enforce(connection: sqlite3.Connection, limits: Limits, now: float) -> bool:
    """Delete what is too old and, over the size, the oldest tenth; inside a transaction.

    Returns:
        Whether anything was deleted.
    """
    deleted = 0
    if limits.max_age_s is not None:
        deleted = delete_before(connection, now - limits.max_age_s)
    if limits.max_bytes is not None and used_bytes(connection) > limits.max_bytes:
        runs: int = connection.execute("SELECT count(*) FROM receipts").fetchone()[0]
        deleted += _delete_oldest(connection, -(-runs // _TENTH))
    return deleted > 0


def _delete_oldest(connection: sqlite3.Connection, runs: int) -> int:
    return connection.execute(
        "DELETE FROM receipts WHERE number IN (SELECT number FROM receipts ORDER BY number LIMIT ?)",
        (runs,),
    ).rowcount


def delete_before(connection: sqlite3.Connection, moment: float) -> int:
    """Delete the runs entered before ``moment`` (Unix seconds); returns how many there were."""
    return connection.execute("DELETE FROM receipts WHERE created_at < ?", (moment,)).rowcount


def used_bytes(connection: sqlite3.Connection) -> int:
    """Pages that hold something, in bytes."""
    return (_pragma(connection, "page_count") - _pragma(connection, "freelist_count")) * _pragma(
        connection, "page_size"
    )


def give_back_space(connection: sqlite3.Connection) -> None:
    """Return free pages to the disk and empty the log, as far as other processes allow now."""
    # It frees one page a step and yields no rows: ``execute`` would end after the first page.
    connection.executescript("PRAGMA incremental_vacuum")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    value: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return value
