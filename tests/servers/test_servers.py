"""The local servers are faithful: the services' own SDKs read out of them what the services say."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import pytest

from ttc_servers import ChatServer, Fault, Kind, Script
from ttc_servers.chat import KEY
from ttc_servers.faults import by_rate, scripted

pytestmark = pytest.mark.anyio

SCRIPT = Script(texts=("It is 42.",), reasoning="let me see", cached_share=0.5)
ASKED: dict[str, Any] = {
    "model": "model-a",
    "messages": [{"role": "user", "content": "hello there"}],
}


def client_of(service: str, server: ChatServer, key: str = KEY) -> tuple[Any, Any]:
    """The SDK and its client."""
    if service == "groq":
        sdk = importlib.import_module("groq")
        return sdk, sdk.AsyncGroq(api_key=key, base_url=server.origin, max_retries=0)
    if service == "cerebras":
        sdk = importlib.import_module("cerebras.cloud.sdk")
        return sdk, sdk.AsyncCerebras(
            api_key=key, base_url=server.origin, max_retries=0, warm_tcp_connection=False
        )
    sdk = pytest.importorskip("openai")
    return sdk, sdk.AsyncOpenAI(api_key=key, base_url=server.base_url, max_retries=0)


SERVICES = ("groq", "cerebras", "openai")


@pytest.mark.parametrize("service", SERVICES)
async def test_an_answer_read_by_the_sdk(service: Any) -> None:
    async with ChatServer(service, script=SCRIPT) as server:
        _, client = client_of(service, server)
        answer = await client.chat.completions.create(**ASKED)
        await client.close()
    message = answer.choices[0].message
    assert message.content == "It is 42."
    assert getattr(message, "reasoning", None) or message.reasoning_content == "let me see"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.completion_tokens == 6
    assert answer.usage.prompt_tokens_details.cached_tokens == 3
    if service == "groq":
        assert answer.x_groq.id.startswith("req_")
        assert answer.usage.completion_time > 0
    if service == "cerebras":
        assert answer.time_info.completion_time > 0


@pytest.mark.parametrize("service", SERVICES)
async def test_a_stream_read_by_the_sdk(service: Any) -> None:
    """Timing and usage stand where each service puts them."""
    options = {"stream_options": {"include_usage": True}}
    asked = {**ASKED, "stream": True, **({"extra_body": options} if service == "groq" else options)}
    async with ChatServer(service, script=SCRIPT) as server:
        _, client = client_of(service, server)
        chunks = [chunk async for chunk in await client.chat.completions.create(**asked)]
        await client.close()
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == "It is 42."
    with_usage = [chunk for chunk in chunks if chunk.usage is not None]
    assert with_usage[-1].usage.completion_tokens == 6
    if service == "groq":
        named = [chunk.x_groq for chunk in chunks if chunk.x_groq is not None]
        assert named[-1].usage.completion_time > 0
    if service == "cerebras":
        assert chunks[-1].time_info.completion_time > 0
    else:
        assert chunks[-1].choices == []


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize(
    ("status", "name"),
    [
        (429, "RateLimitError"),
        (500, "InternalServerError"),
        (400, "BadRequestError"),
        (498, "APIStatusError"),
    ],
)
async def test_errors_are_the_sdks_own(service: Any, status: int, name: str) -> None:
    fault = Fault(kind=Kind.STATUS, status=status, headers={"retry-after": "7"})
    async with ChatServer(service, faults=by_rate(fault, 1.0, 0)) as server:
        sdk, client = client_of(service, server)
        with pytest.raises(getattr(sdk, name)) as caught:
            await client.chat.completions.create(**ASKED)
        await client.close()
    assert caught.value.response.headers["retry-after"] == "7"
    assert "x-ratelimit-remaining-tokens" in str(caught.value.response.headers)


@pytest.mark.parametrize("service", SERVICES)
async def test_a_wrong_key_is_refused(service: Any) -> None:
    async with ChatServer(service) as server:
        sdk, client = client_of(service, server, key="wrong")
        with pytest.raises(sdk.AuthenticationError):
            await client.chat.completions.create(**ASKED)
        await client.close()


@pytest.mark.parametrize("unwanted", [{"n": 2}, {"logprobs": True}, {"logit_bias": {"1": 1}}])
async def test_groq_refuses_what_it_documents_to_refuse(unwanted: dict[str, Any]) -> None:
    async with ChatServer("groq") as server:
        sdk, client = client_of("groq", server)
        with pytest.raises(sdk.BadRequestError):
            await client.chat.completions.create(**ASKED, **unwanted)
        await client.close()


async def test_models_are_listed() -> None:
    async with ChatServer("groq") as server:
        _, client = client_of("groq", server)
        assert [model.id for model in (await client.models.list()).data] == ["model-a"]
        await client.close()


async def test_what_is_billed_is_what_was_written() -> None:
    """Of a whole answer all of it; of one that was left what had been sent by then."""
    async with ChatServer("openai", script=Script(per_token_s=0.01)) as server:
        _, client = client_of("openai", server)
        await client.chat.completions.create(**ASKED, max_tokens=5)
        stream = await client.chat.completions.create(**ASKED, stream=True, max_tokens=50)
        async for chunk in stream:
            if chunk.choices[0].delta.content:
                break
        await stream.close()
        await client.close()
        whole, left = server.seen
    assert (whole.output_tokens, whole.ended) == (5, "answered")
    assert left.output_tokens < 50


def chooser_texts(choose: Callable[[int, dict[str, Any]], Fault | None]) -> list[bool]:
    return [choose(number, {}) is not None for number in range(200)]


def test_faults_by_rate_are_the_same_for_the_same_seed() -> None:
    fault = Fault(kind=Kind.CUT)
    one = chooser_texts(by_rate(fault, 0.3, 7))
    assert one == chooser_texts(by_rate(fault, 0.3, 7))
    assert one != chooser_texts(by_rate(fault, 0.3, 8))
    assert 0.2 < sum(one) / 200 < 0.4
    assert chooser_texts(scripted([None, fault]))[:3] == [False, True, False]
