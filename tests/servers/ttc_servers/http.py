"""A small HTTP/1.1 server that can also misbehave: bytes are written as they are given."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import msgspec

__all__ = ["Exchange", "HttpServer", "Request", "head"]

_PHRASES = {
    200: "OK",
    307: "Temporary Redirect",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
}


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What a client sent; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Exchange:
    """The answer to one request, in the making."""

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection
        self.gone = asyncio.Event()
        """Set once the client has left."""
        self.done = False

    def write(self, data: bytes) -> None:
        if not self.gone.is_set():
            self._connection.transport.write(data)

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


def head(status: int, headers: Mapping[str, str], *, length: int | None) -> bytes:
    """The first part of an answer; ``length`` None = in chunks."""
    lines = [f"HTTP/1.1 {status} {_PHRASES.get(status, 'Status')}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines.append("transfer-encoding: chunked" if length is None else f"content-length: {length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


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
            lambda: _Connection(self, self._handle), "127.0.0.1", port
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

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._server.connections.add(self)
        self._server.opened += 1

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._server.connections.discard(self)
        if self._exchange is not None:
            self._exchange.gone.set()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._exchange is None:
            self._read()

    def next_request(self) -> None:
        self._exchange = None
        self._read()

    def reset(self) -> None:
        self.transport.abort()

    def _read(self) -> None:
        top, separator, rest = self._received.partition(b"\r\n\r\n")
        if not separator:
            return
        lines = top.decode("latin-1").split("\r\n")
        method, path, _ = lines[0].split(" ", 2)
        headers: dict[str, str] = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        length = int(headers.get("content-length", "0"))
        if headers.get("transfer-encoding") == "chunked":
            whole = _unchunked(rest)
            if whole is None:
                return
            body, self._received = whole
        elif len(rest) < length:
            return
        else:
            body, self._received = rest[:length], rest[length:]
        self._exchange = Exchange(self)
        self._handle(Request(method=method, path=path, headers=headers, body=body), self._exchange)


def _unchunked(data: bytes) -> tuple[bytes, bytes] | None:
    """The body and what follows; None while it is not whole."""
    body = b""
    while True:
        size, separator, rest = data.partition(b"\r\n")
        if not separator:
            return None
        n = int(size.split(b";")[0], 16)
        if len(rest) < n + 2:
            return None
        if n == 0:
            return body, rest[2:]
        body, data = body + rest[:n], rest[n + 2 :]
