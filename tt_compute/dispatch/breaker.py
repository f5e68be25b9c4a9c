"""Stops sending to a deployment that keeps failing, and lets it come back bit by bit.

Parameters after Hystrix and Envoy's outlier detection (window of 10 s, 20 calls, half of them; 5 in a row), and
the ramp that both lack: after a good probe a tenth, then half, then all of the traffic returns.
"""

from __future__ import annotations

import random
from collections import deque
from typing import Final, Literal

from tt_compute.errors import (
    AuthenticationError,
    BackendError,
    BackendUnavailable,
    ConnectionFailed,
    ModelLoadError,
    ModelNotFound,
    PaymentRequired,
    RateLimitError,
    ServerError,
    Stalled,
)

__all__ = ["Admission", "Breaker", "ErrorClass", "error_class"]

ErrorClass = Literal["connection", "server", "stall", "account"]
Admission = Literal["no", "yes", "probe"]
_WINDOW_S: Final = 10.0
_LEAST_CALLS: Final = 20
_FAILURE_RATE: Final = 0.5
_IN_A_ROW: Final = 5
_OPEN_S, _LONGEST_OPEN_S = 5.0, 60.0
_RAMP: Final = (0.1, 0.5)
_RAMP_SUCCESSES: Final = 3
"""Good calls in a row that a step of the ramp takes."""
_ACCOUNT: Final = (
    AuthenticationError,
    PaymentRequired,
    ModelNotFound,
    ModelLoadError,
    BackendUnavailable,
)


def error_class(error: BackendError) -> ErrorClass | None:
    """What an error says about the deployment; None when it is about the request, or about our own pace."""
    if isinstance(error, Stalled):
        return "stall"
    if isinstance(error, ConnectionFailed):
        return "connection"
    if isinstance(error, ServerError):
        return "server"
    if isinstance(error, RateLimitError):
        return None
    return "account" if isinstance(error, _ACCOUNT) else None


class Breaker:
    """Of one deployment and one class of errors. Times are seconds on one clock.

    Args:
        at_once: Opens at the first failure: what will fail again for certain, such as a refused key.
    """

    def __init__(self, *, at_once: bool = False) -> None:
        self._at_once = at_once
        self._calls: deque[tuple[float, bool]] = deque()
        self._failures = 0
        self._in_a_row = 0
        self._times_open = 0
        self._open_until: float | None = None
        self._probing = False
        self._ramp: int | None = None
        self._ramp_successes = 0

    def state(self, now: float) -> Literal["closed", "open", "half_open", "ramp"]:
        if self._open_until is not None:
            return "open" if now < self._open_until else "half_open"
        return "closed" if self._ramp is None else "ramp"

    @property
    def clean(self) -> bool:
        """Whether its last call went well, or nothing is known."""
        return self._in_a_row == 0 and self._open_until is None and self._ramp is None

    @property
    def retry_at(self) -> float | None:
        """When a probe may go; None while nothing is closed off."""
        return self._open_until

    def admit(self, now: float, rng: random.Random) -> Admission:
        """Whether a call may go. A probe must be told to ``record`` or ``release``; there is one at a time."""
        state = self.state(now)
        if state == "closed":
            return "yes"
        if state == "open" or self._probing:
            return "no"
        if state == "half_open":
            self._probing = True
            return "probe"
        assert self._ramp is not None
        return "yes" if rng.random() < _RAMP[self._ramp] else "no"

    def record(self, now: float, *, ok: bool, probe: bool = False) -> None:
        """How an admitted call ended; one that began before the breaker opened says nothing any more."""
        state = self.state(now)
        if probe:
            self._probing = False
            if ok:
                self._open_until, self._ramp, self._ramp_successes = None, 0, 0
            else:
                self._open(now)
        elif state == "ramp":
            self._record_ramp(now, ok=ok)
        elif state == "closed":
            self._record_closed(now, ok=ok)

    def release(self) -> None:
        """The probe was given up before it said anything."""
        self._probing = False

    def _record_ramp(self, now: float, *, ok: bool) -> None:
        if not ok:
            self._open(now)
            return
        self._ramp_successes += 1
        if self._ramp_successes < _RAMP_SUCCESSES:
            return
        assert self._ramp is not None
        self._ramp_successes = 0
        self._ramp = self._ramp + 1 if self._ramp + 1 < len(_RAMP) else None
        if self._ramp is None:
            self._times_open = 0

    def _record_closed(self, now: float, *, ok: bool) -> None:
        self._calls.append((now, ok))
        self._failures += not ok
        self._in_a_row = 0 if ok else self._in_a_row + 1
        while self._calls and self._calls[0][0] < now - _WINDOW_S:
            self._failures -= not self._calls.popleft()[1]
        many = len(self._calls) >= _LEAST_CALLS
        if not ok and (
            self._at_once
            or self._in_a_row >= _IN_A_ROW
            or (many and self._failures >= _FAILURE_RATE * len(self._calls))
        ):
            self._open(now)

    def _open(self, now: float) -> None:
        span_s = min(_OPEN_S * 2**self._times_open, _LONGEST_OPEN_S)
        self._open_until = max(self._open_until or now, now + span_s)
        self._times_open += 1
        self._ramp = None
        self._calls.clear()
        self._failures = self._in_a_row = 0
