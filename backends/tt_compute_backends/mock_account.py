"""What a mock deployment remembers of all its prompts: how many samples came, and what its limits have left."""

from __future__ import annotations

from collections import deque
from typing import Literal, cast

from tt_compute.testing.mock_limits import MockLimits
from tt_compute.types import RateLimit, RateLimitError
from tt_compute_backends.mock_reply import Arrival

__all__ = ["Account"]


class Account:
    """Of one deployment.

    Args:
        limits: What it enforces.
        deployment: Id, for errors.
        now: When it was made.
    """

    def __init__(self, limits: MockLimits, deployment: str, now: float) -> None:
        self._windows = [_Window(*window) for window in limits.windows()]
        self._told = limits.told
        self._deployment = deployment
        self._made_at = now
        self._drawn = 0

    def arrive(self, now: float) -> Arrival:
        """A sample is drawn."""
        arrival = Arrival(number=self._drawn, at_s=now - self._made_at)
        self._drawn += 1
        return arrival

    def admit(self, now: float, tokens: int) -> RateLimitError | None:
        """Take a sample of so many tokens from every limit, or say why not."""
        for window in self._windows:
            window.slide(now)
        waits = [(window.wait_s(now, tokens), window) for window in self._windows]
        wait_s, tightest = max(waits, key=lambda entry: entry[0], default=(0.0, None))
        if wait_s > 0 and tightest is not None:
            return RateLimitError(
                f"the mock's limit of {tightest.amount:g} {tightest.axis} "
                f"in {tightest.span_s:g} s is used up",
                backend="mock",
                deployment=self._deployment,
                retry_after_s=wait_s,
            )
        for window in self._windows:
            window.take(now, tokens)
        return None

    def told(self, now: float) -> tuple[RateLimit, ...]:
        """What the headers of an answer say."""
        return tuple(window.told(now) for window in self._windows) if self._told else ()


class _Window:
    """What was taken of one limit in the latest seconds."""

    def __init__(self, axis: str, span_s: float, amount: float) -> None:
        self.axis = axis
        self.span_s = span_s
        self.amount = amount
        self._taken: deque[tuple[float, float]] = deque()
        self._sum = 0.0

    def slide(self, now: float) -> None:
        while self._taken and self._taken[0][0] <= now - self.span_s:
            self._sum -= self._taken.popleft()[1]

    def wait_s(self, now: float, tokens: int) -> float:
        """Until it would fit; the whole span for what never does."""
        missing = self._sum + self._cost(tokens) - self.amount
        for at, cost in self._taken:
            if missing <= 0:
                break
            missing -= cost
            if missing <= 0:
                return at + self.span_s - now
        return self.span_s if missing > 0 else 0.0

    def take(self, now: float, tokens: int) -> None:
        cost = self._cost(tokens)
        self._taken.append((now, cost))
        self._sum += cost

    def told(self, now: float) -> RateLimit:
        reset_s = self._taken[-1][0] + self.span_s - now if self._taken else 0.0
        return RateLimit(
            axis=cast("Literal['requests', 'tokens']", self.axis),
            window_s=self.span_s,
            limit=self.amount,
            remaining=max(0.0, self.amount - self._sum),
            reset_s=reset_s,
        )

    def _cost(self, tokens: int) -> float:
        return 1.0 if self.axis == "requests" else float(tokens)
