"""The mock backend: deterministic in (prompt, seed, index), in virtual time, with faults on demand."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tt_compute.errors import (
    ConfigError,
    ConnectionFailed,
    EngineDied,
    OutOfMemory,
    RateLimitError,
    ScriptExhausted,
    ServerError,
)
from tt_compute.registry import Registry
from tt_compute.testing import VirtualClock, backend_env, deployment_spec
from tt_compute.types import (
    Delta,
    Failed,
    GenerateRequest,
    Message,
    Sample,
    SamplingParams,
)

pytestmark = pytest.mark.anyio

Ended = list[Sample | Failed]


async def draw(
    options: dict[str, object],
    *,
    n: int = 1,
    prompt: str = "What is 6 times 7?",
    seed: int | None = 1,
    clock: VirtualClock | None = None,
    **request: Any,
) -> Ended:
    clock = clock or VirtualClock()
    spec = deployment_spec("mock", options=options)
    backend = await Registry().load("mock").create(spec, backend_env(clock=clock))
    messages = (Message(role="user", content=prompt),)
    sampling = SamplingParams(seed=seed)
    async with backend.open(
        GenerateRequest(messages=messages, sampling=sampling, **request)
    ) as generation:
        generation.draw(n)
        ended = [event async for event in generation if not isinstance(event, Delta)]
    await backend.aclose()
    return sorted(ended, key=lambda event: event.index)


def texts(ended: Ended) -> list[str]:
    return [event.text for event in ended]


async def test_a_script_is_played_in_order_and_its_end_is_an_error() -> None:
    ended = await draw({"script": ["one", "two"]}, n=3)
    assert texts(ended)[:2] == ["one", "two"]
    last = ended[2]
    assert isinstance(last, Failed)
    assert isinstance(last.error, ScriptExhausted)


async def test_answers_come_with_their_probabilities() -> None:
    options: dict[str, object] = {
        "answers": [{"text": "A", "probability": 0.75}, {"text": "B", "probability": 0.25}]
    }
    counts = Counter(texts(await draw(options, n=1000)))
    assert 0.70 < counts["A"] / 1000 < 0.80


async def test_a_sample_depends_on_prompt_seed_and_index_alone() -> None:
    """Neither on the wave it is drawn in nor on what was drawn before."""
    wave = texts(await draw({}, n=12))
    assert texts(await draw({}, n=5)) == wave[:5]
    assert texts(await draw({}, n=12)) == wave
    assert texts(await draw({}, n=12, seed=2)) != wave
    assert texts(await draw({}, n=12, prompt="What is 7 times 6?")) != wave


async def test_rules_answer_by_pattern_before_the_rest() -> None:
    options: dict[str, object] = {
        "rules": [{"pattern": "capital", "answers": ["Paris"]}],
        "answers": ["42"],
    }
    assert texts(await draw(options, prompt="The capital of France?")) == ["Paris"]
    assert texts(await draw(options)) == ["42"]


async def test_a_minute_of_latency_passes_in_virtual_time_only() -> None:
    clock = VirtualClock()
    options: dict[str, object] = {
        "answers": ["a b c d e f"],
        "latency": {"ttft_s": 60.0, "tokens_per_s": 1.0},
    }
    (ended,) = await draw(options, clock=clock)
    assert isinstance(ended, Sample)
    assert ended.timing.first_token_s == pytest.approx(60.0)
    assert clock.now() >= 60.0 + ended.usage.output_tokens - 1


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("rate_limit", RateLimitError),
        ("server_error", ServerError),
        ("connection", ConnectionFailed),
        ("oom", OutOfMemory),
    ],
)
async def test_a_fault_costs_its_sample_and_no_other(kind: str, error: type[Exception]) -> None:
    fault = {"kind": kind, "samples": [1], "after_tokens": 2, "retry_after_s": 7.0}
    ended = await draw({"answers": ["one two three four"], "faults": [fault]}, n=3)
    failed = ended[1]
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, error)
    assert [type(event) for event in ended] == [Sample, Failed, Sample]
    if kind == "rate_limit":
        assert (failed.error.retryable, failed.error.retry_after_s) == (True, 7.0)
    if kind == "connection":
        assert 0 < failed.usage.output_tokens <= 2
        assert "one two three four".startswith(failed.text)


async def test_an_engine_that_dies_fails_every_sample_then_raises() -> None:
    fault = {"kind": "engine_died", "samples": [0], "after_tokens": 1}
    with pytest.raises(EngineDied):
        await draw({"answers": ["one two three"], "faults": [fault]}, n=3)


async def test_a_stall_ends_at_the_deadline_with_what_was_there() -> None:
    options: dict[str, object] = {
        "answers": ["one two three four"],
        "faults": [{"kind": "stall", "after_tokens": 2}],
    }
    (ended,) = await draw(options, deadline=30.0)
    assert isinstance(ended, Sample)
    assert ended.finish_reason == "deadline"
    assert ended.usage.output_tokens == 2


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"answers": ["a"], "script": ["b"]}, "options"),
        ({"answers": [{"text": "a", "probability": 0.5}]}, "options"),
        ({"answers": [{"text": "a", "probability": 2}]}, "options.answers"),
        ({"answers": [{"text": text, "probability": 0.6} for text in "ab"] + ["c"]}, "options"),
        ({"faults": [{"kind": "earthquake"}]}, "options.faults"),
        ({"rules": [{"pattern": "(", "answers": ["a"]}]}, "options.rules"),
        ({"latency": {"tokens_per_s": 0}}, "options.latency"),
        ({"capabilities": {"telepathy": True}}, "options"),
        ({"anwers": ["a"]}, "options.anwers"),
        ({"rules": [{"pattern": "a", "prompt": "b", "answers": ["c"]}]}, "options.rules"),
        ({"limits": {"tokens_per_minute": 0}}, "options.limits"),
        ({"latency": {"ttft_s": {"p50": 1, "max": 2}}}, "options.latency"),
        ({"questions": {"count": 3}}, "options"),
    ],
)
async def test_a_bad_option_is_refused_with_its_path(options: dict[str, object], path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        await draw(options)
    assert caught.value.path.startswith(path)
