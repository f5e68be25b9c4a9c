"""What the headers of an answer say of limits, and of when to come back."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from tt_compute.types import RateLimit

__all__ = ["duration_s", "rate_limits", "retry_after_s"]

_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_WINDOWS: Final = {"minute": 60.0, "hour": 3600.0, "day": 86400.0}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_EPOCH: Final = 1e9
"""A number this large is a point in time, not a duration."""


def duration_s(text: str | None, *, now: float) -> float | None:
    """Seconds from now: a number, a Go duration (``2m59.56s``), an epoch or an HTTP date.

    Args:
        text: The header's value.
        now: Seconds since the epoch.

    Returns:
        None for anything else, and for what is negative or not finite.
    """
    if text is None:
        return None
    text = text.strip()
    found = _number(text, now)
    if found is None:
        found = _go_duration(text)
    if found is None:
        found = _date(text, now)
    return found if found is not None and math.isfinite(found) and found >= 0 else None


def retry_after_s(headers: Mapping[str, str], *, now: float) -> float | None:
    """When to come back: ``retry-after-ms``, else ``retry-after``; None when neither says it."""
    text = headers.get("retry-after-ms")
    if text is not None:
        try:
            milliseconds = float(text)
        except ValueError:
            milliseconds = math.nan
        if math.isfinite(milliseconds) and milliseconds >= 0:
            return milliseconds / 1000
    return duration_s(headers.get("retry-after"), now=now)


def rate_limits(
    headers: Mapping[str, str], *, now: float, requests_window_s: float = 60.0
) -> tuple[RateLimit, ...]:
    """Every limit that the headers speak of.

    Args:
        headers: Of the answer.
        now: Seconds since the epoch.
        requests_window_s: Window of ``x-ratelimit-*-requests`` where the name holds none: a day at Groq, a
            minute at most others.
    """
    found: dict[str, dict[str, str]] = {}
    for name, value in headers.items():
        if name[:12].lower() == "x-ratelimit-":
            part, _, suffix = name[12:].lower().partition("-")
            found.setdefault(suffix, {})[part] = value
    limits = (_limit(suffix, parts, now, requests_window_s) for suffix, parts in found.items())
    return tuple(limit for limit in limits if limit is not None)


def _limit(
    suffix: str, parts: Mapping[str, str], now: float, requests_window_s: float
) -> RateLimit | None:
    axis, _, window = suffix.partition("-")
    if axis not in {"requests", "tokens"} or (window and window not in _WINDOWS):
        return None
    limit, remaining = _finite(parts.get("limit")), _finite(parts.get("remaining"))
    if limit is None and remaining is None:
        return None
    reset_s = duration_s(parts.get("reset"), now=now)
    window_s = requests_window_s if axis == "requests" else _WINDOWS["minute"]
    if window:
        window_s = _WINDOWS[window]
    elif reset_s is not None and reset_s > window_s:
        # What takes longer to come back than the window lasts is counted over a longer one.
        window_s = _WINDOWS["day"]
    return RateLimit(
        axis="requests" if axis == "requests" else "tokens",
        window_s=window_s,
        limit=limit,
        remaining=remaining,
        reset_s=reset_s,
    )


def _finite(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _number(text: str, now: float) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value - now if value > _EPOCH else value


def _go_duration(text: str) -> float | None:
    if not text or _DURATION.sub("", text):
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in _DURATION.findall(text))


def _date(text: str, now: float) -> float | None:
    try:
        date = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    aware = date if date.tzinfo is not None else date.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime.fromtimestamp(now, UTC)).total_seconds())
