"""What is to happen when, in the order of time."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tt_compute.simulation.run import Run

__all__ = ["Agenda", "Fires"]


class Fires(Protocol):
    """Something that looks after itself when its time has come."""

    def fire(self, now: float, item: tuple[Run, int] | None, /) -> None: ...


class Agenda:
    """Entries of equal time come in the order in which they were added."""

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, Fires, tuple[Run, int] | None]] = []
        self._count = 0

    def number(self) -> int:
        """A number that was never given before; later ones are higher."""
        self._count += 1
        return self._count

    def add(self, at: float, who: Fires, item: tuple[Run, int] | None) -> None:
        self._count += 1
        heapq.heappush(self._entries, (at, self._count, who, item))

    def go_on_until(self, time: float) -> None:
        """Let everything happen that is due by then."""
        entries = self._entries
        while entries and entries[0][0] <= time:
            at, _, who, item = heapq.heappop(entries)
            who.fire(at, item)
