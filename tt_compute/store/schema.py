"""The tables, and how a file of theirs is told from another one.

meta      the random key under which prompts are hashed, and the store's random name
receipts  one row per run: its plan, its receipt, its prediction, the caller's verdict
samples   one row per sample of a run, without its text
texts     prompt and answer of a run; empty unless the user asked to keep them
forgotten runs that teach nothing any more; NULL in a column stands for all
imported  what other stores taught, a row for each model, kind of task and weights
"""

from __future__ import annotations

import secrets
import sqlite3

from tt_compute.sqlite import transaction

__all__ = [
    "PREDICTED",
    "RECEIPT_COLUMNS",
    "SAMPLE_COLUMNS",
    "SCHEMA_VERSION",
    "check_all",
    "create",
    "probe",
]

SCHEMA_VERSION = 8
"""Kept in ``user_version``. A file with a higher one belongs to a newer release."""

PREDICTED = "predicted_"
"""Prefix of the columns that hold the prediction beside the actual value."""

RECEIPT_COLUMNS = {
    "id": "TEXT NOT NULL UNIQUE",
    "created_at": "REAL NOT NULL",  # Unix seconds
    "is_mock": "INTEGER NOT NULL",
    "deployment": "TEXT NOT NULL",
    "backend": "TEXT NOT NULL",
    "model": "TEXT NOT NULL",
    "task": "TEXT NOT NULL",
    "strategy": "TEXT NOT NULL",
    "stop_rule": "TEXT",
    "max_samples": "INTEGER NOT NULL",
    "wave": "INTEGER NOT NULL",  # widest wave that was really drawn
    "weights": "TEXT",  # which weights answered
    "runtime": "TEXT",  # which backend, version and options ran them
    "prompt_hash": "BLOB NOT NULL",
    "answered": "INTEGER NOT NULL",  # whether the run had an answer
    "confidence": "REAL",
    "stop_reason": "TEXT NOT NULL",
    "stop_posterior": "REAL",
    "samples_drawn": "INTEGER NOT NULL",
    "samples_finished": "INTEGER NOT NULL",
    "samples_cancelled": "INTEGER NOT NULL",
    "samples_failed": "INTEGER NOT NULL",
    "votes": "TEXT NOT NULL",  # samples of each answer, the given one first: "5,2,1"
    "abstained": "INTEGER NOT NULL",
    "accepted": "INTEGER NOT NULL",  # by the verifier
    "refused": "INTEGER NOT NULL",
    "greedy": "INTEGER NOT NULL",  # drawn at temperature 0
    "prompt_tokens": "INTEGER",  # as estimated for the plan
    "input_tokens": "INTEGER NOT NULL",
    "cached_tokens": "INTEGER NOT NULL",
    "output_tokens": "INTEGER NOT NULL",
    "cancelled_tokens": "INTEGER NOT NULL",
    "verifier_tokens": "INTEGER NOT NULL",
    "cost_usd": "REAL",
    "energy_j": "REAL",
    "latency_s": "REAL NOT NULL",
    "first_token_s": "REAL",
    "decode_tokens": "INTEGER",  # with what follows; all NULL when the run does not tell
    "decode_s": "REAL",
    "decode_rows": "REAL",  # samples in flight, on average
    PREDICTED + "quality": "REAL",
    PREDICTED + "latency_p50_s": "REAL",
    PREDICTED + "latency_p95_s": "REAL",
    PREDICTED + "cost_usd": "REAL",
    PREDICTED + "energy_j": "REAL",
    PREDICTED + "samples_mean": "REAL",
    "correct": "INTEGER",  # the caller's verdict, NULL until there is one
}
SAMPLE_COLUMNS = {
    "receipt": "INTEGER NOT NULL REFERENCES receipts (number) ON DELETE CASCADE",
    "sample_index": "INTEGER NOT NULL",
    "deployment": "TEXT NOT NULL",
    "model": "TEXT",
    "finish_reason": "TEXT",
    "finished": "INTEGER NOT NULL",
    "own": "INTEGER NOT NULL",  # of the request's own prompt, not of one that a strategy opened
    "counted": "INTEGER NOT NULL",  # not drawn ahead by a vote that ended without it
    "output_tokens": "INTEGER NOT NULL",
    "answered": "INTEGER NOT NULL",
    "agrees": "INTEGER NOT NULL",  # its answer is the run's answer
    "accepted": "INTEGER",  # by the verifier, NULL where it did not judge, or may err
    "mean_logprob": "REAL",
    "score": "REAL",
}

_TEXT_COLUMNS = {
    "receipt": "INTEGER PRIMARY KEY REFERENCES receipts (number) ON DELETE CASCADE",
    "prompt": "TEXT NOT NULL",
    "answer": "TEXT",
    "text": "TEXT NOT NULL",
}

_FORGOTTEN_COLUMNS = {
    "is_mock": "INTEGER NOT NULL",
    "up_to": "INTEGER NOT NULL",  # number of the newest of these runs
    "model": "TEXT",
    "deployment": "TEXT",
    "task": "TEXT",
}
_IMPORTED_COLUMNS = {
    "origin": "TEXT NOT NULL",
    "imported_at": "REAL NOT NULL",  # Unix seconds
    "is_mock": "INTEGER NOT NULL",
    "model": "TEXT NOT NULL",
    "task": "TEXT NOT NULL",
    "evidence": "BLOB NOT NULL",  # a ModelEvidence as JSON
}


def _columns(columns: dict[str, str]) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in columns.items())


_SAMPLES_KEY = "PRIMARY KEY (receipt, sample_index)"
_TABLES = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL)",
    # AUTOINCREMENT: the newest runs always have the highest numbers, also after a purge.
    f"CREATE TABLE receipts (number INTEGER PRIMARY KEY AUTOINCREMENT, {_columns(RECEIPT_COLUMNS)})",
    "CREATE INDEX receipts_by_age ON receipts (created_at)",
    "CREATE INDEX receipts_judged ON receipts (is_mock, number) WHERE correct IS NOT NULL",
    f"CREATE TABLE samples ({_columns(SAMPLE_COLUMNS)}, {_SAMPLES_KEY}) WITHOUT ROWID",
    f"CREATE TABLE texts ({_columns(_TEXT_COLUMNS)})",
    f"CREATE TABLE forgotten ({_columns(_FORGOTTEN_COLUMNS)})",
    f"CREATE TABLE imported ({_columns(_IMPORTED_COLUMNS)})",
)
_HASH_KEY_BYTES = 32
_NAME_BYTES = 8


def create(connection: sqlite3.Connection) -> None:
    """Lay the tables of a new file."""
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    with transaction(connection):
        for statement in _TABLES:
            connection.execute(statement)
        connection.execute(
            "INSERT INTO meta VALUES ('hash_key', ?)", (secrets.token_bytes(_HASH_KEY_BYTES),)
        )
        connection.execute("INSERT INTO meta VALUES ('name', ?)", (secrets.token_hex(_NAME_BYTES),))
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    # A reader of another release finds the version in the file's header, not only in the log.
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def probe(connection: sqlite3.Connection) -> bytes:
    """Touch every table and return the key for hashes.

    Raises:
        sqlite3.DatabaseError: The file is not what it should be.
    """
    for table in ("receipts", "samples", "texts", "forgotten", "imported"):
        connection.execute(f"SELECT * FROM {table} LIMIT 1").fetchall()  # noqa: S608 - our own names
    row = connection.execute("SELECT value FROM meta WHERE name = 'hash_key'").fetchone()
    if row is None:
        raise sqlite3.DatabaseError("the key for hashes is missing")
    key: bytes = row[0]
    return key


def check_all(connection: sqlite3.Connection) -> None:
    """Read the whole file.

    Raises:
        sqlite3.DatabaseError: It is damaged somewhere.
    """
    found: str = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise sqlite3.DatabaseError(found)
