"""A TCP proxy for what goes wrong below HTTP, in front of any host and port."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from typing import Self
from urllib.parse import urlsplit, urlunsplit

import msgspec

from ttc_servers.http import hard_close

__all__ = ["FaultProxy", "Harm", "How", "Passed"]

_BLOCK_BYTES = 65_536


class How(StrEnum):
    """What happens to a connection."""

    RESET = "reset"
    """RST to the client."""
    CUT = "cut"
    """FIN to the client, as if the answer were over."""
    STALL = "stall"
    """Nothing more passes, and the connection stays open."""
    DRIP = "drip"
    """Byte by byte from there on."""


class Harm(msgspec.Struct, frozen=True, kw_only=True):
    """Done to the bytes that go to the client."""

    how: How
    after_bytes: int = 0
    """So many pass first; 0 = as soon as the client has sent something."""
    seconds: float = 1.0
    """Between two bytes of DRIP."""


class Passed(msgspec.Struct, kw_only=True):
    """One connection."""

    harm: Harm | None
    to_server: int = 0
    to_client: int = 0
    """Bytes."""


class FaultProxy:
    """``async with FaultProxy.before(server.base_url, [Harm(how=How.CUT, after_bytes=9)]) as proxy: proxy.url``.

    Args:
        host: Of the server behind it.
        port: Likewise.
        harms: Of each connection in turn; None, and all after the last, pass unharmed.
        path: Of the URL.
        sleep: Waits of DRIP.
    """

    def __init__(
        self,
        host: str,
        port: int,
        harms: Sequence[Harm | None] = (),
        *,
        path: str = "",
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._behind = (host, port)
        self._harms = harms
        self._path = path
        self._sleep = sleep
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.passed: list[Passed] = []
        """Every connection so far."""

    @classmethod
    def before(cls, url: str, harms: Sequence[Harm | None] = ()) -> FaultProxy:
        """In front of the server that has this URL."""
        parts = urlsplit(url)
        return cls(parts.hostname or "127.0.0.1", parts.port or 80, harms, path=parts.path)

    @property
    def url(self) -> str:
        """The URL of what is behind it, by way of the proxy."""
        return urlunsplit(("http", f"127.0.0.1:{self.port}", self._path, "", ""))

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        address: tuple[str, int] = self._server.sockets[0].getsockname()
        self.port = address[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    # --- one connection --------------------------------------------------------------------------

    def _accept(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        number = len(self.passed)
        passed = Passed(harm=self._harms[number] if number < len(self._harms) else None)
        self.passed.append(passed)
        task = asyncio.get_running_loop().create_task(self._carry(client, to_client, passed))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(
        self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter, passed: Passed
    ) -> None:
        """Until either side closes, or the harm ends it."""
        try:
            server, to_server = await asyncio.open_connection(*self._behind)
        except OSError:
            to_client.close()
            return
        begun = asyncio.Event()
        up = asyncio.ensure_future(self._up(client, to_server, passed, begun))
        down = asyncio.ensure_future(self._down(server, to_client, passed, begun))
        try:
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for side in (up, down):
                side.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
            to_server.close()
            to_client.close()

    async def _up(
        self,
        client: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
        passed: Passed,
        begun: asyncio.Event,
    ) -> None:
        while block := await client.read(_BLOCK_BYTES):
            begun.set()
            to_server.write(block)
            passed.to_server += len(block)

    async def _down(
        self,
        server: asyncio.StreamReader,
        to_client: asyncio.StreamWriter,
        passed: Passed,
        begun: asyncio.Event,
    ) -> None:
        harm = passed.harm
        await begun.wait()
        while harm is None or passed.to_client < harm.after_bytes:
            most = _BLOCK_BYTES if harm is None else harm.after_bytes - passed.to_client
            block = await server.read(min(most, _BLOCK_BYTES))
            if not block:
                return
            await _pass(block, to_client, passed)
        await self._harm(harm, server, to_client, passed)

    async def _harm(
        self,
        harm: Harm,
        server: asyncio.StreamReader,
        to_client: asyncio.StreamWriter,
        passed: Passed,
    ) -> None:
        if harm.how is How.RESET:
            hard_close(to_client.transport)
        elif harm.how is How.STALL:
            # Only the client's leaving, or the end of the proxy, ends it.
            await asyncio.get_running_loop().create_future()
        elif harm.how is How.DRIP:
            while byte := await server.read(1):
                await _pass(byte, to_client, passed)
                await self._sleep(harm.seconds)


async def _pass(block: bytes, to_client: asyncio.StreamWriter, passed: Passed) -> None:
    to_client.write(block)
    passed.to_client += len(block)
    await to_client.drain()
