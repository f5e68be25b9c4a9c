"""How each fault is acted out on the wire."""

from __future__ import annotations

import gzip
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec

from ttc_servers.faults import Fault, Kind
from ttc_servers.http import Exchange, head
from ttc_servers.record import Seen

if TYPE_CHECKING:
    from ttc_servers.chat import ChatServer

__all__ = ["FREE", "PLAIN", "SPOILED", "Spoiler"]

Act = Callable[["ChatServer", "Seen", Exchange], Awaitable[None]]
_BOMB = gzip.compress(bytes(5_000_000))


# --- faults in place of an answer ------------------------------------------------------------------


def _fault(seen: Seen) -> Fault:
    assert seen.fault is not None
    return seen.fault


def _sender(seen: Seen) -> str:
    """Some servers echo what they were sent, the key included."""
    return seen.headers.get("authorization", "nobody")


async def _reset_before_head(server: ChatServer, seen: Seen, exchange: Exchange) -> None:
    del server, seen
    exchange.reset()


async def _reset_after_head(server: ChatServer, seen: Seen, exchange: Exchange) -> None:
    exchange.write(head(200, {"content-type": "text/event-stream"}, length=None))
    await server.sleep(0)
    del seen
    exchange.reset()


async def _silent(server: ChatServer, seen: Seen, exchange: Exchange) -> None:
    del server
    seen.status = 0
    await exchange.gone.wait()


async def _status(server: ChatServer, seen: Seen, exchange: Exchange) -> None:
    fault = _fault(seen)
    seen.status = fault.status
    document = server.shape.refusal(fault.status, f"forced {fault.status} for {_sender(seen)}")
    if fault.said_status is not None:
        document["status_code"] = fault.said_status
    server.answer(exchange, fault.status, document, fault.headers)


async def _html(server: ChatServer, seen: Seen, exchange: Exchange) -> None:
    del server
    fault = _fault(seen)
    seen.status = fault.status
    page = b"<html><body><h1>502 Bad Gateway</h1></body></html>"
    exchange.write(head(fault.status, {"content-type": "text/html"}, length=len(page)) + page)
    exchange.end()


async def _error_in_200(server: ChatServer, seen: Seen, exchange: Exchange) -> None:
    del seen
    server.answer(exchange, 200, {"error": {"message": "forced", "code": 502}})


async def _empty_object(server: ChatServer, seen: Seen, exchange: Exchange) -> None:
    del seen
    server.answer(exchange, 200, {})


async def _endless_line(server: ChatServer, seen: Seen, exchange: Exchange) -> None:
    del seen
    exchange.write(head(200, {"content-type": "text/event-stream"}, length=None))
    block = b"data: " + b"x" * 1_000_000
    while not exchange.gone.is_set():
        exchange.write(b"%x\r\n%s\r\n" % (len(block), block))
        await exchange.drained()
        await server.wait(exchange, 0.001)
        block = b"x" * 1_000_000


async def _gzip(server: ChatServer, seen: Seen, exchange: Exchange) -> None:
    del server, seen
    data = _BOMB
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    exchange.write(head(200, headers, length=len(data)) + data)
    exchange.end()


async def _redirect(server: ChatServer, seen: Seen, exchange: Exchange) -> None:
    del server
    exchange.write(head(307, {"location": _fault(seen).target}, length=0))
    exchange.end()


FREE = frozenset({Kind.STATUS, Kind.HTML, Kind.ERROR_IN_200, Kind.REDIRECT})
"""Refusals: nothing is billed for them."""
PLAIN: dict[Kind, Act] = {
    Kind.RESET_BEFORE_HEAD: _reset_before_head,
    Kind.RESET_AFTER_HEAD: _reset_after_head,
    Kind.SILENT: _silent,
    Kind.STATUS: _status,
    Kind.HTML: _html,
    Kind.ERROR_IN_200: _error_in_200,
    Kind.EMPTY_OBJECT: _empty_object,
    Kind.ENDLESS_LINE: _endless_line,
    Kind.GZIP: _gzip,
    Kind.REDIRECT: _redirect,
}


# --- faults inside an answer -----------------------------------------------------------------------


class Spoiler:
    """Changes what is written of an answer; by itself changes nothing."""

    without_done = False
    instead = False
    """Whether ``event`` writes in place of the chunk."""

    def document(self, document: dict[str, Any]) -> dict[str, Any] | None:
        """What is sent in its place; None = nothing."""
        return document

    async def event(
        self, server: ChatServer, seen: Seen, exchange: Exchange, chunk: dict[str, Any]
    ) -> bool:
        """Act before a chunk with tokens; False = the answer ends here."""
        del server, seen, exchange, chunk
        return True

    async def whole(
        self, server: ChatServer, seen: Seen, exchange: Exchange, top: bytes, data: bytes
    ) -> bool:
        """Act in place of an answer that is not a stream; True = it is written after all."""
        del server, seen, exchange, top, data
        return True


class _Stall(Spoiler):
    async def event(
        self, server: ChatServer, seen: Seen, exchange: Exchange, chunk: dict[str, Any]
    ) -> bool:
        del server, seen, chunk
        await exchange.gone.wait()
        return False

    async def whole(
        self, server: ChatServer, seen: Seen, exchange: Exchange, top: bytes, data: bytes
    ) -> bool:
        del server, seen
        exchange.write(top + data[: len(data) // 2])
        await exchange.gone.wait()
        return False


class _Cut(Spoiler):
    async def event(
        self, server: ChatServer, seen: Seen, exchange: Exchange, chunk: dict[str, Any]
    ) -> bool:
        del server, seen, chunk
        exchange.close()
        return False

    async def whole(
        self, server: ChatServer, seen: Seen, exchange: Exchange, top: bytes, data: bytes
    ) -> bool:
        del server, seen
        exchange.write(top + data[: len(data) // 2])
        exchange.close()
        return False


class _CleanEnd(Spoiler):
    """Half an answer that ends as if it were whole, without a finish reason."""

    async def event(
        self, server: ChatServer, seen: Seen, exchange: Exchange, chunk: dict[str, Any]
    ) -> bool:
        del server, seen, chunk
        exchange.write(b"0\r\n\r\n")
        exchange.end()
        return False

    def document(self, document: dict[str, Any]) -> dict[str, Any] | None:
        choices = [choice | {"finish_reason": None} for choice in document["choices"]]
        return document | {"choices": choices}


class _NoDone(Spoiler):
    without_done = True


class _Malformed(Spoiler):
    async def event(
        self, server: ChatServer, seen: Seen, exchange: Exchange, chunk: dict[str, Any]
    ) -> bool:
        del server, seen, chunk
        exchange.write(_chunked(b'data: {"choices": [{"delta": \n\n'))
        return True

    async def whole(
        self, server: ChatServer, seen: Seen, exchange: Exchange, top: bytes, data: bytes
    ) -> bool:
        """As long as it should be, and no JSON."""
        del server, seen
        half = data[: len(data) // 2]
        exchange.write(top + half + b" " * (len(data) - len(half)))
        exchange.end()
        return False


class _ErrorEvent(Spoiler):
    async def event(
        self, server: ChatServer, seen: Seen, exchange: Exchange, chunk: dict[str, Any]
    ) -> bool:
        del seen, chunk
        line = b"data: " + msgspec.json.encode(server.shape.error_event(503, "forced in stream"))
        exchange.write(_chunked(line + b"\n\n") + b"0\r\n\r\n")
        exchange.end()
        return False


class _Drip(Spoiler):
    """Every byte by itself: of a stream, from where it begins to go wrong."""

    instead = True

    async def event(
        self, server: ChatServer, seen: Seen, exchange: Exchange, chunk: dict[str, Any]
    ) -> bool:
        line = b"data: " + msgspec.json.encode(chunk) + b"\n\n"
        bytes_ = [_chunked(line[at : at + 1]) for at in range(len(line))]
        return await self._drip(server, seen, exchange, bytes_)

    async def whole(
        self, server: ChatServer, seen: Seen, exchange: Exchange, top: bytes, data: bytes
    ) -> bool:
        exchange.write(top)
        if await self._drip(server, seen, exchange, [bytes([byte]) for byte in data]):
            exchange.end()
        return False

    async def _drip(
        self, server: ChatServer, seen: Seen, exchange: Exchange, pieces: list[bytes]
    ) -> bool:
        for piece in pieces:
            exchange.write(piece)
            if not await server.wait(exchange, _fault(seen).seconds):
                return False
        return True


class _Duplicate(Spoiler):
    """One chunk twice: what it adds to the text cannot be told from an honest repetition."""

    async def event(
        self, server: ChatServer, seen: Seen, exchange: Exchange, chunk: dict[str, Any]
    ) -> bool:
        del server
        if seen.output_tokens == _fault(seen).after_tokens:
            exchange.write(_chunked(b"data: " + msgspec.json.encode(chunk) + b"\n\n"))
        return True


class _WrongUsage(Spoiler):
    def document(self, document: dict[str, Any]) -> dict[str, Any] | None:
        wrong = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        made = dict(document)
        if "usage" in made:
            made["usage"] = wrong
        if "usage" in (made.get("x_groq") or {}):
            made["x_groq"] = {**made["x_groq"], "usage": wrong}
        return made


class _NoUsage(Spoiler):
    def document(self, document: dict[str, Any]) -> dict[str, Any] | None:
        if document.get("choices") == []:
            return None
        made = {name: value for name, value in document.items() if name != "usage"}
        if "x_groq" in made:
            made["x_groq"] = {"id": made["x_groq"]["id"]}
        return made


def _chunked(line: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(line), line)


SPOILED: dict[Kind, Spoiler] = {
    Kind.STALL: _Stall(),
    Kind.CUT: _Cut(),
    Kind.NO_FINISH: _CleanEnd(),
    Kind.NO_DONE: _NoDone(),
    Kind.MALFORMED: _Malformed(),
    Kind.ERROR_EVENT: _ErrorEvent(),
    Kind.DRIP: _Drip(),
    Kind.DUPLICATE: _Duplicate(),
    Kind.WRONG_USAGE: _WrongUsage(),
    Kind.NO_USAGE: _NoUsage(),
}
