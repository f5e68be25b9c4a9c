"""The store as the client uses it: asynchronous, and never the reason that a run fails."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Self

import anyio.to_thread

from tt_compute.errors import StoreError
from tt_compute.planning.estimates import Estimates, History, Version
from tt_compute.planning.evidence_file import Evidence
from tt_compute.results import Result
from tt_compute.store.database import Database, StoreInfo
from tt_compute.store.limits import Limits
from tt_compute.store.runs import RunRecord

__all__ = ["Store"]

_log = logging.getLogger(__name__)
_SECONDS_PER_DAY = 86_400.0


class Store:
    """Receipts and what they teach. Made by ``open``; safe from several tasks and processes at once.

    Attributes:
        unusable: Why there is no store; None when there is one.
        warnings: What ``open`` met on the way: a damaged file set aside, or why there is no store.
    """

    def __init__(
        self, database: Database | None, *, unusable: str | None, warnings: tuple[str, ...]
    ) -> None:
        self._database = database
        self.unusable = unusable
        self.warnings = warnings

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        wall_clock: Callable[[], float],
        keep_text: bool = False,
        max_age_days: float | None = 365.0,
        max_bytes: int | None = 64 << 20,
    ) -> Self:
        """Open the store at ``path``, or go on without one and say why in ``warnings``.

        Args:
            path: The file; made with its folder, readable by the user alone.
            wall_clock: Unix seconds.
            keep_text: Keep prompts and answers too, not only numbers and hashes.
            max_age_days: Older runs are deleted; None = no limit.
            max_bytes: Beyond it the oldest runs are deleted; None = no limit.
        """
        limits = Limits(
            max_age_s=None if max_age_days is None else max_age_days * _SECONDS_PER_DAY,
            max_bytes=max_bytes,
        )
        database = Database(path, keep_text=keep_text, limits=limits, wall_clock=wall_clock)
        try:
            await anyio.to_thread.run_sync(database.open)
        except StoreError as exc:
            database.close()
            _log.info("going on without a store: %s", exc.message)
            return cls(None, unusable=exc.message, warnings=(f"no store: {exc.message}",))
        return cls(database, unusable=None, warnings=database.take_warnings())

    async def aclose(self) -> None:
        """May be called twice; a later call opens the file again."""
        if self._database is not None:
            await anyio.to_thread.run_sync(self._database.close)

    async def record(self, result: Result, *, prompt: str, mock: bool) -> tuple[str, ...]:
        """Enter one run.

        Args:
            result: What was answered, with its plan and receipt.
            prompt: All that was asked, as one text; only its keyed hash is stored by default.
            mock: A mock deployment took part; such runs teach nothing about real ones.

        Returns:
            Warnings: that the run could not be kept, or what happened to the file. Never raises for
            the store's own troubles: the answer is there and must not be lost for its receipt.
        """
        database = self._database
        if database is None:
            return ()
        try:
            await anyio.to_thread.run_sync(
                partial(database.record, result, prompt=prompt, mock=mock)
            )
        except StoreError as exc:
            _log.warning("%s", exc.message)
            return (*database.take_warnings(), f"the receipt was not kept: {exc.message}")
        return database.take_warnings()

    async def feedback(self, result_id: str, *, correct: bool) -> None:
        """Note whether an answer was right; may be repeated, the last word counts.

        Raises:
            StoreError: There is no store, or no such result in it.
        """
        work = partial(self._usable().feedback, result_id, correct=correct)
        await anyio.to_thread.run_sync(work)

    async def estimates(
        self, *, mock: bool = False, versions: Mapping[str, Version] = MappingProxyType({})
    ) -> Estimates:
        """What past runs taught; nothing when there is no store or it cannot be read now.

        Args:
            mock: Of mock runs only, instead of real runs only.
            versions: What each deployment runs now; runs of another version of it are left out.
        """
        if self._database is None:
            return Estimates()
        try:
            return await anyio.to_thread.run_sync(
                partial(self._database.estimates, mock=mock, versions=versions)
            )
        except StoreError as exc:
            _log.warning("planning without past runs: %s", exc.message)
            return Estimates()

    async def history(
        self, *, mock: bool, versions: Mapping[str, Version] = MappingProxyType({})
    ) -> History:
        """Which runs teach nothing and what was imported; arguments as of ``estimates``.

        Raises:
            StoreError: There is no store, or it cannot be read.
        """
        work = partial(self._usable().history, mock=mock, versions=versions)
        return await anyio.to_thread.run_sync(work)

    async def evidence(
        self, *, mock: bool, versions: Mapping[str, Version] = MappingProxyType({})
    ) -> Evidence:
        """What the own runs taught, for another store; arguments as of ``estimates``.

        Raises:
            StoreError: There is no store, or it cannot be read.
        """
        work = partial(self._usable().evidence, mock=mock, versions=versions)
        return await anyio.to_thread.run_sync(work)

    async def take_in(self, evidence: Evidence) -> int:
        """Keep another store's evidence beside the own; returns its questions.

        Raises:
            StoreError: There is no store, it is this store's own, or it could not be written.
        """
        return await anyio.to_thread.run_sync(partial(self._usable().take_in, evidence))

    async def forget(
        self,
        *,
        mock: bool = False,
        model: str | None = None,
        deployment: str | None = None,
        task: str | None = None,
    ) -> tuple[int, int]:
        """Let runs so far teach nothing any more and drop what was imported; None = of all.

        Returns:
            Runs, and parts of imports.

        Raises:
            StoreError: There is no store, or it cannot be written.
        """
        work = partial(
            self._usable().forget, mock=mock, model=model, deployment=deployment, task=task
        )
        return await anyio.to_thread.run_sync(work)

    async def runs(
        self, *, since: float = 0.0, deployment: str | None = None, mock: bool = False
    ) -> list[RunRecord]:
        """Past runs, oldest first.

        Args:
            since: Unix seconds.
            deployment: Only those planned for it; None = all.
            mock: Of mock runs only, instead of real runs only.

        Raises:
            StoreError: There is no store, or it cannot be read.
        """
        work = partial(self._usable().runs, since=since, deployment=deployment, mock=mock)
        return await anyio.to_thread.run_sync(work)

    async def info(self) -> StoreInfo:
        """What the store holds.

        Raises:
            StoreError: There is no store.
        """
        return await anyio.to_thread.run_sync(self._usable().info)

    async def purge(self, *, older_than_days: float | None = None) -> int:
        """Delete runs for good, all of them when None; returns how many.

        Raises:
            StoreError: There is no store, or it cannot be written.
        """
        seconds = None if older_than_days is None else older_than_days * _SECONDS_PER_DAY
        work = partial(self._usable().purge, older_than_s=seconds)
        return await anyio.to_thread.run_sync(work)

    def _usable(self) -> Database:
        if self._database is None:
            raise StoreError(f"there is no store: {self.unusable}")
        return self._database
