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
from ttc_servers.script import Reply, Served
from ttc_servers.services import SHAPES
from ttc_servers.shapes import State

__all__ = ["canned_answer"]

_AMPLE = (
    State(limit=10**9, remaining=10**9, reset_s=179.56),
    State(limit=10**9, remaining=10**9, reset_s=7.66),
)
"""So large that a client which believes it is not held back."""


def canned_answer(service: str, *, stream: bool, tokens: int) -> bytes:
    """Head and body, of the shape that the service has."""
    shape = SHAPES[service]
    words = tuple(f" word{number}" for number in range(tokens))
    body: dict[str, Any] = {"model": "m", "messages": [], "stream_options": {"include_usage": True}}
    served = Served(number=1, body=body, replies=(Reply(tokens=words),), prompt_tokens=20)
    if not stream:
        data = msgspec.json.encode(shape.answer(served))
        headers = {"content-type": "application/json", **shape.limits(*_AMPLE)}
        return head(200, headers, length=len(data)) + data
    headers = {"content-type": "text/event-stream", **shape.limits(*_AMPLE)}
    chunks = [msgspec.json.encode(chunk) for chunk, _ in shape.chunks(served)]
    return (
        head(200, headers, length=None) + b"".join(map(event, [*chunks, b"[DONE]"])) + b"0\r\n\r\n"
    )


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
