"""A client that shows the bytes: one request on a connection of its own, and all that comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import msgspec

from ttc_servers import KEY, ChatServer

__all__ = [
    "ASKED",
    "STREAMED",
    "Answer",
    "ask",
    "events",
    "parsed",
    "quiet",
    "request_bytes",
    "talking",
    "until",
]

ASKED: dict[str, Any] = {
    "model": "model-a",
    "messages": [{"role": "user", "content": "hello there"}],
    "max_completion_tokens": 5,
}
STREAMED: dict[str, Any] = {**ASKED, "stream": True}


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came back, to the end of the connection."""

    status: int
    headers: dict[str, str]
    body: bytes
    """Without the marks of its chunks."""
    whole: bool
    """Whether it is as long as it says, or ends with the last chunk."""

    @property
    def document(self) -> Any:
        return msgspec.json.decode(self.body)


def request_bytes(
    server: ChatServer,
    body: dict[str, Any] | None = None,
    *,
    method: str = "POST",
    path: str = "/chat/completions",
    key: str | None = KEY,
    last: bool = True,
) -> bytes:
    """``path`` is below the service's base unless it begins with ``//``; ``last`` = the connection ends with it."""
    target = path[1:] if path.startswith("//") else f"{server.shape.base}{path}"
    data = msgspec.json.encode(body) if body is not None else b""
    lines = [f"{method} {target} HTTP/1.1", "Host: local", f"Content-Length: {len(data)}"]
    lines += [f"Authorization: Bearer {key}"] if key else []
    lines += ["Connection: close"] if last else []
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + data


@asynccontextmanager
async def talking(
    port: int,
) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter], None]:
    """A connection; closed at the end, wherever its answer stands."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def ask(server: ChatServer, body: dict[str, Any] | None = ASKED, **how: Any) -> Answer:
    """One request, to the end of its connection."""
    async with talking(server.port) as (reader, writer):
        writer.write(request_bytes(server, body, **how))
        return parsed(await reader.read(-1))


def parsed(raw: bytes) -> Answer:
    top, _, rest = raw.partition(b"\r\n\r\n")
    first, *lines = top.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    if headers.get("transfer-encoding") == "chunked":
        body, whole = _unchunked(rest)
    else:
        body, whole = rest, len(rest) == int(headers["content-length"])
    return Answer(status=int(first.split(" ")[1]), headers=headers, body=body, whole=whole)


def _unchunked(data: bytes) -> tuple[bytes, bool]:
    body = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            return body, data == b"\r\n"
        body, data = body + data[:length], data[length + 2 :]
    return body, False


def events(answer: Answer) -> list[Any]:
    """Of a stream, decoded; ``[DONE]`` as the text it is."""
    lines = answer.body.decode().split("\n\n")[:-1]
    data = [line.removeprefix("data: ") for line in lines]
    return [one if one == "[DONE]" else msgspec.json.decode(one) for one in data]


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until it is so."""
    with anyio.fail_after(30):
        while not condition():
            await anyio.lowlevel.checkpoint()


async def quiet(reader: asyncio.StreamReader) -> bool:
    """Whether nothing more comes, however often the loop goes round."""
    more = asyncio.ensure_future(reader.read(1))
    for _ in range(50):
        await anyio.lowlevel.checkpoint()
    came = more.done()
    more.cancel()
    return not came
