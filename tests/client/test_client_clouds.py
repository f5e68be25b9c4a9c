"""The whole way from YAML to an answer, over sockets: clouds, fallback, limits, caps, keys."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tt_compute as tt
from tt_compute.config import Config
from tt_compute.errors import BackendError, ConfigError, SpendCapReached
from ttc_servers import ChatServer, Fault, Kind, Script
from ttc_servers.chat import KEY
from ttc_servers.faults import by_rate, scripted

pytestmark = pytest.mark.anyio

ENVIRON = {"TEST_KEY": KEY, "GROQ_API_KEY": KEY}
SAYS_42 = Script(texts=("The answer is 42.",))
ABILITY = {
    "success_rate": 0.8,
    "concentration": 2,
    "wrong_agreement": 0.3,
    "abstain_rate": 0,
    "completion_tokens_mean": 5,
    "completion_tokens_p95": 9,
}


def deployment(name: str, server: ChatServer, **more: Any) -> dict[str, Any]:
    return {
        "id": name,
        "backend": "groq",
        "model": {"id": f"model-{name}", "abilities": {"math": ABILITY, "open": ABILITY}},
        "hardware": {"id": f"cloud-{name}", "device": "asic", "local": False},
        "speed": {"ttft_s": 0.1, "decode_tokens_per_s": 500},
        "price": {"usd_per_mtok": {"input": 1, "output": 2}},
        "endpoint": {"base_url": server.base_url},
        "auth": {"env": "TEST_KEY"},
        **more,
    }


def client_of(*deployments: dict[str, Any], folder: Path, **more: Any) -> tt.AsyncClient:
    mapping = {"deployments": list(deployments), "store": {"enabled": False}, **more}
    environ = {**ENVIRON, "TTC_DATA_DIR": str(folder)}
    return tt.AsyncClient(Config.from_mapping(mapping, environ=environ), environ=environ)


async def test_a_question_is_voted_on_and_paid_for(tmp_path: Path) -> None:
    async with ChatServer("groq", script=SAYS_42) as server:
        async with client_of(deployment("a", server), folder=tmp_path) as client:
            result = await client.solve("What is 6 times 7?", strategy="majority")
        billed = sum(seen.prompt_tokens + 2 * seen.output_tokens for seen in server.seen)
    assert result.answer == "42"
    assert result.receipt.cost_usd == pytest.approx(billed / 1e6)
    assert result.warnings == ()
    assert server.count == result.receipt.samples_drawn


async def test_what_one_cloud_cannot_do_another_does(tmp_path: Path) -> None:
    """The receipt holds both attempts, and each sample says where it came from."""
    down = by_rate(Fault(kind=Kind.STATUS, status=503), 1.0, 0)
    async with (
        ChatServer("groq", script=SAYS_42, faults=down) as first,
        ChatServer("groq", script=SAYS_42) as second,
    ):
        cheap = {"price": {"usd_per_mtok": {"input": 0.1, "output": 0.1}}}
        async with client_of(
            deployment("a", first, **cheap), deployment("b", second), folder=tmp_path
        ) as client:
            result = await client.solve("What is 6 times 7?", objective=tt.Objective(max_samples=4))
    assert result.answer == "42"
    assert {sample.deployment for sample in result.samples} == {"b"}
    outcomes = {(attempt.deployment, attempt.outcome) for attempt in result.receipt.attempts}
    assert outcomes == {("a", "failed"), ("b", "ok")}


async def test_a_stand_in_is_not_asked_for_logprobs_that_it_has_not(tmp_path: Path) -> None:
    """They are asked of the planned deployment because it gives them, not because anybody needs them."""
    down = by_rate(Fault(kind=Kind.STATUS, status=503), 1.0, 0)
    async with (
        ChatServer("cerebras", script=SAYS_42, faults=down) as first,
        ChatServer("groq", script=SAYS_42) as second,
    ):
        cheap = {"backend": "cerebras", "price": {"usd_per_mtok": {"input": 0.1, "output": 0.1}}}
        async with client_of(
            deployment("a", first, **cheap), deployment("b", second), folder=tmp_path
        ) as client:
            result = await client.solve("What is 6 times 7?", strategy="single")
        assert first.seen[0].body["logprobs"] is True
        assert "logprobs" not in second.seen[0].body
    assert result.samples[0].deployment == "b"


async def test_a_pinned_deployment_has_no_stand_in(tmp_path: Path) -> None:
    down = by_rate(Fault(kind=Kind.STATUS, status=503), 1.0, 0)
    async with (
        ChatServer("groq", script=SAYS_42, faults=down) as first,
        ChatServer("groq", script=SAYS_42) as second,
        client_of(deployment("a", first), deployment("b", second), folder=tmp_path) as client,
    ):
        with pytest.raises(BackendError, match="503"):
            await client.solve("What is 6 times 7?", deployment="a", strategy="single")
    assert second.count == 0


async def test_a_stream_that_breaks_is_revised(tmp_path: Path) -> None:
    """What was shown is replaced by the text of the sample that was drawn again."""
    script = Script(texts=("It is the sea that he sees.",))
    async with (
        ChatServer("groq", script=script, faults=scripted([Fault(kind=Kind.CUT)])) as first,
        ChatServer("groq", script=Script(texts=("A calm sea.",))) as second,
    ):
        cheap = {"price": {"usd_per_mtok": {"input": 0.1, "output": 0.1}}}
        async with (
            client_of(
                deployment("a", first, **cheap), deployment("b", second), folder=tmp_path
            ) as client,
            client.stream("What does he see?", strategy="single") as run,
        ):
            shown, revisions = "", 0
            async for event in run:
                if isinstance(event, tt.TextDelta):
                    shown += event.text
                elif isinstance(event, tt.Revision):
                    shown, revisions = event.text, revisions + 1
            assert shown == run.result.text == "A calm sea."
    assert revisions == 1


async def test_parameters_that_the_service_lacks_are_named(tmp_path: Path) -> None:
    sampling = tt.SamplingParams(top_k=5)
    async with (
        ChatServer("groq", script=SAYS_42) as server,
        client_of(deployment("a", server), folder=tmp_path) as client,
    ):
        result = await client.solve("What is 6 times 7?", strategy="single", sampling=sampling)
    assert result.ignored_params == ("top_k",)


async def test_a_cap_per_day_holds_over_clients(tmp_path: Path) -> None:
    """The second client, as another process would, finds in the file what the first one spent."""
    async with ChatServer("groq", script=SAYS_42) as server:
        cap = {"dispatch": {"max_usd_per_day": 0.000_05}}
        options: dict[str, Any] = {"strategy": "single", "max_tokens": 9}
        async with client_of(deployment("a", server), folder=tmp_path, **cap) as client:
            await client.solve("What is 6 times 7?", **options)
        async with client_of(deployment("a", server), folder=tmp_path, **cap) as client:
            with pytest.raises(SpendCapReached, match="24 hours"):
                await client.solve_many(["What is 6 times 7?"] * 20, **options)
    spent = sum(seen.prompt_tokens + 2 * seen.output_tokens for seen in server.seen) / 1e6
    assert 0 < spent <= 0.000_05


# --- keys ----------------------------------------------------------------------------------------------

HERE = """
deployments:
  - id: mine
    backend: {backend}
    model: gpt-oss-120b
    hardware: groq-lpu-cloud
    endpoint: {{base_url: {url}}}
    auth: {{env: {variable}}}
"""


def config_here(
    folder: Path, url: str, variable: str = "GROQ_API_KEY", backend: str = "groq"
) -> None:
    text = HERE.format(url=url, variable=variable, backend=backend)
    (folder / "ttc.yaml").write_text(text, encoding="utf-8")


@pytest.mark.parametrize("backend", ["groq", "openai"])
@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example",
        "https://api.groq.com.evil.example/v1",
        "http://169.254.169.254/v1",
        "null",
    ],
)
def test_a_config_that_was_just_there_takes_no_key_elsewhere(
    tmp_path: Path, url: str, backend: str
) -> None:
    config_here(tmp_path, url, backend=backend)
    with pytest.raises(ConfigError, match="GROQ_API_KEY") as caught:
        Config.load(environ=ENVIRON, folder=tmp_path)
    assert "ttc.yaml:" in str(caught.value)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "variable"),
    [
        ("https://api.groq.com/openai/v1", "GROQ_API_KEY"),
        ("http://127.0.0.1:8000/v1", "GROQ_API_KEY"),
        ("http://localhost:8000/v1", "GROQ_API_KEY"),
        ("https://company.example/v1", "COMPANY_KEY"),
    ],
)
def test_it_may_use_the_services_own_host_loopback_and_keys_of_its_own(
    tmp_path: Path, url: str, variable: str
) -> None:
    config_here(tmp_path, url, variable)
    assert Config.load(environ=ENVIRON, folder=tmp_path).deployments[0].id == "mine"


def test_a_config_that_was_named_may_send_keys_anywhere(tmp_path: Path) -> None:
    config_here(tmp_path, "https://gateway.example/v1")
    file = tmp_path / "ttc.yaml"
    assert Config.load(file, environ=ENVIRON).deployments
    assert Config.load(environ={**ENVIRON, "TTC_CONFIG": str(file)}, folder=tmp_path).deployments


def test_a_deployment_of_a_folder_beside_it_is_held_to_the_same(tmp_path: Path) -> None:
    """Pinned by --deployment it is not in the config's own list."""
    (tmp_path / "more" / "deployments").mkdir(parents=True)
    (tmp_path / "ttc.yaml").write_text("profiles: [./more]\n", encoding="utf-8")
    text = "id: sly\nbackend: groq\nmodel: gpt-oss-120b\nhardware: groq-lpu-cloud\n"
    text += "endpoint: {base_url: 'https://evil.example'}\nauth: {env: GROQ_API_KEY}\n"
    (tmp_path / "more" / "deployments" / "sly.yaml").write_text(text, encoding="utf-8")
    config = Config.load(environ=ENVIRON, folder=tmp_path)
    with pytest.raises(ConfigError, match=r"evil\.example"):
        config.spec("sly")


def canaries() -> dict[str, str]:
    return {f"CANARY_{number}": f"sk-canary-{number:02d}-abcdefgh" for number in range(40)}


RUN = "from tt_compute.cli.main import main; main()"


async def test_forty_canary_keys_appear_nowhere(tmp_path: Path) -> None:
    """In no output, log or file of a run that fails at forty deployments, whose server echoes each key."""
    keys = canaries()
    down = by_rate(Fault(kind=Kind.STATUS, status=500), 1.0, 0)
    async with ChatServer("openai", key=None, faults=down) as server:
        entries = [
            deployment(name.lower(), server, backend="openai", auth={"env": name}) for name in keys
        ]
        config = tmp_path / "c.yaml"
        config.write_text(json.dumps({"deployments": entries}), encoding="utf-8")
        folders = {f"TTC_{name}_DIR": str(tmp_path / name) for name in ("DATA", "CACHE")}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", RUN, "solve", "-v", "--json", "--config", str(config)),
            "What is 2+2?",
            env={**os.environ, **keys, **folders},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, err = await process.communicate()
    assert process.returncode == 4
    assert {seen.headers["authorization"].removeprefix("Bearer ") for seen in server.seen} <= set(
        keys.values()
    )
    assert b"forced 500" in out
    written = all_bytes(tmp_path)
    for key in keys.values():
        assert key.encode() not in out + err + written


def all_bytes(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())
