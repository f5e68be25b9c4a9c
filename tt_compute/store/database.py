"""The store's database from any thread and any process: one connection each, short transactions."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

import msgspec

from tt_compute.errors import StoreError
from tt_compute.planning.estimates import Estimates, History, Version
from tt_compute.planning.evidence_file import Evidence
from tt_compute.results import Result
from tt_compute.sqlite import transaction
from tt_compute.store.evidence import read_estimates, read_evidence, read_history
from tt_compute.store.files import NewerFile, Opened, inode, is_damage, open_file
from tt_compute.store.forgotten import forget
from tt_compute.store.forks import close_across_forks
from tt_compute.store.imports import add_import, drop_imports
from tt_compute.store.limits import Limits, delete_before, enforce, give_back_space
from tt_compute.store.rows import prompt_hash, receipt_row, sample_rows
from tt_compute.store.runs import RunRecord, read_runs
from tt_compute.store.schema import RECEIPT_COLUMNS, SAMPLE_COLUMNS

__all__ = ["Database", "StoreInfo"]

T = TypeVar("T")

_INSERT_RECEIPT = (
    f"INSERT INTO receipts ({', '.join(RECEIPT_COLUMNS)}) "  # noqa: S608 - our own column names
    f"VALUES ({', '.join('?' * len(RECEIPT_COLUMNS))})"
)
_INSERT_SAMPLE = (
    f"INSERT INTO samples ({', '.join(SAMPLE_COLUMNS)}) "  # noqa: S608 - our own column names
    f"VALUES ({', '.join('?' * len(SAMPLE_COLUMNS))})"
)


class StoreInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What the store holds."""

    path: str
    bytes: int
    """On disk, the log included."""
    receipts: int
    mock_receipts: int
    """The part of ``receipts`` that came from mock runs."""
    judged: int
    """Receipts with feedback."""
    texts: int
    """Receipts whose prompt and answer were kept."""
    samples: int
    oldest_at: float | None
    """Unix seconds; None when empty."""
    newest_at: float | None
    keeps_text: bool


class Database:
    """Blocking; every method opens what it needs and raises ``StoreError`` when it cannot.

    Args:
        path: The file.
        keep_text: Keep prompts and answers too.
        limits: How much is kept.
        wall_clock: Unix seconds.
    """

    def __init__(
        self, path: Path, *, keep_text: bool, limits: Limits, wall_clock: Callable[[], float]
    ) -> None:
        self.path = path
        self._keep_text = keep_text
        self._limits = limits
        self._wall_clock = wall_clock
        self._warnings: list[str] = []
        self._lock = threading.Lock()
        self._opened: Opened | None = None
        close_across_forks(self, self._lock)

    def open(self) -> None:
        """Open the file and delete what is over the limits.

        Raises:
            StoreError: It cannot be used; the message says why.
        """
        self._run(self._trim)

    def close(self) -> None:
        """May be called twice; the next call of another method opens the file again."""
        with self._lock:
            self.drop_connection()

    def drop_connection(self) -> None:
        """As ``close``, for who holds the lock already."""
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.connection.close()

    def take_warnings(self) -> tuple[str, ...]:
        """What happened to the file since the last call."""
        taken, self._warnings = tuple(self._warnings), []
        return taken

    def record(self, result: Result, *, prompt: str, mock: bool) -> None:
        """Enter one run, whole or not at all.

        Raises:
            StoreError: It could not be written.
        """
        chosen = result.plan.chosen
        if chosen is None:
            raise StoreError(f"result {result.id} has no plan that was run")

        def write(opened: Opened) -> bool:
            connection, now = opened.connection, self._wall_clock()
            row = receipt_row(
                result,
                chosen,
                created_at=now,
                mock=mock,
                hashed=prompt_hash(prompt, opened.hash_key),
            )
            with transaction(connection):
                number = connection.execute(_INSERT_RECEIPT, row).lastrowid
                assert number is not None
                connection.executemany(_INSERT_SAMPLE, sample_rows(result, number))
                if self._keep_text:
                    texts = (number, prompt, result.answer, result.text)
                    connection.execute("INSERT INTO texts VALUES (?, ?, ?, ?)", texts)
                return enforce(connection, self._limits, now)

        if self._run(write):
            self._run(lambda opened: give_back_space(opened.connection))

    def feedback(self, result_id: str, *, correct: bool) -> None:
        """Note the caller's verdict; a later one replaces it.

        Raises:
            StoreError: No such result is kept, or it could not be written.
        """

        def write(opened: Opened) -> int:
            with transaction(opened.connection):
                return opened.connection.execute(
                    "UPDATE receipts SET correct = ? WHERE id = ?", (correct, result_id)
                ).rowcount

        if self._run(write) == 0:
            raise StoreError(
                f"no result {result_id!r} is kept in {self.path}",
                hint="`ttc solve --json` prints a result's id; old results are deleted by age and size",
            )

    def estimates(
        self, *, mock: bool, versions: Mapping[str, Version] = MappingProxyType({})
    ) -> Estimates:
        """What past runs taught: mock runs only, or real runs only; of what each deployment runs now."""
        return self._run(
            lambda opened: read_estimates(opened.connection, mock=mock, versions=versions)
        )

    def history(
        self, *, mock: bool, versions: Mapping[str, Version] = MappingProxyType({})
    ) -> History:
        """Which runs teach nothing and what was imported; arguments as of ``estimates``."""
        return self._run(
            lambda opened: read_history(opened.connection, mock=mock, versions=versions)
        )

    def evidence(
        self, *, mock: bool, versions: Mapping[str, Version] = MappingProxyType({})
    ) -> Evidence:
        """What the own runs taught, for another store; arguments as of ``estimates``."""
        return self._run(
            lambda opened: read_evidence(
                opened.connection, mock=mock, versions=versions, now=self._wall_clock()
            )
        )

    def take_in(self, evidence: Evidence) -> int:
        """Keep another store's evidence beside the own, whole or not at all; returns its questions.

        Raises:
            StoreError: It is this store's own, or could not be written.
        """

        def write(opened: Opened) -> int:
            with transaction(opened.connection):
                return add_import(opened.connection, evidence, self._wall_clock())

        return self._run(write)

    def forget(
        self, *, mock: bool, model: str | None, deployment: str | None, task: str | None
    ) -> tuple[int, int]:
        """Let runs so far teach nothing any more and drop what was imported; None = all.

        Returns:
            Runs, and parts of imports.
        """

        def write(opened: Opened) -> tuple[int, int]:
            connection = opened.connection
            with transaction(connection):
                runs = forget(connection, mock=mock, model=model, deployment=deployment, task=task)
                # What was imported is of no deployment.
                dropped = 0
                if deployment is None:
                    dropped = drop_imports(connection, mock=mock, model=model, task=task)
                return runs, dropped

        return self._run(write)

    def runs(self, *, since: float, deployment: str | None, mock: bool) -> list[RunRecord]:
        """Past runs, oldest first."""
        return self._run(
            lambda opened: read_runs(
                opened.connection, since=since, deployment=deployment, mock=mock
            )
        )

    def info(self) -> StoreInfo:
        """What the file holds."""
        return self._run(self._info)

    def purge(self, *, older_than_s: float | None) -> int:
        """Delete runs for good, all of them when ``older_than_s`` is None; returns how many.

        Their bytes are overwritten and the space is given back, unless another process is reading.
        """

        def write(opened: Opened) -> int:
            connection = opened.connection
            with transaction(connection):
                if older_than_s is None:
                    return connection.execute("DELETE FROM receipts").rowcount
                return delete_before(connection, self._wall_clock() - older_than_s)

        deleted = self._run(write)
        self._run(lambda opened: give_back_space(opened.connection))
        return deleted

    def _trim(self, opened: Opened) -> None:
        connection, deleted = opened.connection, False
        with transaction(connection):
            while enforce(connection, self._limits, self._wall_clock()):
                deleted = True
        if deleted:
            give_back_space(connection)

    def _info(self, opened: Opened) -> StoreInfo:
        connection = opened.connection
        receipts, mocks, judged, oldest, newest = connection.execute(
            "SELECT count(*), coalesce(sum(is_mock), 0), count(correct),"
            " min(created_at), max(created_at) FROM receipts"
        ).fetchone()
        return StoreInfo(
            path=str(self.path),
            bytes=sum(
                file.stat().st_size
                for file in (self.path, self.path.with_name(f"{self.path.name}-wal"))
                if file.exists()
            ),
            receipts=receipts,
            mock_receipts=mocks,
            judged=judged,
            texts=connection.execute("SELECT count(*) FROM texts").fetchone()[0],
            samples=connection.execute("SELECT count(*) FROM samples").fetchone()[0],
            oldest_at=oldest,
            newest_at=newest,
            keeps_text=self._keep_text,
        )

    def _run(self, operation: Callable[[Opened], T]) -> T:
        """Run ``operation``, once more on a fresh file when this one turns out to be damaged."""
        try:
            with self._lock:
                try:
                    return operation(self._current())
                except sqlite3.DatabaseError as exc:
                    if not is_damage(exc):
                        raise
                self.drop_connection()
                return operation(self._current(distrust=True))
        except NewerFile as exc:
            raise StoreError(
                str(exc), hint="update tt-compute, or set TTC_DATA_DIR to another folder"
            ) from exc
        except (sqlite3.Error, OSError) as exc:
            raise StoreError(
                f"the store {self.path} cannot be used: {exc}",
                hint="free some space, mend the folder's rights, or set TTC_DATA_DIR",
            ) from exc

    def _current(self, *, distrust: bool = False) -> Opened:
        """A connection to the file that lies at the path now."""
        if self._opened is not None and self._opened.inode != inode(self.path):
            # Another process set it aside, or somebody deleted it.
            self.drop_connection()
        if self._opened is None:
            self._opened = open_file(self.path, distrust=distrust)
            if self._opened.warning is not None:
                self._warnings.append(self._opened.warning)
        return self._opened
