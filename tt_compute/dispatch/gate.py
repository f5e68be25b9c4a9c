"""All that stands between a sample and one deployment: health, limits, places, and what it was like lately."""

from __future__ import annotations

import math
import random
from bisect import insort
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from tt_compute.conditions import Allowance
from tt_compute.dispatch.breaker import Breaker, ErrorClass, error_class
from tt_compute.dispatch.bulkhead import Bulkhead
from tt_compute.dispatch.limiter import Limiter, Refused, Reservation
from tt_compute.errors import BackendError, CircuitOpen, RateLimitError
from tt_compute.types import DeploymentSpec, RateLimit

__all__ = ["Entry", "Gate", "Hold", "timeouts"]

_KEPT: Final = 64
_LEAST_TIMEOUT_S: Final = 1.0
_UNKNOWN_TTFT_P95_S: Final = 12.0
"""Of a service of which nothing is known: a minute for the first token."""
_UNKNOWN_TPOT_S: Final = 0.5
_P95_OVER_P50: Final = 3.0


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """Why an attempt may not go now."""

    wait_s: float
    """Infinite = never, within reason."""
    error: BackendError
    """What to raise where waiting makes no sense."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that may go; must be ended by ``Gate.end``."""

    started: float
    reservation: Reservation
    probes: frozenset[ErrorClass] = frozenset()
    """The breakers that it is the one probe of."""


class Gate:
    """Of one deployment, shared by all requests of a client.

    Args:
        spec: The deployment.
        limiter: Of its account.
        rng: Which calls of a ramp may go.
        limiter_now: The clock that the limiter is on.
    """

    def __init__(
        self,
        spec: DeploymentSpec,
        limiter: Limiter,
        rng: random.Random,
        limiter_now: Callable[[], float],
    ) -> None:
        self.id: str = spec.id
        self.bulkhead: Bulkhead = Bulkhead(spec.deployment.limits.max_concurrency, spec.id)
        self.placeless_rows = 0
        """Samples under way that need no place: of prompts with nothing to limit."""
        self._limiter = limiter
        self._limiter_now = limiter_now
        self._rng = rng
        self._breakers: dict[ErrorClass, Breaker] = {}
        self._retry_at = -math.inf
        self._first_s = _Latest()
        self.first_token_timeout_s: float
        self.stall_timeout_s: float
        self.first_token_timeout_s, self.stall_timeout_s = timeouts(spec)
        self._usual_first_s = spec.deployment.speed.ttft_s.p50 or 0.0

    # --- before an attempt -----------------------------------------------------------------------

    def hold(self, tokens: float, now: float) -> Hold | None:
        """Why an attempt could not go now, places left aside; changes nothing."""
        if now < self._retry_at:
            return self._hold(self._retry_at - now, "asked to be left alone")
        for breaker in self._breakers.values():
            if breaker.state(now) == "open":
                return self._open(breaker, now)
        refused = self._limiter.wait(tokens, self._limiter_now())
        return None if refused is None else self._refused(refused, tokens)

    def wait_s(self, tokens: float, now: float) -> float:
        """Seconds until an attempt could go; infinite = not within reason."""
        held = self.hold(tokens, now)
        return 0.0 if held is None else held.wait_s

    def retry_in_s(self, now: float) -> float | None:
        """Seconds until it is tried again after too many failures, 0 = it may be; None = it is well."""
        sick = [breaker for breaker in self._breakers.values() if breaker.state(now) != "closed"]
        if not sick:
            return None
        return max(max(0.0, (breaker.retry_at or now) - now) for breaker in sick)

    def rest_s(self, now: float) -> float:
        """Seconds for which the service asked to be left alone; 0 = it did not."""
        asked_s = max(0.0, self._retry_at - now)
        return max(asked_s, self._limiter.blocked_s(self._limiter_now()))

    def allowances(self) -> tuple[Allowance, ...]:
        """What is left of its account's limits, as far as this process knows; reads no file."""
        return self._limiter.standing(self._limiter_now())

    def look(self) -> None:
        """Learn what other processes took of its account's limits."""
        self._limiter.look(self._limiter_now())

    @property
    def live_rows(self) -> int:
        """Samples under way there."""
        return self.bulkhead.taken + self.placeless_rows

    @property
    def clean(self) -> bool:
        """Whether nothing failed there since the last time that something went well."""
        return all(breaker.clean for breaker in self._breakers.values())

    @property
    def least_s(self) -> float:
        """The usual time to a first token; 0 = unknown."""
        return self._first_s.quantile(0.5) or self._usual_first_s

    def hedge_after_s(self) -> float | None:
        """After this long without a first token it is slower than 95 % of the latest; None = too few seen."""
        return self._first_s.quantile(0.95)

    def enter(self, tokens: float, now: float) -> Entry | Hold:
        """Let an attempt go, or say why not. The caller has a place in the bulkhead."""
        held = self.hold(tokens, now)
        if held is not None:
            return held
        probes: set[ErrorClass] = set()
        for kind, breaker in self._breakers.items():
            admitted = breaker.admit(now, self._rng)
            if admitted == "no":
                self._release(probes)
                return self._open(breaker, now)
            if admitted == "probe":
                probes.add(kind)
        made = self._limiter.reserve(tokens, self._limiter_now())
        if isinstance(made, Refused):
            self._release(probes)
            return self._refused(made, tokens)
        return Entry(started=now, reservation=made, probes=frozenset(probes))

    # --- after it --------------------------------------------------------------------------------

    def first_token(self, seconds: float) -> None:
        """An attempt's first token took this long."""
        self._first_s.add(seconds)

    def end(
        self,
        entry: Entry,
        now: float,
        *,
        tokens: float,
        sent: bool = True,
        error: BackendError | None = None,
        gave_up: bool = False,
        limits: tuple[RateLimit, ...] = (),
    ) -> None:
        """Book what an attempt says of the deployment.

        Args:
            entry: Of ``enter``.
            now: Monotonic seconds.
            tokens: Prompt and completion, as billed or assumed billed.
            sent: Whether anything left for the service.
            error: How it failed; None = it did not.
            gave_up: We ended it ourselves before it could say anything.
            limits: What the service said of them.
        """
        wall = self._limiter_now()
        self._limiter.settle(entry.reservation, tokens=tokens, sent=sent, now=wall)
        if limits:
            self._limiter.observe(limits, wall)
        self.bulkhead.leave(None if gave_up else now - entry.started)
        if gave_up:
            self._release(entry.probes)
            return
        kind = None if error is None else error_class(error)
        if (
            error is not None
            and error.retry_after_s is not None
            and math.isfinite(error.retry_after_s)
        ):
            self._retry_at = max(self._retry_at, now + error.retry_after_s)
        self._record(entry, kind, now, ok=error is None)

    def _record(self, entry: Entry, kind: ErrorClass | None, now: float, *, ok: bool) -> None:
        if kind is not None and kind not in self._breakers:
            self._breakers[kind] = Breaker(at_once=kind == "account")
        if not ok and kind is None:
            # A refusal of the request itself says nothing of the deployment.
            self._release(entry.probes)
            return
        for name, breaker in self._breakers.items():
            breaker.record(now, ok=name != kind, probe=name in entry.probes)

    def _release(self, probes: Iterable[ErrorClass]) -> None:
        for kind in probes:
            self._breakers[kind].release()

    def _open(self, breaker: Breaker, now: float) -> Hold:
        again_s = max(0.0, (breaker.retry_at or now) - now)
        error = CircuitOpen(
            f"{self.id} failed too often just now; it is tried again in {again_s:.0f} s",
            deployment=self.id,
            retry_after_s=again_s,
        )
        return Hold(wait_s=math.inf, error=error)

    def _hold(self, wait_s: float, why: str) -> Hold:
        error = RateLimitError(
            f"{self.id} {why} for another {wait_s:.1f} s", deployment=self.id, retry_after_s=wait_s
        )
        return Hold(wait_s=wait_s, error=error)

    def _refused(self, made: Refused, tokens: float) -> Hold:
        per = {60.0: "minute", 86_400.0: "day"}.get(made.window_s, f"{made.window_s:.0f} s")
        if math.isinf(made.wait_s):
            error = RateLimitError(
                f"a request of up to {tokens:.0f} tokens never fits {self.id}'s {made.amount:.0f} {made.axis} per {per}",
                deployment=self.id,
                hint="lower max_tokens",
            )
            return Hold(wait_s=math.inf, error=error)
        return self._hold(
            made.wait_s, f"has used its {made.amount:.0f} {made.axis} per {per}, and must rest"
        )


class _Latest:
    """The latest times, in order."""

    def __init__(self) -> None:
        self._by_age: deque[float] = deque()
        self._sorted: list[float] = []

    def add(self, value: float) -> None:
        if len(self._by_age) == _KEPT:
            self._sorted.remove(self._by_age.popleft())
        self._by_age.append(value)
        insort(self._sorted, value)

    def quantile(self, share: float) -> float | None:
        """None before there are eight."""
        if len(self._sorted) < 8:  # noqa: PLR2004 - fewer say nothing of a tail
            return None
        return self._sorted[min(int(share * len(self._sorted)), len(self._sorted) - 1)]


def timeouts(spec: DeploymentSpec) -> tuple[float, float]:
    """Seconds to wait for a first token, and for each further one; the design's defaults where none is stated."""
    limits, speed = spec.deployment.limits, spec.deployment.speed
    p95_s = speed.ttft_s.p95 or (
        None if speed.ttft_s.p50 is None else _P95_OVER_P50 * speed.ttft_s.p50
    )
    rate = speed.decode_tokens_per_s.value
    first_s = max(_LEAST_TIMEOUT_S, 5 * (_UNKNOWN_TTFT_P95_S if p95_s is None else p95_s))
    stall_s = max(_LEAST_TIMEOUT_S, 20 * (1 / rate if rate else _UNKNOWN_TPOT_S))
    return (
        first_s if limits.first_token_timeout_s is None else limits.first_token_timeout_s,
        stall_s if limits.stall_timeout_s is None else limits.stall_timeout_s,
    )
