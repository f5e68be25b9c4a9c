"""How many attempts are under way at a deployment at once, and who waits for a place."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from tt_compute.errors import Overloaded

__all__ = ["Bulkhead", "Waiter"]

_QUEUE_PER_PLACE: Final = 32
_SERVICE_S: Final = 1.0
"""Assumed length of an attempt before any was seen."""
_WEIGHT: Final = 0.1
"""Of the newest attempt in the mean length."""


class Waiter:
    """One who waits; ``granted`` is called when a place is theirs."""

    def __init__(self, granted: Callable[[], None]) -> None:
        self.granted = granted
        self.active = True


class Bulkhead:
    """Places and a bounded queue, the newest first: who waited longest is the likeliest to have given up.

    Args:
        places: Most attempts at once; None = any number.
        deployment: For messages.
    """

    def __init__(self, places: int | None, deployment: str) -> None:
        self._places = places
        self._deployment = deployment
        self._taken = 0
        self._waiting: deque[Waiter] = deque()
        self._service_s = _SERVICE_S
        self._seen = False

    @property
    def taken(self) -> int:
        return self._taken

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def service_s(self) -> float | None:
        """Mean length of the latest attempts; None before any was seen."""
        return self._service_s if self._seen else None

    def try_enter(self) -> bool:
        """Take a place if one is free."""
        if self._places is not None and self._taken >= self._places:
            return False
        self._taken += 1
        return True

    def enqueue(self, granted: Callable[[], None], *, left_s: float | None) -> Waiter:
        """Wait for a place.

        Args:
            granted: Called when it is there; the place is taken by then.
            left_s: The caller's time; None = any.

        Raises:
            Overloaded: The queue is full, or its wait is longer than the caller's time.
        """
        assert self._places is not None
        wait_s = self._service_s * (len(self._waiting) + 1) / self._places
        full = len(self._waiting) >= _QUEUE_PER_PLACE * self._places
        if full or (left_s is not None and wait_s > left_s):
            why = "its queue is full" if full else f"its queue takes {wait_s:.1f} s"
            raise Overloaded(
                f"{self._deployment} has {self._places} attempts under way and {why}",
                deployment=self._deployment,
                retry_after_s=wait_s,
                hint="raise limits.max_concurrency if the service allows it, or send less at once",
            )
        waiter = Waiter(granted)
        self._waiting.append(waiter)
        return waiter

    def leave(self, took_s: float | None = None) -> None:
        """Give a place back, to whoever waits; ``took_s`` = how long the attempt was."""
        if took_s is not None:
            self._seen = True
            self._service_s += _WEIGHT * (took_s - self._service_s)
        while self._waiting:
            waiter = self._waiting.pop()
            if waiter.active:
                waiter.active = False
                waiter.granted()
                return
        self._taken -= 1

    def give_up(self, waiter: Waiter) -> None:
        """Stop waiting. Does nothing for a waiter whose place is there: it must ``leave``."""
        if waiter.active:
            waiter.active = False
            self._waiting.remove(waiter)
