"""A look at a service that costs nothing: its list of models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Final

import anyio
import msgspec

from tt_compute.errors import BackendError
from tt_compute.types import Finding
from tt_compute_backends.wire.catalogue import PATIENCE_S, look
from tt_compute_backends.wire.failures import from_response
from tt_compute_backends.wire.headers import rate_limits

__all__ = ["examine"]

_CLOCK_S: Final = 30.0
"""Of difference, beyond which dates in Retry-After and windows of a day go wrong."""
_OK: Final = 200


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


async def examine(
    url: str,
    key: str | None,
    *,
    model: str,
    wall: Callable[[], float],
    requests_window_s: float,
) -> list[Finding]:
    """Ask ``GET models`` below ``url``; what fails is a finding, not an error."""
    try:
        with anyio.fail_after(PATIENCE_S):
            response = await look(url, "models", key)
    except TimeoutError:
        return [Finding(name="reach", ok=False, detail=f"no answer within {PATIENCE_S:g} s")]
    except BackendError as error:
        return [Finding(name="reach", ok=False, detail=error.message)]
    found = [Finding(name="reach", ok=True, detail=url)]
    if response.status != _OK:
        refusal = from_response(
            response.status,
            response.headers,
            response.body,
            where="GET models",
            key=key,
            clock=wall,
        )
        return [*found, Finding(name="key", ok=False, detail=refusal.message)]
    found.append(Finding(name="key", ok=True, detail="taken" if key else "none is needed"))
    found.append(_model(response.body, model))
    found += _clock(response.headers, wall())
    found += _limits(response.headers, wall(), requests_window_s)
    detail = "no completion was asked for: whether one is served, and how fast, was not checked"
    return [*found, Finding(name="completion", ok=None, detail=detail)]


def _model(body: bytes, model: str) -> Finding:
    try:
        listed = {one.id for one in msgspec.json.decode(body, type=_Models).data}
    except msgspec.DecodeError:
        return Finding(name="model", ok=None, detail="the service lists no models")
    if model in listed:
        return Finding(name="model", ok=True, detail=f"{model} is listed")
    return Finding(
        name="model", ok=False, detail=f"{model} is not among the {len(listed)} models listed"
    )


def _clock(headers: Mapping[str, str], now: float) -> list[Finding]:
    try:
        theirs = parsedate_to_datetime(headers.get("date", "")).timestamp()
    except ValueError:
        return [Finding(name="clock", ok=None, detail="the service does not say what time it is")]
    off_s = abs(now - theirs)
    detail = f"{off_s:.0f} s apart from the service's"
    return [Finding(name="clock", ok=off_s <= _CLOCK_S, detail=detail)]


def _limits(headers: Mapping[str, str], now: float, requests_window_s: float) -> list[Finding]:
    found = [
        f"{limit.remaining:.0f} of {limit.limit:.0f} {limit.axis} per {limit.window_s:.0f} s"
        for limit in rate_limits(headers, now=now, requests_window_s=requests_window_s)
        if limit.remaining is not None and limit.limit is not None
    ]
    detail = ", ".join(found) or "the service says nothing of them before a completion"
    return [Finding(name="limits left", ok=True if found else None, detail=detail)]
