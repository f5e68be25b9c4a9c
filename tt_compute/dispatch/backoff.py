"""How long to wait before the next attempt at the same deployment."""

from __future__ import annotations

import math
import random
from typing import Final

from tt_compute.errors import BackendError, RateLimitError

__all__ = ["backoff_s"]

_TRANSIENT_BASE_S, _THROTTLED_BASE_S, _CAP_S = 0.05, 1.0, 20.0
"""As botocore's standard mode since 2026: transient and throttling errors apart, 20 s at most."""
_EXPONENT_CAP: Final = 16


def backoff_s(error: BackendError, attempt: int, rng: random.Random) -> float:
    """Seconds to wait after attempt number ``attempt`` (from 0): what the service asked for, never less.

    Without its word: full jitter, uniform over [0, base * 2^attempt] (Brooker, "Exponential Backoff And Jitter",
    AWS Architecture Blog, 2015).
    """
    base_s = _THROTTLED_BASE_S if isinstance(error, RateLimitError) else _TRANSIENT_BASE_S
    jitter_s = rng.uniform(0, min(_CAP_S, base_s * 2 ** min(attempt, _EXPONENT_CAP)))
    asked_s = error.retry_after_s
    if asked_s is None or not math.isfinite(asked_s) or asked_s < 0:
        return jitter_s
    # A little on top, so that a fan-out does not come back as one.
    return asked_s + min(jitter_s, 0.1 * asked_s + 0.05)
