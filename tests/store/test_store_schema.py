"""The version of the store's file says what its tables are."""

from __future__ import annotations

import hashlib
import sqlite3

from tt_compute.store.schema import SCHEMA_VERSION, create

TABLES = {8: "271b1cd91f2f89d4"}
"""Version -> digest of its tables. A line is added, never changed: files of that version exist."""


def test_other_tables_are_another_version() -> None:
    """Else a file of before would be opened, and every run would say that it lacks a column."""
    connection = sqlite3.connect(":memory:")
    create(connection)
    rows = connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")
    tables = "\n".join(sql for (sql,) in rows)
    assert TABLES[SCHEMA_VERSION] == hashlib.sha256(tables.encode()).hexdigest()[:16]
