"""What a batch may still spend: every item that runs has set aside the most that it can take."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from tt_compute.planning.types import Candidate

__all__ = ["Purse", "Share"]

_ROUNDING = 1 + 1e-9
"""Ten tenths are the whole."""


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """One way to answer an item and what it takes of each limit."""

    candidate: Candidate
    quality: float
    means: tuple[float, ...]
    """Expected."""
    ceilings: tuple[float, ...]
    """At most: all samples drawn, each as long as allowed."""


class Purse:
    """Accounts of each limit.

    Args:
        limits: What there is.
    """

    def __init__(self, limits: Sequence[float]) -> None:
        self._limits = tuple(limits)
        self._spent = [0.0] * len(self._limits)
        self._held: list[Share] = []

    @property
    def idle(self) -> bool:
        """Whether no item runs."""
        return not self._held

    @property
    def unspent(self) -> list[float]:
        """Of each limit, whatever is set aside."""
        return [limit - spent for limit, spent in zip(self._limits, self._spent, strict=True)]

    @property
    def free(self) -> list[float]:
        """Of each limit, when every running item takes the most that it can."""
        return self._less(share.ceilings for share in self._held)

    @property
    def expected(self) -> list[float]:
        """Of each limit, when every running item takes what is expected of it."""
        return self._less(share.means for share in self._held)

    def fits(self, share: Share) -> bool:
        return within(share.ceilings, self.free)

    def hold(self, share: Share) -> None:
        self._held.append(share)

    def settle(self, share: Share, spent: Iterable[float]) -> None:
        """Put what an item took in the place of what was set aside."""
        self._held = [held for held in self._held if held is not share]
        self._spent = [before + more for before, more in zip(self._spent, spent, strict=True)]

    def _less(self, taken: Iterable[Sequence[float]]) -> list[float]:
        left = self.unspent
        for amounts in taken:
            left = [have - amount for have, amount in zip(left, amounts, strict=True)]
        return left


def within(amounts: Sequence[float], limits: Sequence[float]) -> bool:
    """Whether none is above its limit."""
    return all(
        amount <= max(0.0, limit) * _ROUNDING for amount, limit in zip(amounts, limits, strict=True)
    )
