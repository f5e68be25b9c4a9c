"""A scenario over HTTP: what programs that are not ours read, and what goes wrong on the way."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import anyio
import pytest

from tt_compute.client import AsyncClient
from tt_compute.config import Config
from tt_compute.errors import UsageError
from tt_compute.testing import Scenario
from tt_compute.testing.mock_server import MockServer
from tt_compute.types import Failed, Sample, SamplingParams

pytestmark = pytest.mark.anyio

GOOD = {
    "id": "good",
    "answers": [{"text": "The answer is 7.", "probability": 0.6}, "The answer is 8."],
}
QUESTION = [{"role": "user", "content": "What is 3 plus 4?"}]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def serve(*deployments: dict[str, Any]) -> AsyncGenerator[MockServer, None]:
    scenario = Scenario.from_mapping({"deployments": list(deployments)})
    async with MockServer.serving(scenario) as server:
        yield server


@asynccontextmanager
async def post(server: MockServer, **body: Any) -> AsyncGenerator[aiohttp.ClientResponse, None]:
    document = {"model": "good", "messages": QUESTION, **body}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{server.url}/chat/completions", json=document) as response,
    ):
        yield response


async def answer(server: MockServer, **body: Any) -> dict[str, Any]:
    async with post(server, **body) as response:
        assert response.status == 200
        document: dict[str, Any] = await response.json()
        return document


async def stream(server: MockServer, **body: Any) -> list[dict[str, Any]]:
    """The events before ``[DONE]``, which must be there."""
    async with post(server, stream=True, **body) as response:
        assert response.headers["content-type"] == "text/event-stream"
        said = [line[6:] for line in (await response.text()).splitlines() if line]
    assert said[-1] == "[DONE]"
    return [json.loads(data) for data in said[:-1]]


def contents(document: dict[str, Any]) -> list[str]:
    return [choice["message"]["content"] for choice in document["choices"]]


async def test_every_deployment_is_a_model() -> None:
    async with (
        serve(GOOD, {"id": "other"}) as server,
        aiohttp.ClientSession() as session,
        session.get(f"{server.url}/models") as response,
    ):
        document = await response.json()
    assert [model["id"] for model in document["data"]] == ["good", "other"]


async def test_an_answer_holds_its_choices_and_their_tokens() -> None:
    async with serve(GOOD) as server:
        document = await answer(server, n=3, seed=5)
    assert [choice["index"] for choice in document["choices"]] == [0, 1, 2]
    assert {choice["finish_reason"] for choice in document["choices"]} == {"stop"}
    assert document["usage"] == {
        "prompt_tokens": 6,
        "completion_tokens": 15,
        "total_tokens": 21,
        "prompt_tokens_details": {"cached_tokens": 0},
    }


async def test_a_seed_gives_the_same_choices_and_none_gives_others() -> None:
    async with serve(GOOD) as server:
        seeded = [contents(await answer(server, n=12, seed=5)) for _ in range(2)]
        unseeded = [contents(await answer(server, n=12)) for _ in range(2)]
    assert seeded[0] == seeded[1]
    assert unseeded[0] != unseeded[1]


async def test_samples_end_at_their_limit_and_at_stop_strings() -> None:
    async with serve(GOOD) as server:
        short = await answer(server, max_tokens=2)
        newer = await answer(server, max_completion_tokens=3, max_tokens=2)
        stopped = await answer(server, stop=" is")
    assert (contents(short), short["choices"][0]["finish_reason"]) == (["The answer"], "length")
    assert contents(newer) == ["The answer is"]
    assert (contents(stopped), stopped["choices"][0]["finish_reason"]) == (["The answer"], "stop")


async def test_logprobs_come_when_they_are_asked_for() -> None:
    async with serve(GOOD) as server:
        without = await answer(server)
        document = await answer(server, logprobs=True, top_logprobs=2)
    assert without["choices"][0]["logprobs"] is None
    content = document["choices"][0]["logprobs"]["content"]
    assert [token["token"] for token in content[:2]] == ["The", " answer"]
    assert {len(token["top_logprobs"]) for token in content} == {2}


async def test_a_stream_says_what_the_whole_answer_says() -> None:
    async with serve(GOOD) as server:
        whole = await answer(server, n=2, seed=5)
        events = await stream(server, n=2, seed=5, stream_options={"include_usage": True})
    texts = ["", ""]
    for event in events:
        for choice in event["choices"]:
            texts[choice["index"]] += choice["delta"].get("content", "")
    assert texts == contents(whole)
    assert events[-1]["usage"] == whole["usage"]
    assert events[0]["choices"][0]["delta"]["role"] == "assistant"
    ends = [event["choices"][0]["finish_reason"] for event in events[:-1]]
    assert [end for end in ends if end] == ["stop", "stop"]


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("rate_limit", 429, "rate_limit_exceeded"),
        ("server_error", 500, "server_error"),
        ("oom", 503, "out_of_memory"),
        ("authentication", 401, "invalid_api_key"),
        ("payment_required", 402, "insufficient_quota"),
        ("refused", 400, "invalid_request"),
        ("model_not_found", 404, "model_not_found"),
        ("unavailable", 503, "unavailable"),
    ],
)
@pytest.mark.parametrize("streams", [False, True])
async def test_a_refusal_has_the_status_of_services(
    fault: str, status: int, code: str, streams: bool
) -> None:
    async with (
        serve({"id": "good", "faults": [{"kind": fault}]}) as server,
        post(server, stream=streams) as response,
    ):
        assert response.status == status
        assert (await response.json())["error"]["code"] == code


async def test_a_limit_says_when_to_come_back() -> None:
    async with serve({**GOOD, "limits": {"requests_per_minute": 1, "told": True}}) as server:
        async with post(server) as first:
            assert first.headers["x-ratelimit-remaining-requests-minute"] == "0"
        async with post(server) as second:
            assert second.status == 429
            assert second.headers["retry-after"] == "60"
            assert 50_000 < float(second.headers["retry-after-ms"]) <= 60_000


@pytest.mark.parametrize("streams", [False, True])
async def test_a_connection_that_is_cut_before_the_answer_is_just_cut(streams: bool) -> None:
    async with serve({"id": "good", "faults": [{"kind": "connection"}]}) as server:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            async with post(server, stream=streams):
                pass


async def test_a_stream_is_cut_in_the_middle_of_its_text() -> None:
    cut = {"kind": "connection", "after_tokens": 2}
    async with serve({**GOOD, "faults": [cut]}) as server, post(server, stream=True) as response:
        lines = [await response.content.readline() for _ in range(4)]
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.content.readline()
    assert [json.loads(line[6:])["choices"][0]["delta"]["content"] for line in lines[::2]] == [
        "The",
        " answer",
    ]


async def test_a_service_that_gives_up_in_a_stream_says_so_there() -> None:
    fails = {"kind": "server_error", "after_tokens": 2}
    async with serve({**GOOD, "faults": [fails]}) as server, post(server, stream=True) as response:
        last = (await response.text()).strip().splitlines()[-1]
    assert json.loads(last[6:])["error"]["code"] == "server_error"


@pytest.mark.parametrize("streams", [False, True])
async def test_a_malformed_answer_is_no_json(streams: bool) -> None:
    broken = {"kind": "malformed", "after_tokens": 2}
    async with (
        serve({**GOOD, "faults": [broken]}) as server,
        post(server, stream=streams) as response,
    ):
        assert response.status == 200
        last = (await response.text()).strip().splitlines()[-1]
    with pytest.raises(json.JSONDecodeError):
        json.loads(last.removeprefix("data: "))


@pytest.mark.parametrize("fault", ["usage_missing", "usage_estimated"])
async def test_tokens_that_are_not_counted_are_left_out(fault: str) -> None:
    async with serve({**GOOD, "faults": [{"kind": fault}]}) as server:
        assert "usage" not in await answer(server)
        events = await stream(server, stream_options={"include_usage": True})
    assert not [event for event in events if "usage" in event]


async def test_what_nobody_waits_for_any_more_is_given_up() -> None:
    """A client that goes away takes its request with it."""
    async with serve({**GOOD, "faults": [{"kind": "stall", "after_tokens": 1}]}) as server:
        prompts: Any = server
        async with post(server, stream=True) as response:
            assert b"The" in await response.content.readline()
            assert len(prompts._backends["good"]._open) == 1
        async with asyncio.timeout(30):
            while prompts._backends["good"]._open:  # noqa: ASYNC110 - aiohttp tells nobody
                await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"model": "x"}, 404, "there is no model 'x' (known: good)"),
        ({"messages": []}, 400, "the prompt has no messages"),
        ({"n": 0}, 400, "n must be 1 to 128, got 0"),
        ({"temperature": "hot"}, 400, "the body cannot be used: Expected `float | null`"),
        ({"temperature": 9}, 400, "temperature must be at least 0.0 and at most 5.0, got 9.0"),
        ({"tools": [{"function": {"name": "f"}}]}, 400, "this backend has no tools"),
        ({"response_format": {"type": "json_object"}}, 400, "this backend has no JSON schema"),
        ({"max_tokens": 10**7}, 400, "6 prompt tokens and 10000000 more exceed the context"),
    ],
)
async def test_a_request_that_cannot_be_served_is_refused(
    body: dict[str, Any], status: int, message: str
) -> None:
    async with serve(GOOD) as server, post(server, **body) as response:
        assert response.status == status
        assert (await response.json())["error"]["message"].startswith(message)


async def test_a_client_that_leaves_while_pieces_are_written_is_no_fault(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pieces that take no time may be written before the server hears that nobody reads them."""

    async def gone(_self: object, _data: bytes) -> None:
        raise aiohttp.ClientConnectionResetError("Cannot write to closing transport")

    monkeypatch.setattr("aiohttp.web.StreamResponse.write", gone)
    async with serve(GOOD) as server, post(server, stream=True) as response:
        assert await response.text() == ""
    assert not caplog.records


@pytest.mark.parametrize(
    ("body", "headers", "message"),
    [
        (
            b'{"x": ' + b"[" * 100_000,
            {},
            "the body cannot be used: maximum recursion depth exceeded",
        ),
        (b"hello", {"content-encoding": "gzip"}, "the body is not encoded as its headers say"),
    ],
)
async def test_a_body_that_cannot_be_read_is_refused(
    body: bytes, headers: dict[str, str], message: str
) -> None:
    async with (
        serve(GOOD) as server,
        aiohttp.ClientSession() as session,
        session.post(f"{server.url}/chat/completions", data=body, headers=headers) as response,
    ):
        assert response.status == 400
        assert (await response.json())["error"]["message"].startswith(message)


@pytest.mark.parametrize(
    "request_",
    [
        "GET /v1/models HTTP/1.1\nno header\n\n",
        "POST /v1/chat/completions HTTP/1.1\nHost: a\nContent-Encoding: gzip\nContent-Length: 4\n\nabcd",
    ],
    ids=["headers", "body"],
)
async def test_what_is_no_http_is_told_in_one_line(
    caplog: pytest.LogCaptureFixture, request_: str
) -> None:
    """And the server goes on."""
    async with serve(GOOD) as server:
        host, _, port = server.url.removeprefix("http://").removesuffix("/v1").partition(":")
        async with await anyio.connect_tcp(host, int(port)) as stream:
            await stream.send(request_.replace("\n", "\r\n").encode())
            assert b" 400 " in await stream.receive()
        assert (await answer(server))["choices"]
    (record,) = caplog.records
    assert record.getMessage().startswith("a request was refused: ")
    assert record.exc_info is None
    assert "\n" not in record.getMessage()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nope", 404), ("GET", "/chat/completions", 405), ("POST", "/chat/completions", 413)],
)
async def test_what_no_service_offers_is_refused_as_services_do(
    method: str, path: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tt_compute.testing.mock_server._MAX_BODY_BYTES", 1000)
    async with (
        serve(GOOD) as server,
        aiohttp.ClientSession() as session,
        session.request(method, f"{server.url}{path}", data=b" " * 2000) as response,
    ):
        assert response.status == status
        assert (await response.json())["error"]["message"].startswith(f"{method} /v1{path}: ")


async def test_prompts_of_megabytes_are_taken() -> None:
    body = {"model": "good", "messages": [{"role": "user", "content": "word " * 400_000}]}
    async with (
        serve({**GOOD, "max_context_tokens": 10**7}) as server,
        aiohttp.ClientSession() as session,
        session.post(
            f"{server.url}/chat/completions", data=io.BytesIO(json.dumps(body).encode())
        ) as response,
    ):
        assert (await response.json())["usage"]["prompt_tokens"] >= 400_000


@pytest.mark.parametrize("host", ["", "a..b"])
async def test_a_host_that_cannot_be_one_is_refused(host: str) -> None:
    scenario = Scenario.from_mapping({"deployments": [GOOD]})
    with pytest.raises(UsageError, match="cannot listen at"):
        async with MockServer.serving(scenario, host=host):
            pass


async def test_a_port_that_is_taken_is_refused() -> None:
    async with serve(GOOD) as server:
        port = int(server.url.rpartition(":")[2].partition("/")[0])
        with pytest.raises(UsageError, match=f"cannot listen at 127.0.0.1:{port}"):
            async with MockServer.serving(
                Scenario.from_mapping({"deployments": [GOOD]}), port=port
            ):
                pass


# --- read by clients -----------------------------------------------------------------------------


def through(server: MockServer, model: str = "good") -> AsyncClient:
    """Our own client, by way of the openai backend."""
    deployment = {
        "id": "served",
        "backend": "openai",
        "model": {"id": model},
        "hardware": {"id": "far", "local": False},
        "endpoint": {"base_url": server.url},
        "price": {"usd_per_mtok": {"input": 1, "output": 1}},
        "options": {"server": "vllm"},
    }
    top = {"deployments": [deployment], "store": {"enabled": False}}
    config = Config.from_mapping({**top, "dispatch": {"share_limits": False}}, environ={})
    return AsyncClient(config, environ={})


async def test_our_own_client_solves_through_it() -> None:
    async with serve(GOOD) as server, through(server) as client:
        result = await client.solve("What is 3 plus 4?", strategy="majority", seed=3)
    assert result.answer == "7"
    assert result.receipt.output_tokens == 5 * result.receipt.samples_drawn


async def test_our_own_client_reads_its_logprobs() -> None:
    async with serve(GOOD) as server, through(server) as client:
        sampling = SamplingParams(logprobs=1, seed=1)
        (sample,) = await client.generate("Why?", deployment="served", sampling=sampling)
    assert isinstance(sample, Sample)
    assert [token.token for token in sample.logprobs][:2] == ["The", " answer"]


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        ({"kind": "authentication"}, "AuthenticationError"),
        ({"kind": "payment_required"}, "PaymentRequired"),
        ({"kind": "refused"}, "RequestRefused"),
        ({"kind": "model_not_found"}, "ModelNotFound"),
        ({"kind": "rate_limit", "retry_after_s": 900}, "RateLimitError"),
    ],
)
async def test_our_own_client_knows_each_refusal(fault: dict[str, Any], name: str) -> None:
    async with serve({**GOOD, "faults": [fault]}) as server, through(server) as client:
        (ended,) = await client.generate("Why?", deployment="served")
    assert isinstance(ended, Failed)
    assert type(ended.error).__name__ == name
    assert ended.error.retry_after_s == fault.get("retry_after_s")


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "connection", "after_tokens": 2},
        {"kind": "malformed", "after_tokens": 2},
        {"kind": "server_error"},
    ],
)
async def test_our_own_client_gets_over_an_attempt_that_breaks(fault: dict[str, Any]) -> None:
    once = {**GOOD, "faults": [{**fault, "requests": [0]}]}
    async with serve(once) as server, through(server) as client:
        result = await client.solve("What is 3 plus 4?", strategy="single", seed=3)
    assert [attempt.outcome for attempt in result.receipt.attempts] == ["failed", "ok"]


async def test_the_official_sdk_reads_it() -> None:
    openai: Any = pytest.importorskip("openai")
    async with (
        serve(GOOD) as server,
        openai.AsyncOpenAI(base_url=server.url, api_key="none", max_retries=0) as sdk,
    ):
        ask = {"model": "good", "messages": QUESTION, "seed": 5}
        listed = [model.id async for model in sdk.models.list()]
        done = await sdk.chat.completions.create(**ask, n=2, logprobs=True, top_logprobs=1)
        events = await sdk.chat.completions.create(**ask, stream=True)
        said = "".join([event.choices[0].delta.content or "" async for event in events])
    assert listed == ["good"]
    assert done.usage.completion_tokens == 10
    assert done.choices[0].message.content == said
