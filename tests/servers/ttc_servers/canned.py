"""A server that gives one answer, made beforehand, as fast as a socket allows: for timing what calls it.

``python -m ttc_servers.canned --service groq [--stream] [--tokens N]`` prints its base URL and serves until
standard input ends.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import Any

import msgspec

from ttc_servers.chat import event
from ttc_servers.http import head
from ttc_servers.model import Reply, Script
from ttc_servers.shapes import SHAPES, Shape

__all__ = ["canned_answer"]

_UNLIMITED = "1000000000"


def canned_answer(service: str, *, stream: bool, tokens: int) -> bytes:
    """Head and body, of the shape that the service has."""
    shape = SHAPES[service]
    words = tuple(f" word{number}" for number in range(tokens))
    reply = Reply(tokens=words, reasoning=(), tool_calls=(), finish_reason="stop")
    body: dict[str, Any] = {"model": "m", "messages": [], "stream_options": {"include_usage": True}}
    if not stream:
        data = msgspec.json.encode(shape.answer(body, [reply], Script(), 1, 20))
        headers = {"content-type": "application/json", **_limits(shape)}
        return head(200, headers, length=len(data)) + data
    headers = {"content-type": "text/event-stream", **_limits(shape)}
    chunks = [
        msgspec.json.encode(chunk) for chunk, _ in shape.chunks(body, [reply], Script(), 1, 20)
    ]
    return (
        head(200, headers, length=None) + b"".join(map(event, [*chunks, b"[DONE]"])) + b"0\r\n\r\n"
    )


def _limits(shape: Shape) -> dict[str, str]:
    """As the service sends them, so large that a client which believes them is not held back."""
    sent = shape.limits(0, 0)
    return {name: value if "reset" in name else _UNLIMITED for name, value in sent.items()}


class _Canned(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        received = self._received + data
        end = received.find(b"\r\n\r\n")
        at = received.lower().find(b"content-length:", 0, end)
        length = int(received[at + 15 : received.index(b"\r\n", at)]) if at >= 0 else 0
        if end < 0 or len(received) < end + 4 + length:
            self._received = received
            return
        self._received = received[end + 4 + length :]
        self.transport.write(self._answer)


async def serve(options: argparse.Namespace) -> None:
    answer = canned_answer(options.service, stream=options.stream, tokens=options.tokens)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Canned(answer), "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    sys.stdout.write(f"http://127.0.0.1:{port}{SHAPES[options.service].base}\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--service", choices=tuple(SHAPES), default="openai")
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--tokens", type=int, default=100)
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
