"""Rate limits as token buckets, all of which a sample must pass to begin."""

from __future__ import annotations

from tt_compute.simulation.machine import Machine, RateLimit

__all__ = ["Gate"]

_ROUNDING = 1e-12
_SOON_S = 1e-9
"""What rounding leaves of a wait would be waited for without end."""


class _Bucket:
    def __init__(self, limit: RateLimit) -> None:
        self.limit = limit
        self._level = limit.amount
        self._at = 0.0

    def ready_at(self, now: float, amount: float) -> float:
        """When so much can be taken; of more than it ever holds, when it is full."""
        self._fill(now)
        missing = min(amount, self.limit.amount) - self._level
        return now if missing <= 0 else now + missing / self.limit.per_s

    def take(self, now: float, amount: float) -> None:
        self._fill(now)
        self._level -= amount

    def _fill(self, now: float) -> None:
        gained = (now - self._at) * self.limit.per_s
        self._level = min(self.limit.amount, self._level + gained)
        self._at = now


class Gate:
    """The limits of one copy of a deployment.

    Attributes:
        requests, tokens: What passed.
    """

    def __init__(self, machine: Machine) -> None:
        self._buckets = [_Bucket(limit) for limit in machine.limits]
        self.requests: int = 0
        self.tokens: float = 0.0

    def opens_at(self, now: float, requests: int, tokens: float) -> float:
        """When so much may begin; ``now`` where nothing is in the way."""
        opens = now
        for bucket in self._buckets:
            at = bucket.ready_at(now, tokens if bucket.limit.of_tokens else requests)
            if at > opens * (1 + _ROUNDING) + _SOON_S:
                opens = at
        return opens

    def take(self, now: float, tokens: float) -> None:
        """Let one sample pass; what a bucket does not hold is owed."""
        self.requests += 1
        self.tokens += tokens
        for bucket in self._buckets:
            bucket.take(now, tokens if bucket.limit.of_tokens else 1.0)
