"""The short path: a body encoded by msgspec, posted by aiohttp."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager

from tt_compute_backends.wire.http import HttpSession
from tt_compute_backends.wire.request import Body, encode
from tt_compute_backends.wire.transport import Response

__all__ = ["PostTransport"]


class PostTransport:
    """Satisfies ``wire.transport.Transport``. Made where a loop runs.

    Args:
        url: Base URL, up to and with ``/v1``.
        key: None = the server wants none.
        headers: More headers of each request.
    """

    def __init__(self, url: str, key: str | None, headers: Mapping[str, str]) -> None:
        sent = {"Content-Type": "application/json", "User-Agent": "tt-compute", **headers}
        if key is not None:
            sent["Authorization"] = f"Bearer {key}"
        self._session = HttpSession(url, sent)

    @property
    def round_trip_s(self) -> float:
        return self._session.round_trip_s

    def send(self, body: Body, *, stream: bool) -> AbstractAsyncContextManager[Response]:
        del stream
        return self._session.send("POST", "chat/completions", data=encode(body))

    async def aclose(self) -> None:
        await self._session.aclose()
