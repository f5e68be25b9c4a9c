"""httpx requests carried by aiohttp, so that an SDK built on httpx survives the cancelling of samples."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Final

import httpx

from tt_compute.errors import BackendError, ServerError
from tt_compute_backends.wire.http import HttpResponse, HttpSession
from tt_compute_backends.wire.transport import MAX_RESPONSE_BYTES

__all__ = ["AiohttpTransport"]

_HOP_HEADERS: Final = frozenset(
    {"host", "connection", "content-length", "transfer-encoding", "accept-encoding"}
)
"""Those that aiohttp writes itself, and the one that would ask for a packed answer."""


class AiohttpTransport(httpx.AsyncBaseTransport):
    """One session to one service; a request to another host is refused.

    Args:
        url: The service's base URL.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._session: HttpSession | None = None

    @property
    def round_trip_s(self) -> float | None:
        """To the service; None before the first request."""
        return None if self._session is None else self._session.round_trip_s

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send it; the SDK's own error is raised from ours."""
        if self._session is None:
            self._session = HttpSession(self._url, {})
        target = str(request.url)
        if not target.startswith(f"{self._url}/"):
            raise httpx.UnsupportedProtocol("the request left the service's base URL")
        scope = self._session.send(
            request.method,
            target.removeprefix(f"{self._url}/"),
            data=request.content,
            headers={
                name: value
                for name, value in request.headers.items()
                if name.lower() not in _HOP_HEADERS
            },
        )
        try:
            response = await scope.__aenter__()
        except BackendError as error:
            raise httpx.ConnectError(error.message) from error
        return httpx.Response(
            response.status, headers=response.headers, stream=_Body(scope, response)
        )

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.aclose()


class _Body(httpx.AsyncByteStream):
    """The body of an answer; bounded, because an SDK reads that of an error whole."""

    def __init__(
        self, scope: AbstractAsyncContextManager[HttpResponse], response: HttpResponse
    ) -> None:
        self._scope = scope
        self._response = response
        self._left = MAX_RESPONSE_BYTES

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._response.chunks():
                self._left -= len(chunk)
                if self._left < 0:
                    raise ServerError(f"the answer is longer than {MAX_RESPONSE_BYTES} bytes")
                yield chunk
        except BackendError as error:
            raise httpx.ReadError(error.message) from error

    async def aclose(self) -> None:
        await self._scope.__aexit__(None, None, None)
