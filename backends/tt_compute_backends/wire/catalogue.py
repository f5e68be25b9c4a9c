"""What a service offers of one model, asked of its list of models; it costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import anyio

from tt_compute.errors import ConnectionFailed, ServerError
from tt_compute.types import Offer
from tt_compute_backends.wire.failures import from_response, scrubbed
from tt_compute_backends.wire.http import HttpSession
from tt_compute_backends.wire.listing import (
    Listing,
    NotAListError,
    WrongFieldError,
    entry_of,
    offer_of,
)
from tt_compute_backends.wire.transport import read_all

__all__ = ["PATIENCE_S", "Looked", "look", "offered"]

PATIENCE_S: Final = 10.0
"""For all that is asked of one service."""
_MAX_LIST_BYTES: Final = 8 * 1024 * 1024
"""The longest known, of some 400 models with descriptions, is under 1 MiB."""
_OK: Final = 200


class Looked(NamedTuple):
    """An answer, read whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes


async def look(base_url: str, path: str, key: str | None) -> Looked:
    """``GET`` a list below a URL; whoever calls limits the time.

    Raises:
        ConnectionFailed: No answer came.
        ServerError: It is too long.
    """
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    session = HttpSession(base_url, headers)
    try:
        async with session.send("GET", path) as response:
            body = await read_all(response, _MAX_LIST_BYTES)
            return Looked(response.status, response.headers, body)
    finally:
        await session.aclose()


async def offered(
    url: str,
    origin: str,
    key: str | None,
    *,
    model: str,
    listing: Listing,
    wall: Callable[[], float],
) -> Offer | None:
    """What is said of ``model``; None where it is not listed, or listed and not served.

    Args:
        url: Where ``models`` stands below, which takes the key.
        origin: Where a public list stands below, which gets none.
        key: None = none is needed.
        model: As the service calls it.
        listing: How this service's lists read.
        wall: Seconds since the epoch.

    Raises:
        BackendError: It was not reached, refused, or what it says cannot be true.
    """
    host = urlsplit(url).hostname or "?"
    try:
        with anyio.fail_after(PATIENCE_S):
            entry = await _entry(url, "models", key, model, wall)
            if entry is None or listing.public is None:
                return _offer(entry, listing, f"{url.rstrip('/')}/models", key)
            # Models of this account alone are not on the public list: that one says less, not otherwise.
            public = await _entry(origin, listing.public, None, model, wall)
            source = f"{origin.rstrip('/')}/{listing.public}"
            return Offer(url=source) if public is None else _offer(public, listing, source, key)
    except TimeoutError as error:
        raise ConnectionFailed(f"{host}: no list of models within {PATIENCE_S:g} s") from error


async def _entry(
    url: str, path: str, key: str | None, model: str, wall: Callable[[], float]
) -> Mapping[str, Any] | None:
    where = f"GET {path} of {urlsplit(url).hostname}"
    looked = await look(url, path, key)
    if looked.status != _OK:
        raise from_response(
            looked.status, looked.headers, looked.body, where=where, key=key, clock=wall
        )
    try:
        return entry_of(looked.body, model)
    except NotAListError as error:
        raise ServerError(
            f"{where}: {error}", hint="check endpoint.base_url of the deployment"
        ) from error


def _offer(
    entry: Mapping[str, Any] | None, listing: Listing, source: str, key: str | None
) -> Offer | None:
    try:
        return None if entry is None else offer_of(entry, listing, source)
    except WrongFieldError as error:
        said = scrubbed(str(error), key)
        raise ServerError(f"{source} cannot be right: {said}") from error
