"""What headers say of limits and of when to come back, in every spelling that services use."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tt_compute.types import RateLimit
from tt_compute_backends.wire.headers import duration_s, rate_limits, retry_after_s

NOW = 1_790_000_000.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        ("7.66s", 7.66),
        ("577.5ms", 0.5775),
        ("2m59.56s", 179.56),
        ("1h2m3s", 3723.0),
        ("1d", 86400.0),
        ("33011.382867097855", 33011.382867097855),
        (str(NOW + 30), 30.0),
        (format_datetime(datetime.fromtimestamp(NOW + 12, UTC), usegmt=True), 12.0),
        ("1e9", 1e9),
        ("-1", None),
        ("nan", None),
        ("soon", None),
        ("", None),
        ("5 apples", None),
    ],
)
def test_durations(text: str, seconds: float | None) -> None:
    assert duration_s(text, now=NOW) == (None if seconds is None else pytest.approx(seconds))


@given(st.text())
def test_no_text_breaks_it(text: str) -> None:
    found = duration_s(text, now=NOW)
    assert found is None or found >= 0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "-1"}, None),
        ({}, None),
    ],
)
def test_when_to_come_back(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers, now=NOW) == seconds


def test_groq_counts_requests_by_the_day_and_tokens_by_the_minute() -> None:
    headers = {
        "x-ratelimit-limit-requests": "14400",
        "x-ratelimit-remaining-requests": "14370",
        "x-ratelimit-reset-requests": "2m59.56s",
        "x-ratelimit-limit-tokens": "250000",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "7.66s",
    }
    assert set(rate_limits(headers, now=NOW, requests_window_s=86400)) == {
        RateLimit(axis="requests", window_s=86400, limit=14400, remaining=14370, reset_s=179.56),
        RateLimit(axis="tokens", window_s=60, limit=250000, remaining=0, reset_s=7.66),
    }


def test_cerebras_names_the_window() -> None:
    headers = {
        "x-ratelimit-limit-tokens-minute": "1000000",
        "x-ratelimit-remaining-tokens-minute": "999000",
        "x-ratelimit-reset-tokens-minute": "33.5",
        "x-ratelimit-remaining-requests-day": "12",
    }
    assert set(rate_limits(headers, now=NOW)) == {
        RateLimit(axis="requests", window_s=86400, remaining=12),
        RateLimit(axis="tokens", window_s=60, limit=1e6, remaining=999000, reset_s=33.5),
    }


def test_nonsense_is_no_limit() -> None:
    headers = {"x-ratelimit-limit-requests": "many", "x-ratelimit-remaining-requests": "-3"}
    assert rate_limits(headers, now=NOW) == ()


@pytest.mark.parametrize(("reset", "window_s"), [("20s", 60.0), ("2m59s", 86400.0), (None, 60.0)])
def test_a_limit_that_takes_longer_to_come_back_than_its_window_is_of_a_day(
    reset: str | None, window_s: float
) -> None:
    """Of servers that name no window and of which nothing is known."""
    headers = {"x-ratelimit-limit-requests": "100", "x-ratelimit-remaining-requests": "99"}
    if reset is not None:
        headers["x-ratelimit-reset-requests"] = reset
    (limit,) = rate_limits(headers, now=NOW)
    assert limit.window_s == window_s
