"""What a server keeps of its requests, and the bill that is true whatever its answers say."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from raw_client import ASKED, STREAMED, ask, request_bytes, talking, until
from ttc_servers import Bill, ChatServer, Fault, Kind, Limits, Script
from ttc_servers.faults import scripted

pytestmark = pytest.mark.anyio


async def never(_seconds: float) -> None:
    await asyncio.get_running_loop().create_future()


class Paced:
    """A sleep that lets so many waits pass, and none after them."""

    def __init__(self, waits: int) -> None:
        self._left = waits

    async def __call__(self, _seconds: float) -> None:
        self._left -= 1
        if self._left < 0:
            await never(0)


async def test_every_request_is_kept_with_what_became_of_it() -> None:
    ticks = iter(range(100))
    async with ChatServer("groq", clock=lambda: float(next(ticks))) as server:
        await ask(server, None, method="GET", path="/models")
        await ask(server)
        await ask(server, None, path="//elsewhere")
    assert [(one.method, one.path, one.status) for one in server.requests] == [
        ("GET", "/openai/v1/models", 200),
        ("POST", "/openai/v1/chat/completions", 200),
        ("POST", "/elsewhere", 404),
    ]
    (seen,) = server.seen
    assert (seen.body, seen.headers["host"]) == (ASKED, "local")
    assert seen.ended == "answered"
    assert seen.ended_at is not None
    assert seen.at < seen.ended_at
    assert server.requests[1] is seen


@pytest.mark.parametrize("script", [Script(before_head_s=1), Script(per_token_s=1)])
async def test_who_leaves_before_the_head_is_known_to(script: Script) -> None:
    async with ChatServer(script=script, sleep=never) as server:
        async with talking(server.port) as (_, writer):
            writer.write(request_bytes(server, ASKED))
            await until(lambda: bool(server.seen))
        await until(lambda: server.seen[0].ended != "live")
    assert server.seen[0].ended == "left_before_head"


@pytest.mark.parametrize("words", [0, 3])
async def test_a_stream_that_is_left_is_billed_for_what_was_written(words: int) -> None:
    async with ChatServer(script=Script(per_token_s=1), sleep=Paced(words)) as server:
        async with talking(server.port) as (reader, writer):
            writer.write(request_bytes(server, STREAMED))
            for _ in range(words + 1):
                await reader.readuntil(b"\n\n")
            assert server.billed[0].completion_tokens == words
        await until(lambda: server.seen[0].ended != "live")
    assert server.seen[0].ended == "left_mid_stream"
    assert server.billed == [
        Bill(number=0, model="model-a", prompt_tokens=6, cached_tokens=0, completion_tokens=words)
    ]


async def test_the_bill_is_true_where_the_answer_lies() -> None:
    faults = scripted([Fault(kind=Kind.WRONG_USAGE)] * 2)
    script = Script(cached_share=0.5)
    async with ChatServer("groq", script=script, faults=faults) as server:
        assert (await ask(server)).document["usage"]["total_tokens"] == 0
        await ask(server, STREAMED)
    told = [(one.prompt_tokens, one.cached_tokens, one.completion_tokens) for one in server.billed]
    assert told == [(6, 3, 5), (6, 3, 5)]


@pytest.mark.parametrize("kind", [Kind.STATUS, Kind.HTML, Kind.ERROR_IN_200, Kind.REDIRECT])
async def test_refusals_cost_nothing(kind: Kind) -> None:
    async with ChatServer(faults=scripted([Fault(kind=kind, status=503)])) as server:
        await ask(server)
        await ask(server, key="wrong")
        await ask(server, {})
    assert len(server.seen) == 3
    assert server.billed == []


async def test_limits_answer_429_in_the_services_words_and_cost_nothing() -> None:
    limits = Limits(requests=1, requests_window_s=20)
    clock: Any = lambda: 50.0  # noqa: E731 - time stands still
    for service, code in (("groq", "rate_limit_exceeded"), ("cerebras", "request_quota_exceeded")):
        async with ChatServer(service, script=Script(limits=limits), clock=clock) as server:  # type: ignore[arg-type] # the loop makes plain text of the literals
            first, second = await ask(server), await ask(server)
        assert (first.status, second.status) == (200, 429)
        assert second.headers["retry-after"] == "20.000"
        assert (second.document.get("error") or second.document)["code"] == code
        assert len(server.billed) == 1


async def test_nothing_is_kept_where_nothing_shall_be() -> None:
    async with ChatServer(keep=False) as server:
        await ask(server)
        await ask(server, None, method="GET", path="/models")
    assert server.count == 1
    assert (server.seen, server.requests, server.billed) == ([], [], [])
