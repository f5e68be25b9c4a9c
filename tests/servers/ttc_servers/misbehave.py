"""How each fault is acted out on the wire."""

from __future__ import annotations

import gzip
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec

from ttc_servers.faults import Fault, Kind
from ttc_servers.http import Exchange, head

if TYPE_CHECKING:
    from ttc_servers.chat import ChatServer, Seen

__all__ = ["PLAIN", "STREAMED", "Spoiler"]

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
    seen.status = 0
    await server.hold(exchange)


async def _status(server: ChatServer, seen: Seen, exchange: Exchange) -> None:
    fault = _fault(seen)
    seen.status = fault.status
    code = "rate_limit_exceeded" if fault.status == 429 else "internal_error"
    document = server.shape.error(fault.status, f"forced {fault.status} for {_sender(seen)}", code)
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
        await server.sleep(0.001)
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
    """Changes documents as they are written; by itself changes nothing."""

    without_done = False

    def document(self, document: dict[str, Any]) -> dict[str, Any] | None:
        """What is sent in its place; None = nothing."""
        return document

    async def event(
        self, server: ChatServer, seen: Seen, exchange: Exchange, chunk: dict[str, Any]
    ) -> bool:
        """Act before a chunk with tokens; False = the answer ends here."""
        del server, seen, exchange, chunk
        return True


class _Stall(Spoiler):
    async def event(
        self, server: ChatServer, seen: Seen, exchange: Exchange, chunk: dict[str, Any]
    ) -> bool:
        del seen, chunk
        await server.hold(exchange)
        return False


class _Cut(Spoiler):
    async def event(
        self, server: ChatServer, seen: Seen, exchange: Exchange, chunk: dict[str, Any]
    ) -> bool:
        del server, seen, chunk
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


class _NoDone(Spoiler):
    without_done = True


class _Malformed(Spoiler):
    async def event(
        self, server: ChatServer, seen: Seen, exchange: Exchange, chunk: dict[str, Any]
    ) -> bool:
        del server, seen, chunk
        line = b'data: {"choices": [{"delta": \n\n'
        exchange.write(b"%x\r\n%s\r\n" % (len(line), line))
        return True


class _ErrorEvent(Spoiler):
    async def event(
        self, server: ChatServer, seen: Seen, exchange: Exchange, chunk: dict[str, Any]
    ) -> bool:
        del server, seen, chunk
        line = b'data: {"error": {"message": "forced in stream", "status_code": 503}}\n\n'
        exchange.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(line), line))
        exchange.end()
        return False


class _Drip(Spoiler):
    async def event(
        self, server: ChatServer, seen: Seen, exchange: Exchange, chunk: dict[str, Any]
    ) -> bool:
        del chunk
        for byte in b": nothing yet, nothing yet, nothing yet\n":
            if exchange.gone.is_set():
                return False
            exchange.write(b"1\r\n%c\r\n" % byte)
            await server.sleep(_fault(seen).seconds)
        return True


class _Duplicate(Spoiler):
    """One chunk twice: what it adds to the text cannot be told from an honest repetition."""

    async def event(
        self, server: ChatServer, seen: Seen, exchange: Exchange, chunk: dict[str, Any]
    ) -> bool:
        if seen.output_tokens == _fault(seen).after_tokens:
            line = b"data: " + msgspec.json.encode(chunk) + b"\n\n"
            exchange.write(b"%x\r\n%s\r\n" % (len(line), line))
        del server
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


STREAMED: dict[Kind, Spoiler] = {
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
