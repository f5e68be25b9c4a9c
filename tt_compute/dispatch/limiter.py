"""Requests and tokens per minute and per day of one account at one service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from tt_compute.conditions import Allowance, Axis
from tt_compute.dispatch.window import Window
from tt_compute.types import RateLimit

__all__ = ["Limiter", "Refused", "Reservation"]


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """What an attempt took of each window; to be settled once it has ended."""

    tokens: float
    slots: tuple[int, ...]


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """Why an attempt may not go now."""

    wait_s: float
    """Infinite when it never may: it alone exceeds the allowance."""
    axis: Axis
    window_s: float
    amount: float


class Limiter:
    """All windows of one account; a reservation takes from each of them, or from none.

    Args:
        windows: By axis and length.
    """

    def __init__(self, windows: Mapping[tuple[Axis, float], Window]) -> None:
        self._windows = dict(windows)

    def reserve(self, tokens: float, now: float) -> Reservation | Refused:
        """Take one request of ``tokens``, prompt and the most that it may answer with.

        Reserved whole, because services do so too (Cerebras' documentation; facts of 2026-07).
        """
        refused = self.wait(tokens, now)
        if refused is not None:
            return refused
        slots = [
            window.take(1.0 if axis == "requests" else tokens, now)
            for (axis, _), window in self._windows.items()
        ]
        return Reservation(tokens=tokens, slots=tuple(slots))

    def wait(self, tokens: float, now: float) -> Refused | None:
        """The window that would hold such a request back longest; None = it may go."""
        worst: Refused | None = None
        for (axis, window_s), window in self._windows.items():
            wait_s = window.wait_s(1.0 if axis == "requests" else tokens, now)
            if wait_s > 0 and (worst is None or wait_s > worst.wait_s):
                worst = Refused(wait_s=wait_s, axis=axis, window_s=window_s, amount=window.amount)
        return worst

    def standing(self, now: float) -> tuple[Allowance, ...]:
        """What is left of each window, as far as this process knows; changes nothing, reads no file."""
        found: list[Allowance] = []
        for (axis, window_s), window in self._windows.items():
            from_s, until_s = window.frees_s(now)
            found.append(
                Allowance(
                    axis=axis,
                    amount=window.amount,
                    window_s=window_s,
                    left=window.left(now),
                    frees_from_s=from_s,
                    frees_until_s=until_s,
                )
            )
        return tuple(found)

    def blocked_s(self, now: float) -> float:
        """Seconds for which the service said that nothing is left; 0 = none."""
        return max((window.blocked_s(now) for window in self._windows.values()), default=0.0)

    def look(self, now: float) -> None:
        """Learn what other processes took of the windows that are shared with them."""
        for window in self._windows.values():
            window.look(now)

    def settle(self, reservation: Reservation, *, tokens: float, sent: bool, now: float) -> None:
        """Give back what was not used.

        Args:
            reservation: Of ``reserve``.
            tokens: Used, or assumed billed.
            sent: Whether the request left at all; otherwise it counts for nothing.
            now: As everywhere.
        """
        for ((axis, _), window), slot in zip(
            self._windows.items(), reservation.slots, strict=False
        ):
            if axis == "requests":
                window.settle(slot, 1.0, 1.0 if sent else 0.0, now)
            else:
                window.settle(slot, reservation.tokens, tokens, now)

    def observe(self, limits: Sequence[RateLimit], now: float) -> None:
        """Take over what the service says; a limit that no profile named is kept from now on.

        What is more than half free needs no care yet, and a shared window costs a transaction.
        """
        for found in limits:
            key = (found.axis, found.window_s)
            known = self._windows.get(key)
            same = known is not None and not known.guessed and found.limit in (None, known.amount)
            if (
                same
                and found.remaining is not None
                and known is not None
                and found.remaining > known.amount / 2
            ):
                continue
            if key not in self._windows:
                if found.limit is None or found.limit <= 0:
                    continue
                self._windows[key] = Window(found.limit, found.window_s, guessed=True)
            self._windows[key].observe(
                now, limit=found.limit, remaining=found.remaining, reset_s=found.reset_s
            )
