"""What services offer, read from their lists of models over sockets; and what is not believed."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tt_compute.backend import Catalogue
from tt_compute.errors import (
    AuthenticationError,
    BackendError,
    ConnectionFailed,
    ModelNotFound,
    ServerError,
)
from tt_compute.profiles.schema import Endpoint
from tt_compute.registry import Registry
from tt_compute.testing import backend_env, deployment_spec
from tt_compute.types import Auth, Offer
from tt_compute_backends.wire import catalogue
from tt_compute_backends.wire.listing import WrongFieldError, usd_per_mtok
from ttc_servers import KEY, ChatServer, Listed, closed_port

pytestmark = pytest.mark.anyio

OWN_BACKENDS = ("groq", "cerebras")


async def offered(
    service: str, url: str, *, model: str = "model-a", key: str = KEY
) -> Offer | None:
    """By the backend that the service has, or by ``openai`` told which server it is."""
    own = service in OWN_BACKENDS
    spec = deployment_spec(service if own else "openai", options={} if own else {"server": service})
    deployment = msgspec.structs.replace(
        spec.deployment,
        remote_model=model,
        endpoint=Endpoint(base_url=url),
        auth=Auth(env="TEST_KEY"),
    )
    kind: Any = Registry().load(deployment.backend)
    spec = msgspec.structs.replace(spec, deployment=deployment)
    backend = await kind.create(spec, backend_env(keys={"TEST_KEY": key}))
    assert isinstance(backend, Catalogue)
    try:
        return await backend.offered()
    finally:
        await kind.aclose(backend)


async def offer_of(service: Any, **listed: Any) -> Offer | None:
    async with ChatServer(service, listed=Listed(**listed)) as server:
        return await offered(service, server.base_url)


# --- what each service tells -------------------------------------------------------------------------


async def test_groq_tells_limits_and_no_price() -> None:
    async with ChatServer("groq") as server:
        told = await offered("groq", server.base_url)
    assert told == Offer(
        url=f"{server.base_url}/models", max_context_tokens=131_072, max_output_tokens=65_536
    )


async def test_cerebras_tells_prices_per_token_as_text_on_its_public_list() -> None:
    async with ChatServer("cerebras") as server:
        told = await offered("cerebras", server.base_url)
    assert told == Offer(
        url=f"{server.origin}/public/v1/models",
        input_usd_per_mtok=0.35,
        output_usd_per_mtok=0.75,
        max_context_tokens=131_072,
        max_output_tokens=40_960,
        requests_per_minute=1000,
        tokens_per_minute=1_000_000,
    )


async def test_a_public_list_gets_no_key() -> None:
    async with ChatServer("cerebras") as server:
        await offered("cerebras", server.base_url)
        paths = {one.path: one.headers.get("authorization") for one in server.requests}
    assert paths == {"/v1/models": f"Bearer {KEY}", "/public/v1/models": None}


async def test_a_model_of_this_account_alone_is_there_without_figures() -> None:
    """A dedicated model is on the list of its key and on no public one."""
    async with ChatServer("cerebras", listed=Listed(unlisted=frozenset({"model-a"}))) as server:
        told = await offered("cerebras", server.base_url)
    assert told == Offer(url=f"{server.origin}/public/v1/models")


async def test_sambanova_tells_prices_per_token_as_numbers() -> None:
    told = await offer_of("sambanova")
    assert told is not None
    assert (told.input_usd_per_mtok, told.output_usd_per_mtok) == (0.22, 0.59)
    assert (told.max_context_tokens, told.max_output_tokens) == (131_072, 131_072)


async def test_openrouter_tells_the_cached_price_and_the_context_of_who_serves_it() -> None:
    """The model's own context may be longer than that of the provider."""
    told = await offer_of("openrouter")
    assert told is not None
    prices = (told.input_usd_per_mtok, told.cached_input_usd_per_mtok, told.output_usd_per_mtok)
    assert prices == (2.5, 1.25, 10.0)
    assert (told.max_context_tokens, told.max_output_tokens) == (131_072, None)


async def test_openrouters_context_is_the_models_where_the_provider_tells_none() -> None:
    told = await offer_of("openrouter", fields={"top_provider": None})
    assert told is not None
    assert told.max_context_tokens == 262_144


async def test_vllm_tells_the_context_that_it_was_started_with() -> None:
    told = await offer_of("vllm")
    assert told is not None
    assert told.max_context_tokens == 32_768
    assert told.input_usd_per_mtok is None


async def test_other_servers_tell_that_the_model_is_there() -> None:
    told = await offer_of("openai", fields={"pricing": {"prompt": "1"}, "context_length": -1})
    assert told is not None
    assert told == Offer(url=told.url)


@pytest.mark.parametrize("service", ["groq", "cerebras", "sambanova", "openrouter", "vllm"])
async def test_a_model_that_is_not_listed_is_not_offered(service: Any) -> None:
    async with ChatServer(service) as server:
        assert await offered(service, server.base_url, model="gone") is None


async def test_a_model_that_is_listed_and_not_served_is_not_offered() -> None:
    assert await offer_of("groq", fields={"active": False}) is None


async def test_a_service_says_that_it_will_withdraw_a_model() -> None:
    told = await offer_of("cerebras", fields={"deprecated": True})
    assert told is not None
    assert told.deprecated


# --- what is not believed ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("service", "fields", "said"),
    [
        ("sambanova", {"pricing": {"prompt": "-1"}}, "pricing.prompt: expected a price of at least 0"),
        ("sambanova", {"pricing": {"prompt": "0.22"}}, "would be 2.20e+5 USD per million tokens"),
        ("sambanova", {"pricing": {"completion": True}}, "pricing.completion: expected USD per token"),
        ("sambanova", {"pricing": {"completion": ""}}, "expected USD per token, got ''"),
        ("sambanova", {"pricing": {"completion": {"usd": 1}}}, "got an object"),
        ("sambanova", {"pricing": "cheap"}, "pricing.prompt: expected an object around it"),
        ("sambanova", {"context_length": "131072"}, "context_length: expected tokens, got '131072'"),
        ("sambanova", {"context_length": 0}, "context_length: expected tokens, 1 to"),
        ("sambanova", {"context_length": 4096.5}, "context_length: expected tokens, 1 to"),
        ("sambanova", {"max_completion_tokens": 10**12}, "max_completion_tokens: expected tokens"),
        ("cerebras", {"limits": {"requests_per_minute": -5}}, "expected a rate above 0"),
        ("cerebras", {"limits": [1]}, "limits.max_context_length: expected an object around it"),
    ],
)  # fmt: skip
async def test_figures_that_cannot_be_are_refused_with_their_place(
    service: Any, fields: Any, said: str
) -> None:
    with pytest.raises(ServerError) as caught:
        await offer_of(service, fields=fields)
    assert said in caught.value.message
    assert "models cannot be right" in caught.value.message


@pytest.mark.parametrize(
    "body",
    [
        b"<html><body>Sign in</body></html>",
        b"",
        b"[]",
        b'{"data": {}}',
        b'{"data": [{"id": "model-a"}, 3]}',
        b'{"data": [{"id": "model-a", "context_length": 1e999}]}',
        b'{"data": [{"id": "model-a", "x": ' + b"[" * 100_000,
        b"\xff\xfe",
    ],
    ids=["html", "empty", "array", "object", "number", "infinity", "deep", "bytes"],
)
async def test_what_is_no_list_of_models_is_refused(body: bytes) -> None:
    with pytest.raises(ServerError, match="it is no list of models"):
        await offer_of("sambanova", body=body)


async def test_a_list_that_is_too_long_is_not_read_to_its_end() -> None:
    with pytest.raises(ServerError, match="longer than 8388608 bytes"):
        await offer_of("sambanova", body=b" " * (9 * 1024 * 1024))


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, AuthenticationError), (404, ModelNotFound), (500, ServerError), (302, ServerError)],
)
async def test_refusals_are_errors_of_their_kind(status: int, error: type[BackendError]) -> None:
    with pytest.raises(error, match=f"GET models of 127.0.0.1 answered {status}"):
        await offer_of("sambanova", status=status)


async def test_a_service_that_is_not_there_is_told_so() -> None:
    with pytest.raises(ConnectionFailed, match=r"127\.0\.0\.1"):
        await offered("sambanova", f"http://127.0.0.1:{closed_port()}/v1")


async def test_a_service_that_says_nothing_is_waited_for_so_long_and_no_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(catalogue, "PATIENCE_S", 0.05)
    async with ChatServer("sambanova", listed=Listed(silent=True)) as server:
        with pytest.raises(ConnectionFailed, match=r"no list of models within 0\.05 s"):
            await offered("sambanova", server.base_url)


@pytest.mark.parametrize(
    "listed",
    [
        Listed(fields={"pricing": {"prompt": KEY}}),
        Listed(fields={"context_length": f"{KEY} is your key"}),
        Listed(status=401, body=json.dumps({"error": {"message": f"bad key {KEY}"}}).encode()),
        Listed(status=500, body=f"trace: {KEY}".encode()),
    ],
    ids=["price", "tokens", "refusal", "trace"],
)
async def test_a_key_that_the_service_echoes_is_in_no_error(listed: Listed) -> None:
    async with ChatServer("sambanova", listed=listed) as server:
        with pytest.raises(BackendError) as caught:
            await offered("sambanova", server.base_url)
    chain = f"{caught.value!r} {caught.value} {caught.value.hint}"
    assert KEY not in chain
    assert KEY[:12] not in chain


# --- prices ------------------------------------------------------------------------------------------


@given(st.decimals(min_value="0.001", max_value="999.999999", places=6))
def test_a_price_per_token_is_one_per_million_however_it_is_written(per_mtok: Decimal) -> None:
    """As text with or without an exponent, or as a number: the same digits, a million times as much."""
    per_token = per_mtok / 1_000_000
    for written in (f"{per_token:f}", f"{per_token:e}", f" {per_token:f} ", float(per_token)):
        assert usd_per_mtok(written) == float(per_mtok)


@given(st.floats(min_value=0.001, max_value=1e9))
def test_a_price_per_million_is_never_taken_for_one_per_token(per_mtok: float) -> None:
    for written in (per_mtok, repr(per_mtok)):
        with pytest.raises(WrongFieldError):
            usd_per_mtok(written)


@given(
    st.one_of(
        st.text(),
        st.floats(allow_nan=True, allow_infinity=True),
        st.integers(),
        st.booleans(),
        st.none(),
        st.lists(st.integers()),
        st.from_regex(r"[-+]?[0-9]{0,40}\.?[0-9]{0,40}([eE][-+]?[0-9]{0,4})?", fullmatch=True),
    )
)
def test_whatever_stands_there_is_a_sound_price_or_refused(written: object) -> None:
    try:
        price = usd_per_mtok(written)
    except WrongFieldError:
        return
    assert price == 0 or 0.001 <= price < 1000
    assert not isinstance(written, bool)


@pytest.mark.parametrize("free", ["0", 0, "0.0", "-0", 0.0])
def test_nothing_is_a_price(free: object) -> None:
    assert str(usd_per_mtok(free)) == "0.0"
