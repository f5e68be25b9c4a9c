"""``generate`` and ``open``: samples as they are, no strategy between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from tt_compute.client import AsyncClient, Client
from tt_compute.config import Config
from tt_compute.errors import (
    EngineDied,
    GenerationClosed,
    InvalidRequestError,
    UnknownNameError,
    UnsupportedError,
    UsageError,
)
from tt_compute.types import Delta, Failed, Sample, SamplingParams, sample_seed

Connect = Callable[..., Client]
ConnectAsync = Callable[..., AsyncClient]

SLOW = {"latency": {"ttft_s": 1.0, "tokens_per_s": 1.0}}


def test_generate_gives_n_samples_by_index(connect: Connect) -> None:
    client = connect(latency={"ttft_s": {"p50": 0.001, "p95": 0.01}})
    samples = client.generate("6 * 7 = ?", deployment="scripted", n=5)
    assert [sample.index for sample in samples] == list(range(5))
    assert all(isinstance(sample, Sample) for sample in samples)


def test_a_failed_sample_stands_in_its_place(connect: Connect) -> None:
    client = connect(faults=[{"kind": "oom", "samples": [1]}])
    kinds = [type(one) for one in client.generate("6 * 7 = ?", deployment="scripted", n=3)]
    assert kinds == [Sample, Failed, Sample]


def test_a_lost_engine_is_an_error(connect: Connect) -> None:
    client = connect(faults=[{"kind": "engine_died", "samples": [1]}])
    with pytest.raises(EngineDied):
        client.generate("6 * 7 = ?", deployment="scripted", n=3)


def test_the_seed_of_sample_k_is_the_one_documented(connect: Connect) -> None:
    """The same seed gives the same sample alone and among others."""
    client = connect(completion_tokens=20)
    sampling = SamplingParams(seed=9)
    many = client.generate("hi", deployment="scripted", n=4, sampling=sampling)
    one = client.generate("hi", deployment="scripted", n=1, sampling=sampling)
    assert [entry.text for entry in one] == [many[0].text]
    assert sample_seed(9, 0) != sample_seed(9, 1)


def test_generate_cuts_at_the_deadline(connect: Connect) -> None:
    client = connect(faults=[{"kind": "stall"}])
    (sample,) = client.generate("6 * 7 = ?", deployment="scripted", max_latency_s=0.05)
    assert isinstance(sample, Sample)
    assert sample.finish_reason == "deadline"


@pytest.mark.parametrize("n", [0, -1])
def test_generate_refuses_what_is_no_number_of_samples(connect: Connect, n: int) -> None:
    with pytest.raises(InvalidRequestError, match="n must be"):
        connect().generate("6 * 7 = ?", deployment="scripted", n=n)


@pytest.mark.parametrize("limit_s", [0.0, -1.0, float("nan"), float("inf")])
def test_generate_refuses_what_is_no_latency(connect: Connect, limit_s: float) -> None:
    with pytest.raises(InvalidRequestError, match="max_latency_s"):
        connect().generate("6 * 7 = ?", deployment="scripted", max_latency_s=limit_s)


def test_generate_needs_a_deployment_that_exists(connect: Connect) -> None:
    with pytest.raises(UnknownNameError, match="nowhere"):
        connect().generate("6 * 7 = ?", deployment="nowhere")


def test_generate_refuses_an_ability_that_is_missing(connect: Connect) -> None:
    client = connect(capabilities={"max_logprobs": 0})
    with pytest.raises(UnsupportedError, match="logprobs"):
        client.generate("hi", deployment="scripted", sampling=SamplingParams(logprobs=1))


def test_warm_on_a_deployment_without_weights_does_nothing(connect: Connect) -> None:
    client = connect()
    client.warm("scripted")
    with pytest.raises(UnknownNameError):
        client.warm("nowhere")


@pytest.mark.anyio
async def test_open_lends_the_protocol(connect_async: ConnectAsync) -> None:
    """Draw as needed, stop any one, draw again after the iteration ended."""
    async with connect_async(**SLOW) as client:
        async with client.open("6 * 7 = ?", deployment="scripted", deltas="text") as generation:
            assert list(generation.draw(2)) == [0, 1]
            ended: list[Sample] = []
            async for event in generation:
                if isinstance(event, Delta) and event.index == 1:
                    generation.cancel(1)
                if isinstance(event, Sample):
                    ended.append(event)
            reasons = {sample.index: sample.finish_reason for sample in ended}
            assert reasons == {0: "stop", 1: "cancelled"}
            assert ended[0].index == 1
            assert ended[0].usage.output_tokens >= 1
            generation.draw()
            later = [event.index async for event in generation if isinstance(event, Sample)]
            assert later == [2]
        with pytest.raises(GenerationClosed):
            generation.draw()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("prompt", 5),
        ("system", 5),
        ("sampling", {"temperature": 1.0}),
        ("response_format", {"type": "object"}),
        ("max_latency_s", "soon"),
        ("deployment", 5),
        ("n", "2"),
    ],
)
@pytest.mark.anyio
async def test_options_of_another_type_are_refused(
    connect_async: ConnectAsync, option: str, value: object
) -> None:
    given: dict[str, Any] = {"prompt": "6 * 7 = ?", "deployment": "scripted", option: value}
    async with connect_async() as client:
        with pytest.raises(InvalidRequestError):
            await client.generate(**given)


@pytest.mark.anyio
async def test_a_second_reader_is_refused_and_the_first_goes_on(
    connect_async: ConnectAsync,
) -> None:
    """It would wait for events that the other one has taken."""
    async with (
        connect_async(**SLOW) as client,
        client.open("6 * 7 = ?", deployment="scripted") as generation,
    ):
        generation.draw()
        ended: list[Sample] = []
        refused: list[UsageError] = []

        async def read() -> None:
            try:
                ended.extend([event async for event in generation if isinstance(event, Sample)])
            except UsageError as error:
                refused.append(error)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            tasks.start_soon(read)
    assert len(ended) == len(refused) == 1
    assert "second consumer" in refused[0].message


@pytest.mark.anyio
async def test_leaving_the_scope_ends_what_runs(connect_async: ConnectAsync) -> None:
    """No time passes over it, and the client serves the next request."""
    async with connect_async(**SLOW) as client:
        async with client.open("6 * 7 = ?", deployment="scripted") as generation:
            generation.draw(3)
        samples = await client.generate("6 * 7 = ?", deployment="scripted")
    assert len(samples) == 1


def test_prompts_that_stay_local_go_nowhere_else(environ: dict[str, str]) -> None:
    """Not by naming a deployment, either: nothing is opened there."""
    question, texts, there = "6 * 7 = ?", ["42"], "away"
    away = {"id": "away", "backend": "mock", "model": "mock", "hardware": "groq-lpu-cloud"}
    stated = {"deployments": ["mock", away], "objective": {"locality": "local"}}
    with Client(Config.from_mapping(stated, environ=environ), environ=environ) as client:
        assert client.generate(question, deployment="mock")
        for ask in (
            lambda: client.generate(question, deployment=there),
            lambda: client.score(question, texts, deployment=there),
            lambda: client.embed(texts, deployment=there),
            lambda: client.loglikelihood(question, texts, deployment=there),
        ):
            with pytest.raises(InvalidRequestError, match="'away' is not local"):
                ask()
