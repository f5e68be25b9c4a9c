"""No connection may be open while its process forks.

SQLite keeps its locks by process. A child that only inherits a connection, without using or closing it,
still takes the parent's locks for its own, and then loses what it writes when the parent closes the file.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from typing import Protocol

__all__ = ["Droppable", "close_across_forks"]


class Droppable(Protocol):
    """What holds a connection."""

    def drop_connection(self) -> None:
        """Close it; the caller holds the lock."""
        ...


def close_across_forks(holder: Droppable, lock: threading.Lock) -> None:
    """Close the holder's connection before every fork; both sides open their own when they need one.

    Args:
        holder: Kept only weakly.
        lock: Guards the connection; held while the process forks, so that it is free on both sides.
    """
    if sys.platform != "win32":
        gate = _Gate(holder, lock)
        os.register_at_fork(
            before=gate.shut, after_in_parent=gate.open_again, after_in_child=gate.open_again
        )


class _Gate:
    def __init__(self, holder: Droppable, lock: threading.Lock) -> None:
        self._holder = weakref.ref(holder)
        self._lock = lock

    def shut(self) -> None:
        self._lock.acquire()
        holder = self._holder()
        if holder is not None:
            holder.drop_connection()

    def open_again(self) -> None:
        self._lock.release()
