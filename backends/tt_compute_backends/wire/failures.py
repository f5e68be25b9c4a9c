"""Answers that are no answers, as typed errors. Nothing here may show a key, whatever the server echoes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, cast
from urllib.parse import urlsplit

import msgspec

from tt_compute.errors import (
    AuthenticationError,
    BackendError,
    ModelNotFound,
    PaymentRequired,
    RateLimitError,
    RequestRefused,
    ServerError,
)
from tt_compute_backends.wire.headers import rate_limits, retry_after_s

__all__ = ["from_event", "from_response", "scrubbed"]

_SHOWN_CHARACTERS: Final = 300
_FLEX_FULL = 498
"""Groq's ``capacity_exceeded`` of the flex tier."""
_REFUSED: Final = frozenset({400, 405, 406, 410, 411, 413, 414, 415, 422, 431, 451})
_QUOTA_CODES: Final = frozenset({"insufficient_quota", "billing_hard_limit_reached"})


def from_response(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    where: str,
    key: str | None,
    clock: Callable[[], float] = time.time,
) -> BackendError:
    """The error of an answer with a status other than 200.

    Args:
        status: HTTP status.
        headers: Names in lower case.
        body: As far as it was read.
        where: Host and deployment, for the message.
        key: What must not be shown.
        clock: Seconds since the epoch.
    """
    details = _details(body)
    said = scrubbed(details.message, key)
    message = f"{where} answered {status} {_phrase(status)}{f': {said}' if said else ''}"
    wait_s = retry_after_s(headers, now=clock())
    if wait_s is None and status in {HTTPStatus.TOO_MANY_REQUESTS, _FLEX_FULL}:
        wait_s = _exhausted_reset_s(headers, clock())
    return _error(status, details.code, message, headers, wait_s)


def from_event(
    error: Any, *, where: str, key: str | None, status_code: int | None = None
) -> BackendError:
    """The error that stands inside an answer or a stream that began well; ``status_code`` = beside it."""
    details = _details_of(error)
    said = scrubbed(details.message, key) or "no message"
    status = details.status or status_code or HTTPStatus.INTERNAL_SERVER_ERROR
    return _error(status, details.code, f"{where} gave up: {said}", {}, None)


def scrubbed(text: str, key: str | None) -> str:
    """Short, on one line, and without the key."""
    if key:
        text = text.replace(key, "[key]")
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]} ..."


class _Details(msgspec.Struct, frozen=True):
    message: str
    code: str = ""
    status: int | None = None


def _error(  # noqa: PLR0911 - one line for each kind of refusal
    status: int, code: str, message: str, headers: Mapping[str, str], wait_s: float | None
) -> BackendError:
    if status == HTTPStatus.PAYMENT_REQUIRED or code in _QUOTA_CODES:
        return PaymentRequired(message, hint="add credit to the account of the key")
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return AuthenticationError(message, hint="check the key that the deployment's auth names")
    if status == HTTPStatus.NOT_FOUND:
        return ModelNotFound(
            message, hint="check remote_model and endpoint.base_url of the deployment"
        )
    if 300 <= status < 400:  # noqa: PLR2004 - the statuses of redirects
        target = urlsplit(headers.get("location", "")).hostname or "another place"
        return ServerError(
            f"{message}: it points to {target}, and redirects are not followed",
            hint="set endpoint.base_url to where the service really is",
        )
    if status in _REFUSED:
        return RequestRefused(message, hint=_refusal_hint(code, message))
    if status in {HTTPStatus.TOO_MANY_REQUESTS, _FLEX_FULL}:
        return RateLimitError(message, retry_after_s=wait_s)
    if status < HTTPStatus.BAD_REQUEST:
        return ServerError(f"{message}, which is no answer to a completion")
    return ServerError(message, retry_after_s=wait_s)


def _refusal_hint(code: str, message: str) -> str | None:
    if "context" in code or "context length" in message.lower():
        return "shorten the prompt or lower max_tokens"
    return None


def _exhausted_reset_s(headers: Mapping[str, str], now: float) -> float | None:
    """When the limit that ran out is full again, from a 429 that does not say when to come back."""
    resets = [
        limit.reset_s
        for limit in rate_limits(headers, now=now)
        if limit.reset_s is not None and limit.remaining is not None and limit.remaining < 1
    ]
    return max(resets, default=None)


def _details(body: bytes) -> _Details:
    try:
        decoded: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        text = body.decode("utf-8", "replace").strip()
        return _Details("" if text.startswith("<") else text)
    wrapped = cast("dict[str, Any]", decoded) if isinstance(decoded, dict) else None
    return _details_of(decoded if wrapped is None else wrapped.get("error", wrapped))


def _details_of(error: Any) -> _Details:
    if not isinstance(error, dict):
        return _Details(str(error))
    found = cast("dict[str, Any]", error)
    message = found.get("message") or found.get("detail") or found.get("type") or ""
    code = found.get("code") or found.get("type") or ""
    status = found.get("status_code", found.get("code"))
    return _Details(
        message if isinstance(message, str) else repr(message),
        str(code),
        status if isinstance(status, int) and 400 <= status < 600 else None,  # noqa: PLR2004 - HTTP errors
    )


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "capacity exceeded" if status == _FLEX_FULL else "(unknown)"
