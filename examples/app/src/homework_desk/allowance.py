"""What each pupil may spend in a day."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

__all__ = ["Allowance", "AllowanceSpent"]

DAY_S = 86_400.0


class AllowanceSpent(Exception):
    """A pupil has nothing left for today."""

    def __init__(self, pupil: str, again_in_s: float) -> None:
        super().__init__(f"{pupil} has spent today's allowance")
        self.again_in_s = again_in_s


class Allowance:
    """Money by pupil and day.

    Args:
        usd_per_day: Of each pupil.
        now: Seconds; days begin at multiples of 86,400 of them.
    """

    def __init__(self, usd_per_day: float, now: Callable[[], float]) -> None:
        self._usd_per_day = usd_per_day
        self._now = now
        self._spent: defaultdict[tuple[str, int], float] = defaultdict(float)

    def left_usd(self, pupil: str) -> float:
        """For the rest of the day.

        Raises:
            AllowanceSpent: Nothing is left.
        """
        left = self._usd_per_day - self._spent[pupil, self._today()]
        if left <= 0:
            raise AllowanceSpent(pupil, DAY_S - self._now() % DAY_S)
        return left

    def book(self, pupil: str, usd: float) -> None:
        """Take from today's allowance."""
        self._spent[pupil, self._today()] += usd

    def _today(self) -> int:
        return int(self._now() // DAY_S)
