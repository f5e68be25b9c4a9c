"""A backend that is recorded keeps the protocol, and a replay gives its events in the same order."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from tt_compute.backend import Backend
from tt_compute.errors import ContextLengthError, EngineDied, ServerError
from tt_compute.registry import Registry
from tt_compute.testing.cassette import Recorder, Replayer
from tt_compute.testing.cassette_backend import RecordingBackend
from tt_compute.testing.conformance import RULES, check_backend
from tt_compute.testing.environment import backend_env, deployment_spec
from tt_compute.testing.subject import Subject
from tt_compute.testing.time import VirtualClock
from tt_compute.types import (
    BackendEnv,
    DeploymentSpec,
    Event,
    Failed,
    GenerateRequest,
    Message,
    SamplingParams,
)

pytestmark = pytest.mark.anyio

LONG = {"completion_tokens": 60, "latency": {"ttft_s": 0.3, "tokens_per_s": {"p50": 40, "p95": 80}}}
PROMPT = (Message(role="user", content="How many legs do seven spiders have?"),)
NOT_ITS = {
    "describes_itself",  # nobody looks it up by its class
    "leaves_nothing_behind",  # it keeps what it records
}
REQUEST = GenerateRequest(
    messages=PROMPT, sampling=SamplingParams(temperature=1.0, seed=3), deltas="logprobs"
)


async def made(spec: DeploymentSpec, env: BackendEnv) -> Backend:
    return await Registry().load("mock").create(spec, env)


async def test_a_recorded_backend_keeps_the_protocol() -> None:
    """The recorder is in nobody's way: every rule that holds for the mock holds for the recorded mock."""

    @asynccontextmanager
    async def subject() -> AsyncGenerator[Subject, None]:
        clock = VirtualClock()
        inner = await made(deployment_spec("mock", options=LONG), backend_env(clock=clock))
        backend = cast("Backend", RecordingBackend(inner, "test/mock", []))
        yield Subject(backend=backend, clock=clock, prompt=PROMPT)
        await backend.aclose()

    report = await check_backend(subject, rules=[name for name in RULES if name not in NOT_ITS])
    assert len(report.passed) > 20


async def play(backend: Backend) -> list[Event]:
    """Three samples, one of them cancelled on the way, and two more."""
    events: list[Event] = []
    async with backend.open(REQUEST) as generation:
        generation.draw(3)
        async for event in generation:
            events.append(event)
            if len(events) == 10:
                generation.cancel(1)
            if len(events) == 20:
                generation.draw(2)
        events += [event async for event in generation]
    return events


@pytest.mark.parametrize(
    "faults",
    [
        [],
        [{"kind": "server_error", "samples": [0], "after_tokens": 5, "retry_after_s": 7}],
        [{"kind": "stall", "samples": [1]}],
    ],
    ids=["fine", "failed", "silent"],
)
async def test_a_replay_gives_the_same_events_in_the_same_order(
    tmp_path: Path, faults: list[object]
) -> None:
    """Deltas, ends and failures, whatever was cancelled; it takes no time and no backend."""
    file = tmp_path / "cassette.json"
    spec = deployment_spec("mock", options={**LONG, "faults": faults})
    env = backend_env(clock=VirtualClock())
    recorder = Recorder(file)
    recorded = await play(await recorder.make(spec, env, lambda: made(spec, env)))
    recorder.finish()
    replayer = Replayer(file)
    clock = VirtualClock()

    async def nobody() -> Backend:
        raise AssertionError("a replay makes no backend")

    replayed = await play(await replayer.make(spec, backend_env(clock=clock), nobody))
    replayer.finish()
    assert [shown(event) for event in replayed] == [shown(event) for event in recorded]
    assert len(replayed) > 20
    assert clock.now() == 0


def shown(event: Event) -> object:
    """An event by its values: errors are equal to themselves alone."""
    if not isinstance(event, Failed):
        return event
    error = event.error
    assert isinstance(error, ServerError)
    return event.index, type(error), error.message, error.retry_after_s, event.text, event.usage


async def test_refusals_and_lost_generations_are_replayed(tmp_path: Path) -> None:
    """A prompt that could not be opened raises as it did; so does an engine that died."""
    file = tmp_path / "cassette.json"
    spec = deployment_spec("mock", options={**LONG, "faults": [{"kind": "engine_died"}]})
    env = backend_env(clock=VirtualClock())
    long = GenerateRequest(messages=(Message(role="user", content="why? " * 5000),))

    async def go(backend: Backend) -> None:
        with pytest.raises(ContextLengthError, match="exceed the context"):
            async with backend.open(long):
                pass
        with pytest.raises(EngineDied):
            await play(backend)

    recorder = Recorder(file)
    await go(await recorder.make(spec, env, lambda: made(spec, env)))
    recorder.finish()
    replayer = Replayer(file)
    await go(await replayer.make(spec, env, lambda: made(spec, env)))
    replayer.finish()
