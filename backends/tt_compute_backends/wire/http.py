"""HTTP by aiohttp: proxies and certificates of the environment, no redirects, no decompression, no cookies.

Chosen over httpx, whose pool loses a connection for good when a request is cancelled while it waits for one
(encode/httpcore#1093): a planner that cancels samples would starve within minutes.
"""

from __future__ import annotations

import socket
import ssl
import struct
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from tt_compute.errors import ConnectionFailed, ServerError

__all__ = ["UNKNOWN_ROUND_TRIP_S", "HttpResponse", "HttpSession"]

_CONNECT_TIMEOUT_S: Final = 10.0
_KEEPALIVE_S: Final = 30.0
_NO_LINGER: Final = struct.pack("ii", 1, 0)
_LOOK_EVERY: Final = 64
"""Answers between two looks at the round trip."""
UNKNOWN_ROUND_TRIP_S: Final = 0.1
_ROUND_TRIP_BYTES: Final = slice(68, 72)
"""Of Linux' ``struct tcp_info`` (linux/tcp.h): ``tcpi_rtt``, in microseconds."""
_NO_TIMEOUT: Final = aiohttp.ClientTimeout(
    total=None, sock_connect=_CONNECT_TIMEOUT_S, connect=None, sock_read=None
)
"""Deadlines, and waits for a first or next token, are the dispatcher's."""


class HttpSession:
    """Connections to one service. Made inside a running loop; ``aclose`` ends them.

    Args:
        base_url: Of the service; every request stays below it.
        headers: Sent with each request.
    """

    def __init__(self, base_url: str, headers: Mapping[str, str]) -> None:
        self._base = URL(base_url.rstrip("/") + "/")
        self._proxy = _proxy_for(base_url)
        self.round_trip_s = UNKNOWN_ROUND_TRIP_S
        self._answers = 0
        secure = self._base.scheme == "https"
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,
                keepalive_timeout=_KEEPALIVE_S,
                ssl=ssl.create_default_context() if secure else True,
            ),
            headers=dict(headers),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=_NO_TIMEOUT,
            auto_decompress=False,
            skip_auto_headers=("Accept-Encoding",),
        )

    def __repr__(self) -> str:
        return f"HttpSession({self._base.host})"

    def request(
        self,
        method: str,
        path: str,
        *,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """A request below the base URL, as aiohttp's own context manager."""
        return self.request_url(method, self._base.joinpath(path), data=data, headers=headers)

    def request_url(
        self, method: str, url: URL, *, data: bytes | None, headers: Mapping[str, str] | None
    ) -> Any:
        """A request to a URL that the caller vouches for."""
        return self._session.request(
            method,
            url,
            data=data,
            headers=headers,
            allow_redirects=False,
            proxy=self._proxy,
        )

    @asynccontextmanager
    async def send(
        self,
        method: str,
        path: str,
        *,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[HttpResponse, None]:
        """One request; leaving the scope before the end of the body closes the connection.

        Raises:
            ConnectionFailed: No answer came; the message names the host and the reason.
        """
        try:
            response = await self.request(method, path, data=data, headers=headers)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise failed(error, self._base.host or "?") from error
        if self._answers % _LOOK_EVERY == 0:
            self.round_trip_s = _round_trip_s(response)
        self._answers += 1
        try:
            yield HttpResponse(response, self._base.host or "?")
        finally:
            if response.content.at_eof():
                response.release()
            else:
                _reset(response)

    async def aclose(self) -> None:
        await self._session.close()


class HttpResponse:
    """Satisfies ``wire.transport.Response``."""

    def __init__(self, response: aiohttp.ClientResponse, host: str) -> None:
        self._response = response
        self._host = host
        self.status = response.status
        self.headers = response.headers

    async def chunks(self) -> AsyncIterator[bytes]:
        encoding = self.headers.get("content-encoding", "identity")
        if encoding.lower() not in {"identity", ""}:
            raise ServerError(
                f"{self._host} sent an answer packed by {encoding!r}, which was not asked for",
                hint="a proxy on the way may do that; nothing is unpacked, so that nothing can swell",
            )
        try:
            async for chunk in self._response.content.iter_any():
                yield chunk
        except (aiohttp.ClientError, OSError) as error:
            raise failed(error, self._host) from error


def _reset(response: aiohttp.ClientResponse) -> None:
    """Close the connection of an answer that nobody wants any more, at once.

    By RST: an orderly end would keep its port for a minute, and who cancels 500 samples a second has none left.
    """
    connection = response.connection
    transport = None if connection is None else connection.transport
    info: Any = None if transport is None else transport.get_extra_info("socket")
    with suppress(AttributeError, OSError):
        info.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    response.close()


def _round_trip_s(response: aiohttp.ClientResponse) -> float:
    """As the kernel measures it."""
    connection = response.connection
    transport = None if connection is None else connection.transport
    info: Any = None if transport is None else transport.get_extra_info("socket")
    try:
        data: bytes = info.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        return int.from_bytes(data[_ROUND_TRIP_BYTES], sys.byteorder) / 1e6
    except (AttributeError, OSError):
        return UNKNOWN_ROUND_TRIP_S


def failed(error: Exception, host: str) -> ConnectionFailed:
    """Ours for one of aiohttp's; what aiohttp says may hold URLs, and is kept as the cause alone."""
    return ConnectionFailed(f"{host}: {_reason(error)}")


_REASONS: Final[tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...]] = (
    (aiohttp.ClientConnectorCertificateError, "its certificate is not trusted"),
    (aiohttp.ClientConnectorDNSError, "its name cannot be resolved"),
    (aiohttp.ClientProxyConnectionError, "the proxy cannot be reached"),
    ((aiohttp.ServerTimeoutError, TimeoutError), f"no connection within {_CONNECT_TIMEOUT_S:g} s"),
    (aiohttp.ServerDisconnectedError, "it closed the connection before it answered"),
    (aiohttp.ClientPayloadError, "it closed the connection in the middle of its answer"),
)


def _reason(error: Exception) -> str:
    for kind, text in _REASONS:
        if isinstance(error, kind):
            return text
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot connect ({error.os_error.strerror or type(error.os_error).__name__})"
    return f"the connection failed ({type(error).__name__})"


def _proxy_for(base_url: str) -> str | None:
    """As HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY say, read once."""
    parts = urlsplit(base_url)
    if not parts.hostname or proxy_bypass(parts.netloc):
        return None
    proxies = getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")
