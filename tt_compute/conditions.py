"""What stands in the way of a request at a deployment just now: told by the dispatcher, heeded by plans."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import msgspec

from tt_compute.profiles.schema import Limits

__all__ = ["UNKNOWN", "Allowance", "Axis", "Conditions", "stated_limits", "unused"]

Axis = Literal["requests", "tokens"]
_MINUTE_S, _DAY_S = 60.0, 86_400.0


class Allowance(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a limit on requests or tokens over a window of time still lets through."""

    axis: Axis
    amount: float
    """Within any window; above 0."""
    window_s: float
    left: float
    """May be taken now; negative where more was taken than the limit is by now."""
    frees_from_s: float = 0.0
    """Until the first of what is taken may be taken again."""
    frees_until_s: float = 0.0
    """Until all of it may."""

    def wait_s(self, cost: float) -> float:
        """Seconds until the last of ``cost`` may be taken, by one who takes as fast as the limit allows.

        With amount A, window W and L left: 0 for a cost C <= L. Else the whole windows that it fills come
        first, k = ceil(C / A) - 1 of them, and of the rest C - k A what exceeds L waits for what is taken
        to leave the window, evenly between the first and the last of it:

            k W + from + (until - from) (C - k A - L) / (A - L), without the last two terms for C - k A <= L.
        """
        if cost <= self.left:
            return 0.0
        windows = math.ceil(cost / self.amount) - 1
        excess = cost - windows * self.amount - self.left
        full_s = windows * self.window_s
        # With nothing taken the excess is at most 0, but for rounding.
        if excess <= 0 or self.left >= self.amount:
            return full_s
        share = excess / (self.amount - self.left)
        return full_s + self.frees_from_s + share * (self.frees_until_s - self.frees_from_s)


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """The present state of one deployment; None = unknown."""

    retry_in_s: float | None = None
    """It failed too often: seconds until it is tried again, 0 = it may be tried. None = it is well, or unknown."""
    wait_s: float | None = None
    """Seconds for which the service asked to be left alone."""
    allowances: tuple[Allowance, ...] | None = None
    """None = unknown: those that the profile states count as unused."""
    patience_s: float | None = None
    """A sample that would have to wait longer for its limits is not sent there."""
    live_rows: int | None = None
    """Samples of other requests under way."""
    queued_rows: int | None = None
    """Samples of other requests that wait for a place."""
    place_s: float | None = None
    """Mean seconds that a sample keeps its place."""
    loaded: bool | None = None
    """Whether the model is loaded."""
    load_s: float | None = None
    """Seconds that loading it takes."""
    spend_left_usd: float | None = None
    """What the tightest spend cap leaves; None = there is none, or unknown."""
    spend_cap: str = ""
    """That cap's name."""


UNKNOWN = Conditions()


def stated_limits(limits: Limits) -> Iterable[tuple[Axis, float, float]]:
    """Axis, window and amount of every limit over time that a deployment states."""
    stated: tuple[tuple[Axis, float, float | None], ...] = (
        ("requests", _MINUTE_S, limits.requests_per_minute),
        ("tokens", _MINUTE_S, limits.tokens_per_minute),
        ("requests", _DAY_S, limits.requests_per_day),
        ("tokens", _DAY_S, limits.tokens_per_day),
    )
    for axis, window_s, amount in stated:
        if amount is not None:
            yield axis, window_s, amount


def unused(limits: Limits) -> tuple[Allowance, ...]:
    """The stated limits with nothing taken."""
    return tuple(
        Allowance(axis=axis, amount=amount, window_s=window_s, left=amount)
        for axis, window_s, amount in stated_limits(limits)
    )
