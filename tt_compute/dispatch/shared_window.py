"""A window that several processes of one user share, through a small SQLite file."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tt_compute.dispatch.window import Window
from tt_compute.errors import StoreError
from tt_compute.sqlite import transaction

__all__ = ["SharedUse", "SharedWindow"]

_BUSY_S: Final = 2.0
_LEASE: Final = 1 / 100
"""Of the allowance that is taken from the file at once, and used up within the slot: a transaction for each sample
would cost more than the rest of its way."""


class SharedUse:
    """The file: how much of each window was taken in each slot. Opened at first use.

    Args:
        file: Made with its folder if need be.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._connection: sqlite3.Connection | None = None

    @property
    def exists(self) -> bool:
        """Whether anything was ever taken."""
        return self._connection is not None or self._file.exists()

    def used(self, window: str, since_slot: int) -> dict[int, float]:
        """What was taken, by slot."""
        with self._transaction() as connection:
            return self._read(connection, window, since_slot)

    def take(
        self, window: str, slot: int, since_slot: int, *, least: float, most: float, amount: float
    ) -> tuple[float, dict[int, float]]:
        """Take up to ``most`` and at least ``least`` of what is left of ``amount``.

        Returns:
            What was taken, 0 if there is not enough; and what is taken now, by slot.
        """
        with self._transaction() as connection:
            slots = self._read(connection, window, since_slot)
            left = amount - sum(slots.values())
            if left < least:
                return 0.0, slots
            taken = max(least, min(most, left))
            self._add(connection, window, slot, taken)
            connection.execute(
                "DELETE FROM use WHERE window = ? AND slot < ?", (window, since_slot)
            )
            slots[slot] = slots.get(slot, 0.0) + taken
            return taken, slots

    def add(self, window: str, slot: int, change: float) -> None:
        """Correct a slot."""
        with self._transaction() as connection:
            self._add(connection, window, slot, change)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @staticmethod
    def _read(connection: sqlite3.Connection, window: str, since_slot: int) -> dict[int, float]:
        rows = connection.execute(
            "SELECT slot, taken FROM use WHERE window = ? AND slot >= ? ORDER BY slot",
            (window, since_slot),
        )
        return {int(slot): float(taken) for slot, taken in rows}

    @staticmethod
    def _add(connection: sqlite3.Connection, window: str, slot: int, change: float) -> None:
        connection.execute(
            "INSERT INTO use VALUES (?, ?, max(0, ?)) "
            "ON CONFLICT DO UPDATE SET taken = max(0, taken + ?)",
            (window, slot, change, change),
        )

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        try:
            if self._connection is None:
                self._connection = self._open()
            with transaction(self._connection):
                yield self._connection
        except (sqlite3.Error, OSError) as error:
            raise StoreError(
                f"the shared limits in {self._file} cannot be used: {error}",
                hint="delete the file if it is damaged, or set dispatch.share_limits to false",
            ) from error

    def _open(self) -> sqlite3.Connection:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            self._file, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA journal_mode=WAL")
        # What a power cut may lose is a minute's use.
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS use (window TEXT, slot INTEGER, taken REAL, "
            "PRIMARY KEY (window, slot)) WITHOUT ROWID"
        )
        return connection


_LOG = logging.getLogger(__name__)


class SharedWindow(Window):
    """A window whose use stands in a file. Times are seconds since the epoch, which all processes agree on.

    Args:
        amount: What may be taken within ``window_s``.
        window_s: Length of the window.
        use: The file.
        name: Of the account, axis and length.
        leases: Take more at once than is needed; not for money, which is never set aside for nothing.
    """

    def __init__(
        self, amount: float, window_s: float, *, use: SharedUse, name: str, leases: bool = True
    ) -> None:
        super().__init__(amount, window_s)
        self._use: SharedUse | None = use
        self._name = name
        self._leases = leases
        self._lease = (0, 0.0)
        self._owed: dict[int, float] = {}

    def wait_s(self, cost: float, now: float) -> float:
        """As ``Window``; takes from the file what ``take`` will need."""
        slot = self.slot(now)
        if self._lease[0] == slot and self._lease[1] >= cost and cost <= self.amount:
            return max(0.0, self._blocked_until - now)
        try:
            taken = self._take_lease(slot, cost, now)
        except StoreError as error:
            self._go_alone(error)
            taken = 0.0
        if taken:
            self._lease = (slot, taken)
            return max(0.0, self._blocked_until - now)
        return super().wait_s(cost, now)

    def take(self, cost: float, now: float) -> int:
        slot, left = self._lease
        if slot == self.slot(now) and left >= cost:
            self._lease = (slot, left - cost)
            return slot
        if self._use is not None:
            self._use.add(self._name, self.slot(now), cost)
        return super().take(cost, now)

    def settle(self, slot: int, taken: float, used: float, now: float) -> None:
        super().settle(slot, taken, used, now)
        self._owed[slot] = self._owed.get(slot, 0.0) + used - taken

    def used(self, now: float) -> float:
        try:
            if self._use is not None:
                self._return_lease(self._use)
                self._set(self._use.used(self._name, self._oldest(now)))
        except StoreError as error:
            self._go_alone(error)
        return super().used(now)

    def left(self, now: float) -> float:
        """As ``Window``; what others took is as old as the last look at the file."""
        slot, leased = self._lease
        return super().left(now) + (leased if slot == self.slot(now) else 0.0)

    def look(self, now: float) -> None:
        """Read what others took, if there is a file.

        Raises:
            StoreError: Of a cap, where the file cannot be used.
        """
        if self._use is not None and self._use.exists:
            self.used(now)

    def flush(self) -> None:
        """Write back what this process took for nothing; without it others must wait until it leaves the window."""
        try:
            if self._use is not None:
                self._return_lease(self._use)
        except StoreError as error:
            _LOG.warning("%s; what was not used there is not given back", error.message)

    def _take_lease(self, slot: int, cost: float, now: float) -> float:
        if self._use is None:
            return 0.0
        self._return_lease(self._use)
        most = max(cost, self.amount * _LEASE if self._leases else 0.0)
        taken, slots = self._use.take(
            self._name, slot, self._oldest(now), least=cost, most=most, amount=self.amount
        )
        self._set(slots)
        return taken

    def _return_lease(self, use: SharedUse) -> None:
        """Write back what was taken for nothing, and what settled samples took less or more."""
        slot, left = self._lease
        self._lease = (0, 0.0)
        if left:
            self._owed[slot] = self._owed.get(slot, 0.0) - left
        owed, self._owed = self._owed, {}
        for at, change in owed.items():
            if change:
                use.add(self._name, at, change)

    def _go_alone(self, error: StoreError) -> None:
        """Keep to the limit in this process alone; a cap on money must not, and fails.

        Raises:
            StoreError: Of a cap.
        """
        if not self._leases:
            raise error
        _LOG.warning("%s; rate limits hold for this process alone", error.message)
        self._use = None

    def _oldest(self, now: float) -> int:
        return self.slot(now - self.window_s)

    def _set(self, slots: dict[int, float]) -> None:
        self._slots = slots
        self._used = sum(slots.values())
