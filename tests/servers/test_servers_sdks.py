"""The local servers are faithful: the services' own SDKs read out of them what the services say."""

from __future__ import annotations

from typing import Any

import pytest

from ttc_servers import KEY, ChatServer, Fault, Kind, Limits, Script
from ttc_servers.faults import by_rate, named, scripted

pytestmark = pytest.mark.anyio

SCRIPT = Script(texts=("It is 42.",), reasoning="let me see", cached_share=0.5)
ASKED: dict[str, Any] = {
    "model": "model-a",
    "messages": [{"role": "user", "content": "hello there"}],
}


def client_of(service: str, server: ChatServer, key: str = KEY) -> tuple[Any, Any]:
    """The SDK and its client."""
    if service == "groq":
        sdk: Any = pytest.importorskip("groq")
        return sdk, sdk.AsyncGroq(api_key=key, base_url=server.origin, max_retries=0)
    if service == "cerebras":
        sdk = pytest.importorskip("cerebras.cloud.sdk")
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


async def test_models_are_listed() -> None:
    async with ChatServer("groq") as server:
        _, client = client_of("groq", server)
        assert [model.id for model in (await client.models.list()).data] == ["model-a"]
        await client.close()


async def test_cerebras_public_models_are_of_the_sdks_type() -> None:
    """No field is missing, and none has another type."""
    types: Any = pytest.importorskip("cerebras.cloud.sdk.types.model_retrieve_response")
    entry = ChatServer("cerebras").shape.public_model("model-a")
    public = types.PublicModel.model_validate(entry, strict=True)
    assert public.pricing.prompt == "0.00000035"
    assert set(entry) <= set(types.PublicModel.model_fields)


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


@pytest.mark.parametrize("service", SERVICES)
async def test_a_limit_that_is_reached_is_the_sdks_rate_limit_error(service: Any) -> None:
    """With the service's own headers, counted down."""
    window, reset = {
        "groq": ("requests", "24h0m0s"),
        "cerebras": ("requests-day", "86400.0"),
        "openai": ("requests", "1m0s"),
    }[service]
    script = Script(limits=Limits(requests=1))
    async with ChatServer(service, script=script, clock=lambda: 7.0) as server:
        sdk, client = client_of(service, server)
        raw = await client.chat.completions.with_raw_response.create(**ASKED)
        with pytest.raises(sdk.RateLimitError) as caught:
            await client.chat.completions.create(**ASKED)
        await client.close()
    assert raw.headers[f"x-ratelimit-remaining-{window}"] == "0"
    assert raw.headers[f"x-ratelimit-reset-{window}"] == reset
    assert "retry-after" not in raw.headers
    assert float(caught.value.response.headers["retry-after"]) > 0


async def test_groqs_stream_is_named_at_both_ends() -> None:
    async with ChatServer("groq", script=SCRIPT) as server:
        _, client = client_of("groq", server)
        stream = await client.chat.completions.create(**ASKED, stream=True)
        chunks = [chunk async for chunk in stream]
        await client.close()
    assert chunks[0].x_groq.id == chunks[-1].x_groq.id == "req_00000000"
    assert chunks[-1].x_groq.usage.prompt_time > 0
    assert "".join(chunk.choices[0].delta.reasoning or "" for chunk in chunks) == "let me see"


async def test_cerebras_keeps_logprobs_of_reasoning_apart() -> None:
    async with ChatServer("cerebras", script=SCRIPT) as server:
        _, client = client_of("cerebras", server)
        answer = await client.chat.completions.create(**ASKED, logprobs=True, top_logprobs=1, n=2)
        await client.close()
    assert len(answer.choices) == 2
    choice = answer.choices[1]
    assert [one.token for one in choice.logprobs.content] == ["It", " is", " 42."]
    assert [one.token for one in choice.reasoning_logprobs.content] == ["let", " me", " see"]


async def test_cerebras_sdk_believes_the_status_of_the_body() -> None:
    fault = Fault(kind=Kind.STATUS, status=400, said_status=429)
    async with ChatServer("cerebras", faults=scripted([fault])) as server:
        sdk, client = client_of("cerebras", server)
        with pytest.raises(sdk.RateLimitError) as caught:
            await client.chat.completions.create(**ASKED)
        await client.close()
    assert caught.value.response.status_code == 400
    assert caught.value.body["code"] == "wrong_api_format"


@pytest.mark.parametrize("service", SERVICES)
async def test_a_call_of_a_tool_in_pieces_is_put_together(service: Any) -> None:
    script = Script(tool_calls=(("weather", '{"city": "Ulm"}'),))
    async with ChatServer(service, script=script) as server:
        _, client = client_of(service, server)
        whole = await client.chat.completions.create(**ASKED)
        stream = await client.chat.completions.create(**ASKED, stream=True)
        deltas = [chunk.choices[0].delta async for chunk in stream if chunk.choices]
        await client.close()
    pieces = [piece for delta in deltas for piece in delta.tool_calls or ()]
    assert pieces[0].function.name == "weather"
    assert "".join(piece.function.arguments for piece in pieces) == '{"city": "Ulm"}'
    assert whole.choices[0].message.tool_calls[0].function.arguments == '{"city": "Ulm"}'


async def streamed_under(service: Any, name: str) -> tuple[Any, BaseException]:
    """The SDK, and what it raised."""
    async with ChatServer(service, faults=scripted([named(name)])) as server:
        sdk, client = client_of(service, server)
        raised: BaseException | None = None
        try:
            async for _ in await client.chat.completions.create(**ASKED, stream=True):
                pass
        except (sdk.APIError, pytest.importorskip("httpx").HTTPError) as exc:
            raised = exc
        await client.close()
    assert raised is not None
    return sdk, raised


@pytest.mark.parametrize("service", SERVICES)
async def test_a_cut_stream_is_a_cut_to_the_sdk(service: Any) -> None:
    """Groq's and Cerebras' let the error of their HTTP library through."""
    sdk, raised = await streamed_under(service, "cut@2")
    if service == "openai":
        assert isinstance(raised, sdk.APIConnectionError)
    else:
        assert type(raised).__name__ == "RemoteProtocolError"


@pytest.mark.parametrize("service", SERVICES)
async def test_an_error_inside_a_stream_is_the_sdks_own(service: Any) -> None:
    """Cerebras' goes by the status in the body; the others know no status."""
    sdk, raised = await streamed_under(service, "error_event@1")
    wanted = sdk.InternalServerError if service == "cerebras" else sdk.APIError
    assert type(raised) is wanted
