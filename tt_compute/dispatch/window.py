"""An allowance per window of time: taken before, settled after, never exceeded in any window.

A sliding window of slots. A bucket that refills (GCRA) holds a limit of X per window over every window only if
its burst and what it refills within one stay below X together, so it either forbids the burst of a fan-out or
leaves the allowance unused. The slots allow both: the whole allowance at once, and 1 - 1/SLOTS of it for ever.
"""

from __future__ import annotations

import math
from typing import Final

__all__ = ["SLOTS", "Window"]

SLOTS: Final = 64
"""A slot counts until all of it has left the window: at most 1/64 of the allowance lies idle."""


class Window:
    """One allowance. Times are seconds on any one clock.

    Args:
        amount: What may be taken within ``window_s``; above 0.
        window_s: Length of the window.
        guessed: Nobody stated this limit: what the service says is left is right, and our own count may not be.
    """

    def __init__(self, amount: float, window_s: float, *, guessed: bool = False) -> None:
        self.amount: float = amount
        self.guessed = guessed
        self.window_s = window_s
        self._slot_s = window_s / SLOTS
        self._slots: dict[int, float] = {}
        self._used = 0.0
        self._blocked_until = -math.inf

    def slot(self, now: float) -> int:
        return math.floor(now / self._slot_s)

    def used(self, now: float) -> float:
        """Taken within the window that ends now."""
        self._forget(now)
        return self._used

    def left(self, now: float) -> float:
        """What may still be taken, as far as this process knows; reads no file."""
        self._forget(now)
        return self.amount - self._used

    def frees_s(self, now: float) -> tuple[float, float]:
        """Seconds until the first and until the last of what is taken leaves the window; reads no file."""
        self._forget(now)
        if not self._slots:
            return 0.0, 0.0
        first, last = next(iter(self._slots)), next(reversed(self._slots))
        return self._leaves_at(first) - now, self._leaves_at(last) - now

    def blocked_s(self, now: float) -> float:
        """Seconds for which the service said that nothing is left; 0 = it did not."""
        return max(0.0, self._blocked_until - now)

    def look(self, now: float) -> None:
        """Learn what others took; here there are none."""

    def wait_s(self, cost: float, now: float) -> float:
        """Seconds until ``cost`` could be taken; 0 = now, infinite = never, it exceeds the whole allowance."""
        if cost > self.amount:
            return math.inf
        blocked_s = self.blocked_s(now)
        excess = self.used(now) + cost - self.amount
        if excess <= 0:
            return blocked_s
        for slot in sorted(self._slots):
            excess -= self._slots[slot]
            if excess <= 0:
                return max(blocked_s, self._leaves_at(slot) - now)
        return max(blocked_s, self.window_s)

    def take(self, cost: float, now: float) -> int:
        """Take ``cost``, whatever ``wait_s`` says; returns the slot, for ``settle``."""
        self._forget(now)
        slot = self.slot(now)
        self._slots[slot] = self._slots.get(slot, 0.0) + cost
        self._used += cost
        return slot

    def settle(self, slot: int, taken: float, used: float, now: float) -> None:
        """Correct what was taken to what was used, more or less."""
        self._forget(now)
        if slot in self._slots:
            change = max(used - taken, -self._slots[slot])
            self._slots[slot] += change
            self._used += change
        elif used > taken:
            self.take(used - taken, now)

    def observe(
        self, now: float, *, limit: float | None, remaining: float | None, reset_s: float | None
    ) -> None:
        """Believe the service: its limit in place of ours, and what others have used of it."""
        if limit is not None and limit > 0:
            self.amount = limit
        if remaining is None:
            return
        if self.guessed:
            self._slots.clear()
            self._used = 0.0
        unseen = (self.amount - remaining) - self.used(now)
        if unseen > 0:
            self.take(unseen, now)
        if remaining <= 0 and reset_s is not None:
            self._blocked_until = max(self._blocked_until, now + reset_s)

    def _leaves_at(self, slot: int) -> float:
        return (slot + 1) * self._slot_s + self.window_s

    def _forget(self, now: float) -> None:
        oldest = self.slot(now - self.window_s)
        # Insertion order is order of time, but for what a settled clock never does.
        while self._slots:
            slot = next(iter(self._slots))
            if slot >= oldest:
                return
            self._used -= self._slots.pop(slot)
        self._used = 0.0
