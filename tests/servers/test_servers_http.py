"""HTTP as clients speak it."""

from __future__ import annotations

import msgspec
import pytest

from raw_client import ASKED, parsed, request_bytes, talking
from ttc_servers import KEY, ChatServer

pytestmark = pytest.mark.anyio


async def test_a_connection_serves_one_request_after_the_other() -> None:
    async with ChatServer() as server, talking(server.port) as (reader, writer):
        for _ in range(3):
            writer.write(request_bytes(server, ASKED, last=False))
            top = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line[16:]) for line in top.split(b"\r\n") if line.startswith(b"content-length")
            )
            assert "choices" in msgspec.json.decode(await reader.readexactly(length))
        assert (server.count, server.connections) == (3, 1)


async def test_requests_sent_at_once_are_answered_in_their_order() -> None:
    async with ChatServer() as server, talking(server.port) as (reader, writer):
        one, two = {**ASKED, "model": "one"}, {**ASKED, "model": "two"}
        writer.write(request_bytes(server, one, last=False) + request_bytes(server, two))
        raw = await reader.read(-1)
    assert raw.index(b'"one"') < raw.index(b'"two"')


async def test_a_request_may_come_in_chunks_and_in_pieces() -> None:
    data = msgspec.json.encode(ASKED)
    top = (
        f"POST /v1/chat/completions HTTP/1.1\r\nAuthorization: Bearer {KEY}\r\n"
        "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    ).encode()
    body = b"5\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (data[:5], len(data) - 5, data[5:])
    async with ChatServer() as server, talking(server.port) as (reader, writer):
        for byte in top + body:
            writer.write(bytes([byte]))
            await writer.drain()
        assert parsed(await reader.read(-1)).status == 200
    assert server.seen[0].body == ASKED


@pytest.mark.parametrize(
    "raw",
    [b"hello\r\n\r\n", b"GET / HTTP/2\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n"],
)
async def test_what_is_no_request_is_refused_and_the_connection_closed(raw: bytes) -> None:
    async with ChatServer() as server, talking(server.port) as (reader, writer):
        writer.write(raw)
        assert parsed(await reader.read(-1)).status == 400
    assert server.requests == []
