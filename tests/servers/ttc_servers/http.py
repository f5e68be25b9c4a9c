"""A small HTTP/1.1 server that can also misbehave: bytes are written as they are given."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from collections.abc import Callable, Mapping
from http import HTTPStatus

import msgspec

__all__ = ["Exchange", "HttpServer", "Request", "framing", "hard_close", "head", "opening"]

_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_AT_ONCE_AND_HARD = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
"""SO_LINGER on with 0 s: closing the socket sends RST instead of FIN."""


class Request(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a client sent; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class _BadRequest(ValueError):
    """Not HTTP/1.1 as a client of ours would write it."""


class Exchange:
    """The answer to one request, in the making."""

    __slots__ = ("_connection", "done", "gone")

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection
        self.gone = asyncio.Event()
        """Set once the client has left."""
        self.done = False

    def write(self, data: bytes) -> None:
        if not self.gone.is_set():
            self._connection.transport.write(data)

    async def drained(self) -> None:
        """Until the client has taken most of what was written, or has left."""
        await self._connection.writable.wait()

    def end(self) -> None:
        """The answer is whole; the connection may be used again."""
        if not self.done:
            self.done = True
            self._connection.next_request()

    def close(self) -> None:
        """An orderly end of the connection, wherever the answer stands."""
        self.done = True
        self._connection.transport.close()

    def reset(self) -> None:
        """The hard end: RST instead of FIN."""
        self.done = True
        self._connection.reset()


def hard_close(transport: asyncio.WriteTransport) -> None:
    """RST instead of FIN."""
    connected: socket.socket = transport.get_extra_info("socket")
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE_AND_HARD)
    transport.abort()


def opening(status: int, headers: Mapping[str, str]) -> bytes:
    """Status line and headers, all but the one that says how long the body is."""
    lines = [f"HTTP/1.1 {status} {_PHRASES.get(status, 'Status')}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n").encode("latin-1")


def framing(length: int | None) -> bytes:
    """The last header; None = in chunks."""
    if length is None:
        return b"transfer-encoding: chunked\r\n\r\n"
    return b"content-length: %d\r\n\r\n" % length


def head(status: int, headers: Mapping[str, str], *, length: int | None) -> bytes:
    """The first part of an answer; ``length`` None = in chunks."""
    return opening(status, headers) + framing(length)


class HttpServer:
    """Listens on 127.0.0.1; ``handle`` is called for every whole request."""

    def __init__(self, handle: Callable[[Request, Exchange], None]) -> None:
        self._handle = handle
        self._server: asyncio.Server | None = None
        self.connections: set[_Connection] = set()
        self.opened = 0

    async def start(self, port: int = 0) -> int:
        """Returns the port."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self, self._handle), "127.0.0.1", port, backlog=1024
        )
        address: tuple[str, int] = self._server.sockets[0].getsockname()
        return address[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            for connection in list(self.connections):
                connection.transport.abort()
            await self._server.wait_closed()


class _Connection(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self, server: HttpServer, handle: Callable[[Request, Exchange], None]) -> None:
        self._server = server
        self._handle = handle
        self._received = b""
        self._exchange: Exchange | None = None
        self._last = False
        self.writable = asyncio.Event()
        self.writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._server.connections.add(self)
        self._server.opened += 1

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._server.connections.discard(self)
        self.writable.set()
        if self._exchange is not None:
            self._exchange.gone.set()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def data_received(self, data: bytes) -> None:
        self._received = self._received + data if self._received else data
        if self._exchange is None:
            self._read()

    def next_request(self) -> None:
        self._exchange = None
        if self._last:
            self.transport.close()
        elif self._received:
            self._read()

    def reset(self) -> None:
        hard_close(self.transport)

    def _read(self) -> None:
        """Take one request out of what was received, if it is whole."""
        try:
            taken = _take(self._received)
        except ValueError:
            self.transport.write(head(400, {"connection": "close"}, length=0))
            self.transport.close()
            return
        if taken is None:
            return
        request, self._received = taken
        self._last = request.headers.get("connection", "").lower() == "close"
        self._exchange = Exchange(self)
        self._handle(request, self._exchange)


def _take(data: bytes) -> tuple[Request, bytes] | None:
    """The first request and what follows it; None while it is not whole."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    lines = data[:end].decode("latin-1").split("\r\n")
    method, path, version = lines[0].split(" ")
    if not version.startswith("HTTP/1."):
        raise _BadRequest(version)
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    whole = _body(data, end + 4, headers)
    if whole is None:
        return None
    return Request(method=method, path=path, headers=headers, body=whole[0]), whole[1]


def _body(data: bytes, start: int, headers: dict[str, str]) -> tuple[bytes, bytes] | None:
    if "transfer-encoding" in headers:
        return _unchunked(data[start:])
    end = start + int(headers.get("content-length", "0"))
    return None if len(data) < end else (data[start:end], data[end:])


def _unchunked(data: bytes) -> tuple[bytes, bytes] | None:
    """The body and what follows; None while it is not whole."""
    parts: list[bytes] = []
    while True:
        size, separator, rest = data.partition(b"\r\n")
        if not separator:
            return None
        length = int(size.split(b";")[0], 16)
        if len(rest) < length + 2:
            return None
        if length == 0:
            return b"".join(parts), rest[2:]
        parts.append(rest[:length])
        data = rest[length + 2 :]
