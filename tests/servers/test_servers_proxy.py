"""What the proxy does to the bytes of a connection."""

from __future__ import annotations

import asyncio

import pytest

from raw_client import ASKED, ask, parsed, quiet, request_bytes, talking, until
from ttc_servers import ChatServer, FaultProxy, Harm, How, Script, closed_port

pytestmark = pytest.mark.anyio


async def whole_of(server: ChatServer) -> bytes:
    """What comes without a proxy."""
    async with talking(server.port) as (reader, writer):
        writer.write(request_bytes(server, ASKED))
        return await reader.read(-1)


async def test_unharmed_all_passes_and_is_counted() -> None:
    async with ChatServer() as server, FaultProxy.before(server.base_url) as proxy:
        assert proxy.url == server.base_url.replace(str(server.port), str(proxy.port))
        asked = request_bytes(server, ASKED)
        async with talking(proxy.port) as (reader, writer):
            writer.write(asked)
            raw = await reader.read(-1)
    assert parsed(raw).status == 200
    assert [(one.to_server, one.to_client) for one in proxy.passed] == [(len(asked), len(raw))]


@pytest.mark.parametrize("after", [0, 1, 100])
async def test_cut_ends_the_answer_in_good_order_after_so_many_bytes(after: int) -> None:
    async with (
        ChatServer() as server,
        FaultProxy.before(server.base_url, [Harm(how=How.CUT, after_bytes=after)]) as proxy,
        talking(proxy.port) as (reader, writer),
    ):
        writer.write(request_bytes(server, ASKED))
        assert len(await reader.read(-1)) == after


@pytest.mark.parametrize("after", [0, 100])
async def test_reset_ends_the_connection_hard_after_so_many_bytes(after: int) -> None:
    async with (
        ChatServer() as server,
        FaultProxy.before(server.base_url, [Harm(how=How.RESET, after_bytes=after)]) as proxy,
        talking(proxy.port) as (reader, writer),
    ):
        writer.write(request_bytes(server, ASKED))
        assert len(await reader.readexactly(after)) == after
        with pytest.raises(ConnectionResetError):
            await reader.read(1)


async def test_stall_passes_so_many_bytes_and_holds_the_connection() -> None:
    async with (
        ChatServer() as server,
        FaultProxy.before(server.base_url, [Harm(how=How.STALL, after_bytes=50)]) as proxy,
    ):
        async with talking(proxy.port) as (reader, writer):
            writer.write(request_bytes(server, ASKED))
            await reader.readexactly(50)
            assert await quiet(reader)
        await until(lambda: server.connections == 0)


async def test_drip_passes_byte_by_byte_from_there_on() -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        await asyncio.sleep(0)

    async with ChatServer() as server:
        harms = [Harm(how=How.DRIP, after_bytes=50, seconds=2.0)]
        async with (
            FaultProxy("127.0.0.1", server.port, harms, sleep=sleep) as proxy,
            talking(proxy.port) as (reader, writer),
        ):
            writer.write(request_bytes(server, ASKED))
            raw = await reader.read(-1)
    assert parsed(raw).whole
    assert waits == [2.0] * (len(raw) - 50)


async def test_harms_are_of_connections_in_turn() -> None:
    harms = [None, Harm(how=How.CUT), None]
    script = Script(texts=("always the same",))
    async with (
        ChatServer(script=script) as server,
        FaultProxy.before(server.base_url, harms) as proxy,
    ):
        lengths: list[int] = []
        for _ in range(4):
            async with talking(proxy.port) as (reader, writer):
                writer.write(request_bytes(server, ASKED))
                lengths.append(len(await reader.read(-1)))
        whole = len(await whole_of(server))
    assert lengths == [whole, 0, whole, whole]


async def test_who_leaves_the_proxy_leaves_the_server() -> None:
    async with ChatServer() as server, FaultProxy.before(server.base_url) as proxy:
        async with talking(proxy.port):
            await until(lambda: server.connections == 1)
        await until(lambda: server.connections == 0)
        assert (await ask(server)).status == 200


async def test_with_nobody_behind_it_the_connection_is_closed() -> None:
    async with (
        FaultProxy("127.0.0.1", closed_port()) as proxy,
        talking(proxy.port) as (reader, _),
    ):
        assert await reader.read(-1) == b""
