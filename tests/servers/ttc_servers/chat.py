"""The chat server: one of the services on a port of 127.0.0.1, with a record of all that it saw and billed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Self, cast

import msgspec

from ttc_servers.checks import refusal_of
from ttc_servers.faults import Choose, Kind
from ttc_servers.http import Exchange, HttpServer, Request, framing, opening
from ttc_servers.limits import UNLIMITED, Limiter, Over
from ttc_servers.lists import Listed, listing_of, spoiled
from ttc_servers.misbehave import FREE, PLAIN, SPOILED
from ttc_servers.record import Bill, Ended, Received, Seen
from ttc_servers.script import Script, Served, serve
from ttc_servers.services import SHAPES, Name
from ttc_servers.shapes import Body, Shape

__all__ = ["KEY", "ChatServer", "event"]

KEY = "gsk_test_0123456789abcdef"
"""What every server takes unless told otherwise."""
Sleep = Callable[[float], Awaitable[None]]


class ChatServer:
    """``async with ChatServer("groq") as server: server.base_url``.

    Args:
        service: Whose wire.
        script: What is answered.
        faults: Which request goes wrong, and how.
        key: None = any key, or none, will do.
        port: 0 = any that is free.
        sleep: Waits of the script and the faults.
        keep: Whether requests are recorded, and bills with them.
        clock: Monotonic seconds, of the record and of limits.
        models: Ids that are listed.
        listed: What is said of them, where it is not what the service would say.
    """

    def __init__(
        self,
        service: Name = "openai",
        *,
        script: Script | None = None,
        faults: Choose | None = None,
        key: str | None = KEY,
        port: int = 0,
        sleep: Sleep = asyncio.sleep,
        keep: bool = True,
        clock: Callable[[], float] = time.monotonic,
        models: tuple[str, ...] = ("model-a",),
        listed: Listed | None = None,
    ) -> None:
        self.shape: Shape = SHAPES[service]
        self.script = script or Script()
        self.faults = faults
        self.key = key
        self.sleep = sleep
        self.models = models
        self.listed = listed or Listed()
        self.seen: list[Seen] = []
        """Requests for completions."""
        self.requests: list[Received] = []
        """All requests."""
        self.count = 0
        self.other_paths: list[str] = []
        self.max_live = 0
        self._keep = keep
        self._clock = clock
        limits = self.script.limits
        self._limiter = None if limits is None else Limiter(limits, self.shape, clock)
        self._live = 0
        self._port = port
        self._http = HttpServer(self._handle)
        self._tasks: set[asyncio.Task[None]] = set()
        self._openings: dict[str, tuple[Script, bytes]] = {}

    async def __aenter__(self) -> Self:
        self._port = await self._http.start(self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in list(self._tasks):
            task.cancel()
        await self._http.stop()

    @property
    def port(self) -> int:
        return self._port

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def base_url(self) -> str:
        """As the OpenAI convention has it, the path included."""
        return self.origin + self.shape.base

    @property
    def connections(self) -> int:
        """Open now."""
        return len(self._http.connections)

    @property
    def billed(self) -> list[Bill]:
        """Of each request that was not refused; of one that is live or was left, what was written of it."""
        return [Bill.of(seen) for seen in self.seen if seen.prompt_tokens]

    # --- routes ----------------------------------------------------------------------------------

    def _handle(self, request: Request, exchange: Exchange) -> None:
        if request.path.split("?")[0] == f"{self.shape.base}/chat/completions":
            self._complete(request, exchange)
            return
        self.other_paths.append(request.path)
        if spoiled(self, request, exchange):
            return
        status, document = self._other(request)
        if self._keep:
            now = self._clock()
            received = Received(
                method=request.method, path=request.path, headers=request.headers,
                body=_decoded(request), at=now, status=status, ended="answered", ended_at=now,
            )  # fmt: skip
            self.requests.append(received)
        self.answer(exchange, status, document)

    def _other(self, request: Request) -> tuple[int, Body]:
        if request.path.split("?")[0] == "/v1/tcp_warming":
            return 200, {}
        return listing_of(self, request) or (404, self.shape.refusal(404))

    def allowed(self, headers: dict[str, str]) -> bool:
        return self.key is None or headers.get("authorization") == f"Bearer {self.key}"

    def _complete(self, request: Request, exchange: Exchange) -> None:
        seen = Seen(
            number=self.count,
            method=request.method,
            path=request.path,
            headers=request.headers,
            body=_object(request),
            at=self._clock(),
        )
        self.count += 1
        if self._keep:
            self.seen.append(seen)
            self.requests.append(seen)
        seen.fault = self.faults(seen.number, seen.body) if self.faults else None
        refusal = refusal_of(self, seen)
        if refusal is not None:
            seen.status = refusal[0]
            self.answer(exchange, *refusal)
            self._end(seen, "answered")
            return
        taken = self._admit(seen, exchange)
        if taken is not None:
            self._start(seen, exchange, taken)

    def _admit(self, seen: Seen, exchange: Exchange) -> int | None:
        """Tokens taken from the limits; None where it was refused for them."""
        if self._limiter is None:
            return 0
        found = self._limiter.admit(seen.body)
        if not isinstance(found, Over):
            return found
        seen.status = found.status
        document = self.shape.wrapped(self.shape.over_limit(found.which, found.wait_s))
        wait = {"retry-after": f"{found.wait_s:.3f}"} if found.status == 429 else {}
        self.answer(exchange, found.status, document, wait)
        self._end(seen, "answered")
        return None

    def _start(self, seen: Seen, exchange: Exchange, taken: int) -> None:
        script = self.script
        waits = script.before_head_s or script.per_token_s
        if seen.fault is None and not waits and not seen.body.get("stream"):
            served = self._served(seen)
            seen.output_tokens = served.count
            self._settle(seen, taken)
            self.answer(exchange, 200, self.shape.answer(served))
            self._end(seen, "answered")
            return
        task = asyncio.get_running_loop().create_task(self._serve(seen, exchange, taken))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- answers ---------------------------------------------------------------------------------

    def _served(self, seen: Seen) -> Served:
        served = serve(seen.body, self.script, seen.number)
        if seen.fault is None or seen.fault.kind not in FREE:
            seen.prompt_tokens, seen.cached_tokens = served.prompt_tokens, served.cached_tokens
        return served

    def _opening(self, kind: str) -> bytes:
        """Of a 200; made once, unless limits count down in it."""
        kept = self._openings.get(kind)
        if kept is not None and kept[0] is self.script and self._limiter is None:
            return kept[1]
        made = opening(200, self._headers(kind))
        self._openings[kind] = (self.script, made)
        return made

    def _headers(self, kind: str) -> dict[str, str]:
        limits = self.shape.limits(*UNLIMITED) if self._limiter is None else self._limiter.headers()
        return {"content-type": kind, "x-request-id": "req_local", **limits, **self.script.headers}

    def whole(
        self, status: int, document: Any, headers: dict[str, str] | None = None
    ) -> tuple[bytes, bytes]:
        """Head and body of an answer in one piece."""
        data = msgspec.json.encode(document)
        if status == 200 and not headers:
            return self._opening("application/json") + framing(len(data)), data
        sent = self._headers("application/json") | (headers or {})
        return opening(status, sent) + framing(len(data)), data

    def answer(
        self, exchange: Exchange, status: int, document: Any, headers: dict[str, str] | None = None
    ) -> None:
        top, data = self.whole(status, document, headers)
        exchange.write(top + data)
        exchange.end()

    async def _serve(self, seen: Seen, exchange: Exchange, taken: int) -> None:
        self._live += 1
        self.max_live = max(self.max_live, self._live)
        try:
            self._end(seen, await self._ending(seen, exchange))
        finally:
            self._live -= 1
            self._settle(seen, taken)

    async def _ending(self, seen: Seen, exchange: Exchange) -> Ended:
        """Serve it, and say how that ended."""
        served, fault = self._served(seen), seen.fault
        late_s = fault.seconds if fault is not None and fault.kind is Kind.SLOW_HEAD else 0.0
        if not await self.wait(exchange, self.script.before_head_s + late_s):
            return "left_before_head"
        if fault is not None and fault.kind in PLAIN:
            await PLAIN[fault.kind](self, seen, exchange)
            silent = exchange.gone.is_set() and seen.status == 0
            return "left_before_head" if silent else "broken"
        if seen.body.get("stream"):
            return await self._stream(seen, exchange, served)
        return await self._whole(seen, exchange, served)

    async def _whole(self, seen: Seen, exchange: Exchange, served: Served) -> Ended:
        for _ in range(served.count):
            if not await self.wait(exchange, self.script.per_token_s):
                return "left_before_head"
            seen.output_tokens += 1
        document = self.shape.answer(served)
        spoiler = None if seen.fault is None else SPOILED.get(seen.fault.kind)
        if spoiler is None:
            self.answer(exchange, 200, document)
            return "answered"
        top, data = self.whole(200, spoiler.document(document))
        if await spoiler.whole(self, seen, exchange, top, data):
            exchange.write(top + data)
            exchange.end()
            return "answered"
        return "left_mid_stream" if exchange.gone.is_set() else "broken"

    async def _stream(self, seen: Seen, exchange: Exchange, served: Served) -> Ended:
        exchange.write(self._opening("text/event-stream; charset=utf-8") + framing(None))
        spoiler = None if seen.fault is None else SPOILED.get(seen.fault.kind)
        for chunk, tokens in self.shape.chunks(served):
            if tokens and not await self.wait(exchange, self.script.per_token_s):
                return "left_mid_stream"
            data = chunk if spoiler is None else spoiler.document(chunk)
            if spoiler is not None and tokens and self._due(seen):
                if not await spoiler.event(self, seen, exchange, chunk):
                    return "left_mid_stream" if exchange.gone.is_set() else "broken"
                data = None if spoiler.instead else data
            if data is not None:
                exchange.write(event(msgspec.json.encode(data)))
            seen.output_tokens += tokens
        if spoiler is None or not spoiler.without_done:
            exchange.write(event(b"[DONE]"))
        exchange.write(b"0\r\n\r\n")
        exchange.end()
        return "answered"

    def _due(self, seen: Seen) -> bool:
        return seen.fault is not None and seen.output_tokens >= seen.fault.after_tokens

    async def wait(self, exchange: Exchange, seconds: float) -> bool:
        """Whether the client is still there after it."""
        if seconds <= 0:
            # Let the others of the loop run, as a network would.
            await asyncio.sleep(0)
            return not exchange.gone.is_set()
        gone = asyncio.ensure_future(exchange.gone.wait())
        waits = asyncio.ensure_future(self.sleep(seconds))
        try:
            await asyncio.wait({gone, waits}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            waits.cancel()
        return not exchange.gone.is_set()

    def _settle(self, seen: Seen, taken: int) -> None:
        if self._limiter is not None:
            free = 0 if self.shape.counts_cached else seen.cached_tokens
            self._limiter.settle(taken, seen.prompt_tokens - free + seen.output_tokens)

    def _end(self, seen: Seen, how: Ended) -> None:
        seen.ended, seen.ended_at = how, self._clock()


def _decoded(request: Request) -> Any:
    try:
        return msgspec.json.decode(request.body)
    except msgspec.DecodeError:
        return None


def _object(request: Request) -> Body:
    """Empty where it is none, which is refused for what it lacks."""
    decoded = _decoded(request)
    return cast("Body", decoded) if isinstance(decoded, dict) else {}


def event(data: bytes) -> bytes:
    """One server-sent event as one HTTP chunk."""
    line = b"data: " + data + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(line), line)
