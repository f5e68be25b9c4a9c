"""The mock backend keeps every rule of the conformance kit, in virtual time."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from tt_compute.registry import Registry
from tt_compute.testing import (
    BackendConformance,
    Subject,
    VirtualClock,
    backend_env,
    deployment_spec,
)
from tt_compute.types import GenerateRequest, Message, SamplingParams

NOT_CLAIMED = {"keeps_json_schemas"}
"""What a mock cannot do by itself."""
LOWERED = {"streaming": False, "prefix_sharing": False, "max_logprobs": 0, "stop": False}
NOT_CLAIMED_WHEN_LOWERED = NOT_CLAIMED | {
    "deltas_make_the_text",
    "stop_strings_cut_exactly",
    "tells_logprobs",
}

OPTIONS: dict[str, object] = {
    "completion_tokens": {"p50": 60, "p95": 90},
    "latency": {"ttft_s": {"p50": 0.3, "p95": 0.9}, "tokens_per_s": {"p50": 40, "p95": 80}},
    "faults": [
        {"kind": "server_error", "samples": [1], "pattern": "half", "after_tokens": 3},
        {"kind": "engine_died", "samples": [2], "pattern": "die", "after_tokens": 5},
    ],
}


def _prompt(text: str) -> tuple[Message, ...]:
    return (Message(role="user", content=text),)


def _long(text: str) -> GenerateRequest:
    sampling = SamplingParams(max_tokens=48)
    return GenerateRequest(messages=_prompt(text), sampling=sampling, deltas="text")


@asynccontextmanager
async def _mock(**options: object) -> AsyncGenerator[Subject, None]:
    clock = VirtualClock()
    spec = deployment_spec("mock", options=OPTIONS | options, max_context_tokens=512)
    backend = await Registry().load("mock").create(spec, backend_env(clock=clock))
    yield Subject(
        backend=backend,
        clock=clock,
        prompt=_prompt("How many legs do seven spiders have?"),
        failing=_long("half of it fails"),
        lost=_long("die in the middle"),
        cycles=200,
    )
    await backend.aclose()


class TestMock(BackendConformance):
    """Each rule holds; none is passed over but those about abilities the mock does not claim."""

    may_skip = NOT_CLAIMED

    def create(self) -> AbstractAsyncContextManager[Subject]:
        return _mock()


class TestMockWithFewerAbilities(BackendConformance):
    """The rules also hold for a mock that states less than it can."""

    may_skip = NOT_CLAIMED_WHEN_LOWERED

    def create(self) -> AbstractAsyncContextManager[Subject]:
        return _mock(capabilities=LOWERED)
