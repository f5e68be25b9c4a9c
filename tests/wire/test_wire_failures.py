"""Every refusal is a typed error that says who, what and why, and never shows a key."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tt_compute.errors import (
    AuthenticationError,
    BackendError,
    ModelNotFound,
    PaymentRequired,
    RateLimitError,
    RequestRefused,
    ServerError,
)
from tt_compute_backends.wire.failures import from_event, from_response

KEY = "gsk_canary_0123456789"


def failure(status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> BackendError:
    return from_response(
        status, headers or {}, body, where="d at host", key=KEY, clock=lambda: 1_790_000_000.0
    )


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (307, ServerError),
        (400, RequestRefused),
        (401, AuthenticationError),
        (402, PaymentRequired),
        (403, AuthenticationError),
        (404, ModelNotFound),
        (408, ServerError),
        (409, ServerError),
        (413, RequestRefused),
        (422, RequestRefused),
        (424, ServerError),
        (429, RateLimitError),
        (498, RateLimitError),
        (500, ServerError),
        (503, ServerError),
        (529, ServerError),
        (201, ServerError),
    ],
)
def test_status_to_error(status: int, kind: type[BackendError]) -> None:
    error = failure(status)
    assert type(error) is kind
    assert str(status) in error.message
    assert "d at host" in error.message


@pytest.mark.parametrize(
    "body",
    [
        b'{"error": {"message": "too long", "type": "invalid_request_error", "code": "context_length_exceeded"}}',
        b'{"message": "too long", "type": "invalid_request_error", "code": "context_length_exceeded"}',
    ],
)
def test_the_service_is_quoted_in_either_shape(body: bytes) -> None:
    error = failure(400, body)
    assert error.message.endswith("too long")
    assert error.hint == "shorten the prompt or lower max_tokens"


def test_no_credit_is_told_from_too_fast() -> None:
    body = b'{"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}'
    assert isinstance(failure(429, body), PaymentRequired)


def test_a_429_without_retry_after_waits_for_the_limit_that_ran_out() -> None:
    headers = {
        "x-ratelimit-limit-tokens": "100",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "7.5s",
        "x-ratelimit-remaining-requests": "9",
        "x-ratelimit-reset-requests": "99s",
    }
    assert failure(429, headers=headers).retry_after_s == 7.5


def test_a_page_of_html_is_not_quoted() -> None:
    assert "<html>" not in failure(502, b"<html><body>Bad Gateway</body></html>").message


def test_a_body_nested_beyond_all_bounds_does_not_hide_the_status() -> None:
    assert isinstance(failure(401, b'{"error": ' + b"[" * 100_000), AuthenticationError)


@given(st.sampled_from([200, 302, 400, 401, 404, 429, 500]), st.binary(max_size=300))
def test_no_body_breaks_it_or_shows_the_key(status: int, noise: bytes) -> None:
    for body in (
        noise,
        noise + KEY.encode() + noise,
        msgspec.json.encode({"error": f"key {KEY} bad"}),
    ):
        error = failure(status, body, {"location": f"https://evil/{KEY}"})
        assert KEY not in repr(error) + str(error.hint)
        assert len(error.message) < 600


def test_an_error_inside_a_good_answer() -> None:
    error = from_event({"message": f"no {KEY}", "status_code": 429}, where="d", key=KEY)
    assert isinstance(error, RateLimitError)
    assert KEY not in str(error)
    assert isinstance(from_event("overloaded", where="d", key=None), ServerError)


def test_a_status_beside_the_error_counts_where_none_stands_inside() -> None:
    """As Cerebras sends it in a stream."""
    error = from_event({"message": "slow down"}, where="d", key=None, status_code=429)
    assert isinstance(error, RateLimitError)
