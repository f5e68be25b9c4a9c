"""The chat server: one of the services on a port of 127.0.0.1, with a record of all that it saw and billed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Literal, Self

import msgspec

from ttc_servers.faults import Choose, Fault, Kind
from ttc_servers.http import Exchange, HttpServer, Request, head
from ttc_servers.misbehave import PLAIN, STREAMED
from ttc_servers.model import Reply, Script, reply_to
from ttc_servers.shapes import SHAPES, Shape

__all__ = ["ChatServer", "Seen"]

KEY = "gsk_test_0123456789abcdef"
"""What every server takes unless told otherwise."""
Sleep = Callable[[float], Awaitable[None]]


class Seen(msgspec.Struct, kw_only=True):
    """One request for a completion, and what became of it."""

    number: int
    headers: dict[str, str]
    body: dict[str, Any]
    at: float
    fault: Fault | None = None
    status: int = 200
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    """Written so far: what would be billed."""
    ended: Literal["live", "answered", "left_before_head", "left_mid_stream", "broken"] = "live"
    ended_at: float | None = None


class ChatServer:
    """``async with ChatServer("groq") as server: server.base_url``.

    Args:
        service: Whose wire.
        script: What is answered.
        faults: Which request goes wrong, and how.
        key: None = any key, or none, will do.
        port: 0 = any that is free.
        sleep: Waits of the script and the faults.
    """

    def __init__(
        self,
        service: Literal["groq", "cerebras", "openai"] = "openai",
        *,
        script: Script | None = None,
        faults: Choose | None = None,
        key: str | None = KEY,
        port: int = 0,
        sleep: Sleep = asyncio.sleep,
        keep: bool = True,
    ) -> None:
        self.shape: Shape = SHAPES[service]
        self.script = script or Script()
        self.faults = faults
        self.key = key
        self.sleep = sleep
        self.seen: list[Seen] = []
        self.count = 0
        self.other_paths: list[str] = []
        self.max_live = 0
        self._keep = keep
        self._live = 0
        self._port = port
        self._http = HttpServer(self._handle)
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._port = await self._http.start(self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in list(self._tasks):
            task.cancel()
        await self._http.stop()

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

    # --- routes ----------------------------------------------------------------------------------

    def _handle(self, request: Request, exchange: Exchange) -> None:
        if request.path.split("?")[0] == f"{self.shape.base}/chat/completions":
            self._complete(request, exchange)
            return
        self.other_paths.append(request.path)
        if request.path == f"{self.shape.base}/models":
            document = {
                "object": "list",
                "data": [{"id": "model-a", "object": "model", "owned_by": "local"}],
            }
            status = 200 if self._allowed(request) else 401
            self.answer(exchange, status, document if status == 200 else self._refusal(401))
        elif request.path == "/v1/tcp_warming":
            self.answer(exchange, 200, {})
        else:
            self.answer(exchange, 404, self.shape.error(404, "no such path", "not_found"))

    def _complete(self, request: Request, exchange: Exchange) -> None:
        number = self.count
        self.count += 1
        seen = Seen(
            number=number,
            headers=request.headers,
            body=msgspec.json.decode(request.body),
            at=time.monotonic(),
        )
        if self._keep:
            self.seen.append(seen)
        seen.fault = self.faults(number, seen.body) if self.faults else None
        refusal = self._check(request, seen.body)
        if refusal is not None:
            seen.status = refusal[0]
            self.answer(exchange, *refusal)
            self._end(seen, "answered")
            return
        script = self.script
        if (
            seen.fault is None
            and not seen.body.get("stream")
            and not script.before_head_s
            and not script.per_token_s
        ):
            self._answer_at_once(seen, exchange)
            return
        task = asyncio.get_running_loop().create_task(self._serve(seen, exchange))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _allowed(self, request: Request) -> bool:
        return self.key is None or request.headers.get("authorization") == f"Bearer {self.key}"

    def _refusal(self, status: int) -> dict[str, Any]:
        texts = {401: ("Invalid API Key", "invalid_api_key")}
        return self.shape.error(status, *texts[status])

    def _check(self, request: Request, body: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
        if not self._allowed(request):
            return 401, self._refusal(401)
        for name in self.shape.refused:
            if body.get(name):
                message = f"property '{name}' is unsupported"
                return 400, self.shape.error(400, message, "invalid_request_error")
        limit = self.shape.max_n
        if limit is not None and body.get("n", 1) > limit:
            return 400, self.shape.error(
                400, "'n' : number must be at most 1", "invalid_request_error"
            )
        return None

    # --- answers ---------------------------------------------------------------------------------

    def _replies(self, seen: Seen) -> list[Reply]:
        count = int(seen.body.get("n") or 1)
        seen.prompt_tokens = 4 * len(seen.body["messages"]) + sum(
            len(str(message["content"]).split()) for message in seen.body["messages"]
        )
        seen.cached_tokens = int(seen.prompt_tokens * self.script.cached_share)
        return [reply_to(seen.body, self.script, seen.number, choice) for choice in range(count)]

    def _headers(self, kind: str) -> dict[str, str]:
        limits = self.shape.limits(14_370, 249_000)
        return {"content-type": kind, "x-request-id": "req_local", **limits, **self.script.headers}

    def answer(
        self, exchange: Exchange, status: int, document: Any, headers: dict[str, str] | None = None
    ) -> None:
        data = msgspec.json.encode(document)
        sent = self._headers("application/json") | (headers or {})
        exchange.write(head(status, sent, length=len(data)) + data)
        exchange.end()

    def _answer_at_once(self, seen: Seen, exchange: Exchange) -> None:
        replies = self._replies(seen)
        seen.output_tokens = sum(reply.count for reply in replies)
        document = self.shape.answer(
            seen.body, replies, self.script, seen.number, seen.prompt_tokens
        )
        self.answer(exchange, 200, document)
        self._end(seen, "answered")

    async def _serve(self, seen: Seen, exchange: Exchange) -> None:
        self._live += 1
        self.max_live = max(self.max_live, self._live)
        try:
            await self._serve_live(seen, exchange)
        finally:
            self._live -= 1

    async def _serve_live(self, seen: Seen, exchange: Exchange) -> None:
        replies = self._replies(seen)
        slow = seen.fault is not None and seen.fault.kind is Kind.SLOW_HEAD
        late_s = seen.fault.seconds if slow and seen.fault is not None else 0.0
        if not await self._wait(exchange, self.script.before_head_s + late_s):
            self._end(seen, "left_before_head")
            return
        if seen.fault is not None and seen.fault.kind in PLAIN:
            await PLAIN[seen.fault.kind](self, seen, exchange)
            self._end(
                seen,
                "left_before_head" if exchange.gone.is_set() and seen.status == 0 else "broken",
            )
            return
        if not seen.body.get("stream"):
            await self._serve_whole(seen, exchange, replies)
            return
        exchange.write(head(200, self._headers("text/event-stream; charset=utf-8"), length=None))
        await self._serve_stream(seen, exchange, replies)

    async def _serve_whole(self, seen: Seen, exchange: Exchange, replies: list[Reply]) -> None:
        for reply in replies:
            for _ in range(reply.count):
                if not await self._wait(exchange, self.script.per_token_s):
                    self._end(seen, "left_before_head")
                    return
                seen.output_tokens += 1
        document = self.shape.answer(
            seen.body, replies, self.script, seen.number, seen.prompt_tokens
        )
        spoil = None if seen.fault is None else STREAMED.get(seen.fault.kind)
        self.answer(exchange, 200, document if spoil is None else spoil.document(document))
        self._end(seen, "answered")

    async def _serve_stream(self, seen: Seen, exchange: Exchange, replies: list[Reply]) -> None:
        fault = seen.fault
        spoil = None if fault is None else STREAMED.get(fault.kind)
        chunks = self.shape.chunks(seen.body, replies, self.script, seen.number, seen.prompt_tokens)
        for chunk, tokens in chunks:
            if tokens and not await self._wait(exchange, self.script.per_token_s):
                self._end(seen, "left_mid_stream")
                return
            if (
                spoil is not None
                and fault is not None
                and tokens
                and seen.output_tokens >= fault.after_tokens
            ):
                whole = await spoil.event(self, seen, exchange, chunk)
                if not whole:
                    self._end(seen, "left_mid_stream" if exchange.gone.is_set() else "broken")
                    return
            data = chunk if spoil is None else spoil.document(chunk)
            if data is not None:
                exchange.write(event(msgspec.json.encode(data)))
            seen.output_tokens += tokens
        if spoil is None or not spoil.without_done:
            exchange.write(event(b"[DONE]"))
        exchange.write(b"0\r\n\r\n")
        exchange.end()
        self._end(seen, "answered")

    async def _wait(self, exchange: Exchange, seconds: float) -> bool:
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

    async def hold(self, exchange: Exchange) -> None:
        """Say nothing more until the client leaves."""
        await exchange.gone.wait()

    def _end(
        self, seen: Seen, how: Literal["answered", "left_before_head", "left_mid_stream", "broken"]
    ) -> None:
        seen.ended, seen.ended_at = how, time.monotonic()


def event(data: bytes) -> bytes:
    """One server-sent event as one HTTP chunk."""
    line = b"data: " + data + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(line), line)
