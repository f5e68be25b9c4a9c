"""The three backends over sockets: what they send, what they refuse, what they never do."""

from __future__ import annotations

import asyncio
import gc
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal, cast

import anyio
import anyio.lowlevel
import msgspec
import pytest
import trustme

from tt_compute.backend import Backend
from tt_compute.errors import (
    AuthenticationError,
    ConfigError,
    ConnectionFailed,
    ContextLengthError,
    ServerError,
    UnsupportedError,
)
from tt_compute.profiles.schema import Endpoint, Limits
from tt_compute.registry import Registry
from tt_compute.testing import backend_env, deployment_spec
from tt_compute.types import (
    Auth,
    DeploymentSpec,
    Event,
    Failed,
    GenerateRequest,
    JsonSchemaFormat,
    Message,
    Sample,
    SamplingParams,
    Tool,
    ToolCall,
    sample_seed,
)
from ttc_servers import ChatServer, Fault, Kind, Script, closed_port
from ttc_servers.chat import KEY
from ttc_servers.faults import scripted

pytestmark = pytest.mark.anyio

Name = Literal["groq", "cerebras", "openai"]
NAMES: tuple[Name, ...] = ("groq", "cerebras", "openai")
HELLO = (Message(role="user", content="hello there"),)


def spec_of(name: str, url: str, **options: object) -> DeploymentSpec:
    spec = deployment_spec(name, options=options)
    deployment = msgspec.structs.replace(
        spec.deployment, endpoint=Endpoint(base_url=url), auth=Auth(env="TEST_KEY")
    )
    return msgspec.structs.replace(spec, deployment=deployment)


@asynccontextmanager
async def backend_at(
    name: str, url: str, key: str = KEY, **options: Any
) -> AsyncGenerator[Backend, None]:
    kind = Registry().load(name)
    backend = await kind.create(spec_of(name, url, **options), backend_env(keys={"TEST_KEY": key}))
    try:
        yield backend
    finally:
        await backend.aclose()


async def ask(backend: Backend, n: int = 1, **fields: Any) -> list[Event]:
    request = GenerateRequest(messages=fields.pop("messages", HELLO), **fields)
    async with backend.open(request) as generation:
        generation.draw(n)
        return [event async for event in generation]


async def one(backend: Backend, **fields: Any) -> Sample:
    event = (await ask(backend, **fields))[-1]
    assert isinstance(event, Sample), event
    return event


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_with_all_that_the_service_says(name: Name, stream: bool) -> None:
    script = Script(texts=("The answer is 42.",), reasoning="let me think", cached_share=0.5)
    async with (
        ChatServer(name, script=script) as server,
        backend_at(name, server.base_url, stream=stream) as backend,
    ):
        sample = await one(backend)
    assert (sample.text, sample.reasoning) == ("The answer is 42.", "let me think")
    assert sample.finish_reason == "stop"
    assert (sample.usage.output_tokens, sample.usage.cached_tokens) == (7, 3)
    assert not sample.usage.estimated
    assert (sample.timing.queue_s is None) == (name == "openai")
    assert {limit.axis for limit in sample.rate_limits} == {"requests", "tokens"}
    assert sample.request_id is not None
    assert (sample.timing.first_token_s is None) == (not stream)


@pytest.mark.parametrize("name", NAMES)
async def test_what_is_sent(name: Name) -> None:
    """Each sample with a seed of its own, the key as a bearer, nothing that the service refuses."""
    sampling = SamplingParams(
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        max_tokens=9,
        stop=("END",),
        seed=7,
        presence_penalty=0.1,
    )
    async with ChatServer(name) as server, backend_at(name, server.base_url) as backend:
        await ask(backend, n=2, sampling=sampling)
        bodies = sorted((seen.body for seen in server.seen), key=lambda body: body["seed"])
        headers = server.seen[0].headers
    assert [body["seed"] for body in bodies] == sorted([sample_seed(7, 0), sample_seed(7, 1)])
    body = bodies[0]
    limit = "max_tokens" if name == "openai" else "max_completion_tokens"
    assert (body["temperature"], body["top_p"], body[limit], body["stop"]) == (0.5, 0.9, 9, ["END"])
    assert "top_k" not in body
    assert ("presence_penalty" in body) == (name != "groq")
    assert body["stream_options"] == {"include_usage": True}
    assert headers["authorization"] == f"Bearer {KEY}"
    assert "gzip" not in headers.get("accept-encoding", "")


@pytest.mark.parametrize("name", NAMES)
async def test_tools_go_out_and_calls_come_back(name: Name) -> None:
    script = Script(tool_calls=(("weather", '{"city": "Ulm"}'), ("time", "{}")))
    messages = (
        *HELLO,
        Message(
            role="assistant", content="", tool_calls=(ToolCall(id="c", name="f", arguments="{}"),)
        ),
        Message(role="tool", content="42", tool_call_id="c"),
    )
    tools = (Tool(name="weather", description="of a city"), Tool(name="time"))
    async with (
        ChatServer(name, script=script) as server,
        backend_at(name, server.base_url) as backend,
    ):
        sample = await one(backend, messages=messages, tools=tools, tool_choice="weather")
        body = server.seen[0].body
    assert sample.finish_reason == "tool_calls"
    assert [(call.name, call.arguments) for call in sample.tool_calls] == list(script.tool_calls)
    assert body["tool_choice"] == {"type": "function", "function": {"name": "weather"}}
    assert body["messages"][1]["tool_calls"][0]["function"] == {"name": "f", "arguments": "{}"}
    assert body["messages"][2]["tool_call_id"] == "c"


async def test_a_schema_goes_out_as_the_wire_has_it() -> None:
    wanted = JsonSchemaFormat(
        schema={"type": "object", "properties": {"n": {"type": "integer"}}}, name="n"
    )
    async with ChatServer("groq") as server, backend_at("groq", server.base_url) as backend:
        sample = await one(backend, response_format=wanted)
        sent = server.seen[0].body["response_format"]
    assert sample.text == '{"n":42}'
    assert sent == {
        "type": "json_schema",
        "json_schema": {"name": "n", "schema": wanted.schema, "strict": True},
    }


async def test_one_request_makes_a_wave_where_the_service_has_n() -> None:
    """The prompt is billed once; every sample is told apart."""
    async with (
        ChatServer("openai") as server,
        backend_at("openai", server.base_url, server="openai", native_n=True) as backend,
    ):
        ends = await ask(backend, n=4, sampling=SamplingParams(max_tokens=6))
        assert server.count == 1
        billed = server.seen[0]
    samples = [end for end in ends if isinstance(end, Sample)]
    assert sorted(sample.index for sample in samples) == [0, 1, 2, 3]
    assert len({sample.text for sample in samples}) == 4
    assert sum(sample.usage.output_tokens for sample in samples) == billed.output_tokens == 24
    assert sum(sample.usage.input_tokens for sample in samples) == billed.prompt_tokens


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("suffix", ["", "/v1", "/openai/v1", "/v1/"])
async def test_base_urls_in_either_convention(name: Name, suffix: str) -> None:
    """The SDKs add the path themselves, and others write it into the same variable."""
    async with ChatServer(name) as server:
        if name == "openai" and not suffix.startswith("/v1"):
            return
        async with backend_at(name, server.origin + suffix) as backend:
            await one(backend)
        assert server.other_paths == []


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/v1",
        "host:8000/v1",
        "http://",
        "https://user:pw@host/v1",
        "http://h/v1?k=1",
        "http://h:99999",
    ],
)
async def test_what_is_no_base_url_is_refused_with_its_place(url: str) -> None:
    with pytest.raises(ConfigError, match=r"endpoint\.base_url") as caught:
        async with backend_at("openai", url):
            pass
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("key", ["two words", "line\nbreak", "ключ"])
async def test_what_can_be_no_key_is_refused_before_anything_is_sent(name: Name, key: str) -> None:
    with pytest.raises(AuthenticationError) as caught:
        async with backend_at(name, "http://127.0.0.1:9/v1", key=key):
            pass
    assert key not in str(caught.value)
    assert "TEST_KEY" in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
async def test_nobody_listening_is_said_in_a_word(name: Name) -> None:
    async with backend_at(name, f"http://127.0.0.1:{closed_port()}") as backend:
        (end,) = await ask(backend)
    assert isinstance(end, Failed)
    assert isinstance(end.error, ConnectionFailed)
    assert "127.0.0.1: cannot connect" in end.error.message


@pytest.mark.parametrize("name", NAMES)
async def test_redirects_are_not_followed(name: Name) -> None:
    """Where the key would go with them."""
    async with ChatServer(name) as other:
        fault = Fault(kind=Kind.REDIRECT, target=other.base_url + "/chat/completions")
        async with (
            ChatServer(name, faults=scripted([fault])) as server,
            backend_at(name, server.base_url) as backend,
        ):
            (end,) = await ask(backend)
        assert isinstance(end, Failed)
        assert "redirects are not followed" in end.error.message
        assert other.count == 0


@pytest.mark.parametrize("name", NAMES)
async def test_nothing_is_unpacked_and_nothing_grows_without_end(name: Name) -> None:
    faults = [Fault(kind=Kind.GZIP), Fault(kind=Kind.ENDLESS_LINE)]
    async with (
        ChatServer(name, faults=scripted(faults)) as server,
        backend_at(name, server.base_url) as backend,
    ):
        packed, endless = (await ask(backend))[0], (await ask(backend))[0]
    assert isinstance(packed, Failed)
    assert isinstance(endless, Failed)
    assert "gzip" in packed.error.message
    assert isinstance(endless.error, ServerError)


@pytest.mark.parametrize("name", NAMES)
async def test_a_proxy_of_the_environment_is_used_and_no_proxy_kept(
    name: Name, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy here is the server itself, asked for another host's URL."""
    async with ChatServer(name) as server:
        monkeypatch.setenv("HTTP_PROXY", server.origin)
        monkeypatch.setenv("http_proxy", server.origin)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        async with backend_at(name, "http://service.invalid") as backend:
            await ask(backend)
        assert [path for path in server.other_paths if path.startswith("http://service.invalid")]
        async with backend_at(name, server.base_url) as backend:
            await one(backend)


@asynccontextmanager
async def tls_server(authority: trustme.CA) -> AsyncGenerator[str, None]:
    """Speaks TLS with a certificate of the authority, and no HTTP."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    cast("Any", authority.issue_cert("127.0.0.1")).configure_cert(context)
    listener = await asyncio.start_server(lambda _, out: out.close(), "127.0.0.1", 0, ssl=context)
    port: int = listener.sockets[0].getsockname()[1]
    try:
        yield f"https://127.0.0.1:{port}"
    finally:
        listener.close()


@pytest.mark.parametrize("name", NAMES)
async def test_only_certificates_that_are_vouched_for_are_taken(
    name: Name, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the system's authorities, or by those of SSL_CERT_FILE."""
    authority, messages = trustme.CA(), list[str]()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with tls_server(authority) as url:
        for trusted in (False, True):
            if trusted:
                monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
            async with backend_at(name, url) as backend:
                (end,) = await ask(backend)
            assert isinstance(end, Failed)
            messages.append(end.error.message)
    assert "certificate is not trusted" in messages[0]
    assert "closed the connection" in messages[1]


@pytest.mark.parametrize("name", NAMES)
async def test_cancelling_a_thousand_samples_loses_no_connection(name: Name) -> None:
    """Started in waves, most of each cancelled; afterwards every request is served, and few sockets are open."""
    async with (
        ChatServer(name, script=Script(per_token_s=0.001)) as server,
        backend_at(name, server.base_url) as backend,
    ):
        for _ in range(25):
            async with backend.open(GenerateRequest(messages=HELLO)) as generation:
                generation.draw(40)
                ended = 0
                async for event in generation:
                    if isinstance(event, Sample):
                        ended += 1
                    if ended == 2:
                        break
                    if server.count % 7 == 0:
                        generation.cancel(server.count % 40)
        for _ in range(5):
            await one(backend, sampling=SamplingParams(max_tokens=3))
        with anyio.fail_after(5):
            while server.connections > 45:
                await anyio.lowlevel.checkpoint()


async def test_no_key_in_any_repr_or_error() -> None:
    canary = "sk-canary-0123456789abcdef"
    async with backend_at("openai", f"http://127.0.0.1:{closed_port()}/v1", key=canary) as backend:
        (end,) = await ask(backend)
        shown = [repr(backend), repr(end), repr(vars(backend))]
        shown += [repr(thing) for thing in gc.get_referents(backend)]
    assert not [text for text in shown if canary in text]


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"extra_body": {"model": "other"}}, "options.extra_body.model"),
        ({"headers": {"Authorization": "x"}}, "options.headers"),
        ({"headers": {"x": "a\r\nb: c"}}, "options.headers"),
        ({"server": "nobody"}, "options.server"),
        ({"streem": True}, "options.streem"),
    ],
)
async def test_options_that_cannot_be_are_refused_with_their_place(
    options: dict[str, Any], path: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        async with backend_at("openai", "http://127.0.0.1:9/v1", **options):
            pass
    assert path in str(caught.value)


async def test_more_stop_strings_than_the_service_takes_are_refused() -> None:
    async with backend_at("groq", "http://127.0.0.1:9") as backend:
        with pytest.raises(UnsupportedError, match="5 stop strings"):
            await ask(backend, sampling=SamplingParams(stop=("a", "b", "c", "d", "e")))


async def test_a_prompt_that_is_surely_too_long_is_refused_here() -> None:
    async with backend_at("groq", "http://127.0.0.1:9") as backend:
        with pytest.raises(ContextLengthError):
            await ask(backend, messages=(Message(role="user", content="word " * 5000),))


async def test_the_models_output_limit_is_sent() -> None:
    async with ChatServer("groq") as server:
        spec = spec_of("groq", server.base_url)
        limited = msgspec.structs.replace(spec.deployment, limits=Limits(max_output_tokens=5))
        spec = msgspec.structs.replace(spec, deployment=limited)
        backend = await Registry().load("groq").create(spec, backend_env(keys={"TEST_KEY": KEY}))
        await ask(backend, sampling=SamplingParams(max_tokens=50))
        await backend.aclose()
        assert server.seen[0].body["max_completion_tokens"] == 5
