"""The limits of an account, as the services hold them: buckets that fill steadily, tokens taken before they are used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from ttc_servers.script import Limits, prompt_tokens
from ttc_servers.shapes import Shape, State

__all__ = ["UNLIMITED", "Limiter", "Over"]

UNLIMITED = (
    State(limit=14_400, remaining=14_370, reset_s=179.56),
    State(limit=250_000, remaining=249_000, reset_s=7.66),
)
"""Of requests and of tokens, said where nothing is limited and nothing counts down."""

_AMPLE = 1_000_000_000
"""Said of what is not limited."""


class Over(msgspec.Struct, frozen=True):
    """Why a request is not let through."""

    which: str
    wait_s: float
    status: int


class _Bucket:
    def __init__(self, limit: int | None, window_s: float, now: float) -> None:
        self.limit = _AMPLE if limit is None else limit
        self._window_s = window_s
        self._left = float(self.limit)
        self._at = now

    def left(self, now: float) -> float:
        grown = (now - self._at) * self.limit / self._window_s
        self._left, self._at = min(float(self.limit), self._left + grown), now
        return self._left

    def wait_s(self, amount: float, now: float) -> float:
        return max(0.0, (amount - self.left(now)) * self._window_s / self.limit)

    def take(self, amount: float, now: float) -> None:
        self._left = self.left(now) - amount

    def state(self, now: float) -> State:
        left = self.left(now)
        full_s = (self.limit - left) * self._window_s / self.limit
        return State(limit=self.limit, remaining=max(0, int(left)), reset_s=full_s)


class Limiter:
    """Of one server."""

    def __init__(self, limits: Limits, shape: Shape, clock: Callable[[], float]) -> None:
        self._shape = shape
        self._clock = clock
        window_s = limits.requests_window_s or shape.requests_window_s
        self._requests = _Bucket(limits.requests, window_s, clock())
        self._tokens = _Bucket(limits.tokens, limits.tokens_window_s, clock())

    def admit(self, body: dict[str, Any]) -> Over | int:
        """Tokens that were taken for it, or why it must wait."""
        now, tokens = self._clock(), self._wanted(body)
        if tokens > self._tokens.limit:
            return Over("tokens", 0.0, self._shape.too_large_status)
        for which, bucket, amount in (
            ("requests", self._requests, 1),
            ("tokens", self._tokens, tokens),
        ):
            wait_s = bucket.wait_s(amount, now)
            if wait_s > 0:
                return Over(which, wait_s, 429)
        self._requests.take(1, now)
        self._tokens.take(tokens, now)
        return tokens

    def settle(self, taken: int, used: int) -> None:
        """Give back what was not used after all."""
        self._tokens.take(used - taken, self._clock())

    def headers(self) -> dict[str, str]:
        now = self._clock()
        return self._shape.limits(self._requests.state(now), self._tokens.state(now))

    def _wanted(self, body: dict[str, Any]) -> int:
        asked = body.get("max_completion_tokens", body.get("max_tokens"))
        most = self._shape.reserved_tokens
        each = most if asked is None else min(asked, most) if most else asked
        return prompt_tokens(body) + int(body.get("n") or 1) * each
