"""Opening the store's file: made, checked, set aside when damaged, left alone when newer."""

from __future__ import annotations

import logging
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from tt_compute.store.schema import SCHEMA_VERSION, check_all, create, probe

__all__ = ["NewerFile", "Opened", "inode", "is_damage", "open_file"]

_log = logging.getLogger(__name__)
_BUSY_TIMEOUT_S = 10.0
_LOG_LIMIT_BYTES = 4 << 20
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_PRIMARY_CODE = 0xFF
_COMPANIONS = ("-wal", "-shm")


class NewerFile(Exception):
    """The file belongs to a newer release and was not touched."""


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A usable connection.

    Attributes:
        inode: Of the file it writes to; another one under the same path means the file was replaced.
        hash_key: For ``prompt_hash``.
        warning: What happened on the way; None when all was well.
    """

    connection: sqlite3.Connection
    inode: int
    hash_key: bytes
    warning: str | None


def open_file(path: Path, *, distrust: bool = False) -> Opened:
    """Open the store at ``path``, made first when there is none.

    One process at a time, so that two that meet a damaged file do not set aside each other's fresh one.

    Args:
        path: The file.
        distrust: Read all of it first, because an operation met damage further in.

    Raises:
        NewerFile: A newer release wrote it.
        OSError: The folder or the file cannot be used.
        sqlite3.Error: Likewise, as SQLite says it.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with FileLock(f"{path}.lock", timeout=_BUSY_TIMEOUT_S, mode=0o600):
        try:
            return _connect(path, warning=None, distrust=distrust)
        except sqlite3.DatabaseError as exc:
            if not is_damage(exc):
                raise
            return _start_afresh(path, str(exc))


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file itself is at fault, not the disk, the rights or another process."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        # Raised by the probe or by the binding itself: what it read made no sense.
        return type(error) is sqlite3.DatabaseError
    missing_table = code == sqlite3.SQLITE_ERROR and "no such" in str(error)
    return missing_table or code & _PRIMARY_CODE in _DAMAGE


def inode(path: Path) -> int | None:
    """Identity of the file at ``path``; None when there is none."""
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def _refuse_other(path: Path, version: int) -> None:
    if 0 < version < SCHEMA_VERSION:
        # No release wrote such a file; it is set aside like one that makes no sense.
        raise sqlite3.DatabaseError(f"schema {version}, from before the first release")
    if version > SCHEMA_VERSION:
        raise NewerFile(
            f"{path} was written by a newer release (schema {version}, this one knows "
            f"{SCHEMA_VERSION}); it was left as it is"
        )


def _start_afresh(path: Path, reason: str) -> Opened:
    aside = _set_aside(path)
    warning = f"{path} was damaged ({reason}); it was set aside as {aside.name} and a new one begun"
    _log.warning("%s", warning)
    return _connect(path, warning=warning)


def _set_aside(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    for companion in _COMPANIONS:
        beside = path.with_name(path.name + companion)
        if beside.exists():
            beside.rename(aside.with_name(aside.name + companion))
    return path.rename(aside)


def _connect(path: Path, *, warning: str | None, distrust: bool = False) -> Opened:
    # Made here and not by SQLite, because nobody else may read it; its log files inherit the mode.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    connection = sqlite3.connect(
        path,
        timeout=_BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        _refuse_other(path, version)
        # NORMAL: a crash of the process loses nothing committed, a power cut at most the last runs.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA secure_delete = ON").fetchall()
        connection.execute(f"PRAGMA journal_size_limit = {_LOG_LIMIT_BYTES}").fetchall()
        if version == 0:
            create(connection)
        if distrust:
            check_all(connection)
        key = probe(connection)
    except BaseException:
        connection.close()
        raise
    return Opened(connection=connection, inode=path.stat().st_ino, hash_key=key, warning=warning)
