"""The backend keeps the protocol, and its options and sampling do what they say."""

from __future__ import annotations

import asyncio

import pytest

from tt_compute.backend import Backend, Generation
from tt_compute.errors import ConfigError
from tt_compute.registry import Registry, parse_options
from tt_compute.testing import (
    BackendConformance,
    Subject,
    VirtualClock,
    backend_env,
    deployment_spec,
)
from tt_compute.types import GenerateRequest, Message, Sample, SamplingParams
from tt_ngram import NgramBackend, NgramGeneration

# Type checkers hold the classes against the protocols here.
backend: type[Backend] = NgramBackend
generation: type[Generation] = NgramGeneration


class TestConformance(BackendConformance):
    """Every rule of the protocol, in virtual time."""

    may_skip = (
        "a_lost_engine_fails_every_sample",
        "continues_the_assistant",
        "keeps_json_schemas",
        "one_failure_spares_the_others",
        "stop_strings_cut_exactly",
    )

    async def create(self) -> Subject:
        clock = VirtualClock()
        spec = deployment_spec("ngram", options={"steps_per_s": 20})
        return Subject(
            backend=await NgramBackend.create(spec, backend_env(clock=clock)), clock=clock
        )


def write(temperature: float, seed: int) -> str:
    async def go() -> str:
        made = await NgramBackend.create(deployment_spec("ngram"), backend_env())
        request = GenerateRequest(
            messages=(Message(role="user", content="Tell of The keeper"),),
            sampling=SamplingParams(temperature=temperature, seed=seed, max_tokens=20),
        )
        async with made.open(request) as opened:
            opened.draw()
            (sample,) = [event async for event in opened if isinstance(event, Sample)]
        return sample.text

    return asyncio.run(go())


def test_it_goes_on_from_the_prompt() -> None:
    """What follows "The keeper" is what followed it in the text."""
    assert {write(1.0, seed).split()[0] for seed in range(20)} == {"of", "rang", "told"}


def test_temperature_0_does_not_depend_on_the_seed() -> None:
    assert len({write(0.0, seed) for seed in range(5)}) == 1
    assert len({write(1.0, seed) for seed in range(5)}) == 5


@pytest.mark.parametrize("options", [{"context_words": 0}, {"steps_per_s": 0}, {"order": 3}])
def test_bad_options_are_refused(options: dict[str, object]) -> None:
    """As they are for a deployment in ``ttc.yaml``."""
    with pytest.raises(ConfigError):
        parse_options(NgramBackend, deployment_spec("ngram", options=options))


def test_it_is_found_by_its_entry_point() -> None:
    """Where the package is installed, its name is enough."""
    assert Registry().load("ngram") is NgramBackend
