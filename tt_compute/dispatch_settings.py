"""The configuration's ``dispatch:`` section."""

from __future__ import annotations

import math

import msgspec

from tt_compute.errors import InvalidRequestError

__all__ = ["DispatchSettings"]


class DispatchSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How requests reach services that fail, limit and bill."""

    max_wait_s: float = 65.0
    """Longest wait for a rate limit, a place or a service's Retry-After; what would take longer fails at once, or
    goes to another deployment. A little over a minute: what a minute's allowance holds back comes free again
    after up to 1/64 more than that."""
    hedge_share: float = 0.0
    """Share of the attempts that may be sent twice: a second deployment is asked when the first is slower with its
    first token than 95 % of its latest ones. 0 = never."""
    max_usd: float | None = None
    """Most that one client spends; None = no cap."""
    max_usd_per_day: float | None = None
    """Most that all clients of this user spend in any 24 hours; None = no cap."""
    share_limits: bool = True
    """Share rate limits and the cap per day with other processes of this user, by a file in the data folder."""

    def __post_init__(self) -> None:
        """Refuse values that mean nothing."""
        for name in ("max_usd", "max_usd_per_day"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise InvalidRequestError(f"{name} must be above 0, got {value}")
        if not (math.isfinite(self.max_wait_s) and self.max_wait_s >= 0):
            raise InvalidRequestError(f"max_wait_s must be at least 0, got {self.max_wait_s}")
        if not 0 <= self.hedge_share <= 1:
            raise InvalidRequestError(f"hedge_share must be 0 to 1, got {self.hedge_share}")
