"""Each cloud backend keeps every rule of the conformance kit, over a socket to a faithful local server."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Literal

import msgspec
import pytest

from tt_compute.clock import SystemClock
from tt_compute.profiles.schema import Endpoint
from tt_compute.registry import Registry
from tt_compute.testing import Subject, backend_env, check_backend, deployment_spec
from tt_compute.types import Auth, DeploymentSpec, GenerateRequest, Message, SamplingParams
from ttc_servers import ChatServer, Fault, Kind, Script
from ttc_servers.chat import KEY

pytestmark = pytest.mark.anyio

NOT_FORCED = {"a_lost_engine_fails_every_sample"}
"""Each sample has a connection of its own; there is no engine that all would lose."""
PROMPT = (Message(role="user", content="Write a long story about a lighthouse and the sea."),)
FAILING = "one of three goes wrong"
SERVICES: dict[str, tuple[Literal["groq", "cerebras", "openai"], dict[str, object]]] = {
    "groq": ("groq", {}),
    "cerebras": ("cerebras", {}),
    "vllm": ("openai", {"server": "vllm"}),
    "plain": ("openai", {"stream": False}),
}


def spec_of(backend: str, url: str, options: dict[str, object]) -> DeploymentSpec:
    spec = deployment_spec(backend, options=options)
    deployment = msgspec.structs.replace(
        spec.deployment, endpoint=Endpoint(base_url=url), auth=Auth(env="TEST_KEY")
    )
    return msgspec.structs.replace(spec, deployment=deployment)


@pytest.mark.parametrize("case", SERVICES)
async def test_it_keeps_every_rule(case: str) -> None:
    name, options = SERVICES[case]
    turns = iter(range(10_000))

    def sometimes(_number: int, body: dict[str, Any]) -> Fault | None:
        failing = body["messages"][-1]["content"] == FAILING
        fails = failing and next(turns) % 3 == 1
        return Fault(kind=Kind.STATUS, status=500) if fails else None

    script = Script(per_token_s=0.005)
    async with ChatServer(name, script=script, faults=sometimes, keep=False) as server:
        clock = SystemClock()
        env = backend_env(clock=clock, keys={"TEST_KEY": KEY})
        kind = Registry().load(name)
        spec = spec_of(name, server.base_url, options)

        @asynccontextmanager
        async def make() -> AsyncGenerator[Subject, None]:
            backend = await kind.create(spec, env)
            try:
                yield Subject(
                    backend=backend,
                    clock=clock,
                    prompt=PROMPT,
                    cycles=100,
                    failing=GenerateRequest(
                        messages=(Message(role="user", content=FAILING),),
                        sampling=SamplingParams(max_tokens=3),
                    ),
                )
            finally:
                await backend.aclose()

        report = await check_backend(make)
    unexplained = [reason for reason in report.skipped.values() if "claimed" not in reason]
    assert len(unexplained) == len(NOT_FORCED & report.skipped.keys()), report.skipped
