"""Each service puts things where it puts them: read from the bytes."""

from __future__ import annotations

from typing import Any

import pytest

from raw_client import ASKED, STREAMED, ask, events
from ttc_servers import ChatServer, Listed, Script
from ttc_servers.shapes import go_duration

pytestmark = pytest.mark.anyio

SERVICES: Any = ("groq", "cerebras", "openai")
SCRIPT = Script(texts=("It is 42.",), reasoning="let me", cached_share=0.5, queue_s=0.25)
WITH_USAGE = {**STREAMED, "stream_options": {"include_usage": True}}


async def stream_of(service: Any, body: dict[str, Any], script: Script = SCRIPT) -> list[Any]:
    async with ChatServer(service, script=script) as server:
        answer = await ask(server, body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.whole
    return events(answer)


# --- whole answers ---------------------------------------------------------------------------------


async def test_groq_times_its_work_inside_usage() -> None:
    async with ChatServer("groq", script=SCRIPT) as server:
        document = (await ask(server, {**ASKED, "seed": 7})).document
    usage = document["usage"]
    assert usage["queue_time"] == 0.25
    assert usage["total_time"] == pytest.approx(usage["prompt_time"] + usage["completion_time"])
    assert document["x_groq"]["seed"] == 7
    assert document["choices"][0]["message"]["reasoning"] == "let me"


async def test_groqs_queue_time_may_be_null() -> None:
    async with ChatServer("groq", script=Script(queue_s=None)) as server:
        assert (await ask(server)).document["usage"]["queue_time"] is None


async def test_cerebras_times_its_work_beside_usage() -> None:
    async with ChatServer("cerebras", script=SCRIPT) as server:
        document = (await ask(server)).document
    assert set(document["time_info"]) == {
        "queue_time", "prompt_time", "completion_time", "total_time", "created",
    }  # fmt: skip
    assert "completion_time" not in document["usage"]


@pytest.mark.parametrize("service", ["cerebras", "openai"])
async def test_n_choices_are_charged_and_the_prompt_once(service: Any) -> None:
    async with ChatServer(service) as server:
        document = (await ask(server, {**ASKED, "n": 3})).document
    assert [choice["index"] for choice in document["choices"]] == [0, 1, 2]
    assert len({choice["message"]["content"] for choice in document["choices"]}) == 3
    assert document["usage"]["completion_tokens"] == 15
    assert document["usage"]["prompt_tokens"] == 6


async def test_logprobs_of_reasoning_stand_apart_at_cerebras() -> None:
    asked = {**ASKED, "logprobs": True, "top_logprobs": 2}
    async with ChatServer("cerebras", script=SCRIPT) as server:
        choice = (await ask(server, asked)).document["choices"][0]
    assert [one["token"] for one in choice["logprobs"]["content"]] == ["It", " is", " 42."]
    thought = choice["reasoning_logprobs"]["content"]
    assert [one["token"] for one in thought] == ["let", " me"]
    assert [len(one["top_logprobs"]) for one in thought] == [2, 2]
    assert thought[0]["bytes"] == list(b"let")


@pytest.mark.parametrize("service", SERVICES)
async def test_calls_of_tools_have_an_index_in_a_stream_only(service: Any) -> None:
    script = Script(tool_calls=(("weather", '{"city": "Ulm"}'), ("time", "{}")))
    async with ChatServer(service, script=script) as server:
        choice = (await ask(server)).document["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    calls = choice["message"]["tool_calls"]
    assert [call["function"]["arguments"] for call in calls] == ['{"city": "Ulm"}', "{}"]
    assert all("index" not in call for call in calls)
    told: dict[int, str] = {}
    for chunk in (await stream_of(service, STREAMED, script))[:-1]:
        for piece in chunk["choices"][0]["delta"].get("tool_calls", ()):
            told[piece["index"]] = told.get(piece["index"], "") + piece["function"]["arguments"]
    assert told == {0: '{"city": "Ulm"}', 1: "{}"}


# --- streams ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", SERVICES)
async def test_a_stream_begins_with_a_role_and_ends_with_done(service: Any) -> None:
    first, *middle, last = await stream_of(service, STREAMED)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert last == "[DONE]"
    field = "reasoning_content" if service == "openai" else "reasoning"
    deltas = [chunk["choices"][0]["delta"] for chunk in middle]
    assert "".join(delta.get(field, "") for delta in deltas) == "let me"
    assert "".join(delta.get("content", "") for delta in deltas) == "It is 42."
    assert middle[-1]["choices"][0]["finish_reason"] == "stop"


async def test_groq_names_a_stream_at_its_ends_and_times_it_at_the_last() -> None:
    chunks = (await stream_of("groq", STREAMED))[:-1]
    named = [at for at, chunk in enumerate(chunks) if "x_groq" in chunk]
    assert named == [0, len(chunks) - 1]
    assert chunks[0]["x_groq"]["id"] == chunks[-1]["x_groq"]["id"]
    assert chunks[-1]["x_groq"]["usage"]["completion_time"] > 0
    assert all("usage" not in chunk for chunk in chunks)


@pytest.mark.parametrize("service", ["groq", "openai"])
async def test_usage_comes_in_an_event_without_choices_where_asked_for(service: Any) -> None:
    *_, last, done = await stream_of(service, WITH_USAGE)
    assert done == "[DONE]"
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == 5
    without = (await stream_of(service, STREAMED))[:-1]
    assert all(chunk["choices"] for chunk in without)
    assert all("usage" not in chunk for chunk in without)


async def test_cerebras_has_usage_and_time_on_the_event_that_ends_the_choice() -> None:
    last = (await stream_of("cerebras", STREAMED))[-2]
    assert last["choices"][0]["finish_reason"] == "stop"
    assert last["usage"]["completion_tokens"] == 5
    assert last["time_info"]["completion_time"] > 0


# --- headers ---------------------------------------------------------------------------------------


def test_durations_are_written_as_go_writes_them() -> None:
    shown = [go_duration(seconds) for seconds in (0, 0.5775, 7.66, 179.56, 3723)]
    assert shown == ["0s", "577.5ms", "7.66s", "2m59.56s", "1h2m3s"]


@pytest.mark.parametrize("service", SERVICES)
async def test_limits_stand_on_every_answer_as_the_service_names_them(service: Any) -> None:
    requests, tokens = (
        ("requests-day", "tokens-minute") if service == "cerebras" else ("requests", "tokens")
    )
    resets = ["179.56", "7.66"] if service == "cerebras" else ["2m59.56s", "7.66s"]
    async with ChatServer(service) as server:
        for body in (ASKED, STREAMED, {}):
            headers = (await ask(server, body)).headers
            assert headers[f"x-ratelimit-limit-{requests}"] == "14400"
            assert headers[f"x-ratelimit-remaining-{tokens}"] == "249000"
            assert [headers[f"x-ratelimit-reset-{name}"] for name in (requests, tokens)] == resets
            assert "retry-after" not in headers


# --- refusals and models ---------------------------------------------------------------------------


async def test_errors_are_wrapped_by_all_but_cerebras() -> None:
    found = {}
    for service in SERVICES:
        async with ChatServer(service) as server:
            answer = await ask(server, key="wrong")
        assert answer.status == 401
        found[service] = answer.document
    assert found["groq"] == {
        "error": {
            "message": "Invalid API Key",
            "type": "invalid_request_error",
            "code": "invalid_api_key",
        }
    }
    assert found["openai"]["error"]["code"] == "invalid_api_key"
    assert found["cerebras"]["code"] == "wrong_api_key"


@pytest.mark.parametrize(
    "unwanted", [{"n": 2}, {"logprobs": True}, {"logit_bias": {"1": 1}}, {"top_k": 4}, {"foo": 1}]
)
async def test_groq_refuses_what_it_does_not_know(unwanted: dict[str, Any]) -> None:
    async with ChatServer("groq") as server:
        answer = await ask(server, ASKED | unwanted)
    assert answer.status == 400
    assert next(iter(unwanted)) in answer.document["error"]["message"]
    assert set(answer.document["error"]) == {"message", "type"}


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("body", [None, {}, {"model": "m"}, {"model": "m", "messages": "hello"}])
async def test_a_request_without_its_parts_is_refused(service: Any, body: Any) -> None:
    async with ChatServer(service) as server:
        assert (await ask(server, body)).status == 400


@pytest.mark.parametrize("service", SERVICES)
async def test_models_are_listed_to_who_has_the_key(service: Any) -> None:
    async with ChatServer(service, models=("one", "two")) as server:
        listed = (await ask(server, None, method="GET", path="/models")).document
        one = (await ask(server, None, method="GET", path="/models/two")).document
        missing = await ask(server, None, method="GET", path="/models/three")
        refused = await ask(server, None, method="GET", path="/models", key=None)
    assert [model["id"] for model in listed["data"]] == ["one", "two"]
    assert one == listed["data"][1]
    assert ("context_window" in one) == (service == "groq")
    assert (missing.status, refused.status) == (404, 401)


async def test_cerebras_has_a_public_list_that_takes_no_key() -> None:
    """Prices are text there, per token; a model that is not on it has an error without ``error``."""
    async with ChatServer("cerebras", models=("one",)) as server:
        path = "//public/v1/models"
        listed = (await ask(server, None, method="GET", path=path, key=None)).document
        missing = await ask(server, None, method="GET", path=f"{path}/two", key=None)
        own = (await ask(server, None, method="GET", path="/models")).document
    assert listed["data"][0]["pricing"] == {"prompt": "0.00000035", "completion": "0.00000075"}
    assert missing.status == 404
    assert "not publicly available" in missing.document["detail"]
    assert "pricing" not in own["data"][0]


@pytest.mark.parametrize("service", ["openrouter", "sambanova"])
async def test_lists_that_need_no_key(service: Any) -> None:
    async with ChatServer(service) as server:
        listed = (await ask(server, None, method="GET", path="/models", key=None)).document
    kind = str if service == "openrouter" else float
    assert isinstance(listed["data"][0]["pricing"]["prompt"], kind)


async def test_a_list_may_go_wrong_and_completions_do_not() -> None:
    async with ChatServer("groq", listed=Listed(status=503, body=b"<html>")) as server:
        listed = await ask(server, None, method="GET", path="/models")
        assert (await ask(server)).status == 200
    assert (listed.status, listed.headers["content-type"]) == (503, "text/html")


async def test_cerebras_is_warmed_without_a_key() -> None:
    async with ChatServer("cerebras") as server:
        path = "//v1/tcp_warming"
        assert (await ask(server, None, method="GET", path=path, key=None)).status == 200
        assert server.requests[0].path == "/v1/tcp_warming"


async def test_any_key_will_do_where_none_is_expected() -> None:
    async with ChatServer("openai", key=None) as server:
        assert (await ask(server, key=None)).status == 200
