"""The two seed contracts, on the real model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

import tt_compute as tt
from tt_compute.types import GenerateRequest, SamplingParams

pytestmark = pytest.mark.model

Ask = Callable[..., GenerateRequest]
PROMPT = "Write the first sentence of a story about " + "a very " * 20 + "old lighthouse."
OTHER = "List some animals that live near " + "the deep blue " * 12 + "sea."


def test_equal_waves_give_equal_samples(rows: Any, ask: Ask) -> None:
    """The contract ``schedule``: the same rows batched at the same time, one wave cold and one warm."""
    assert rows.runtime._loaded().capabilities.seed == "schedule"
    request = ask(PROMPT, temperature=1.0)
    first = rows.wave(request, 8, seed=5)
    assert len(set(first)) > 1
    assert rows.wave(request, 8, seed=5) == first


def test_other_seeds_give_other_samples(rows: Any, ask: Ask) -> None:
    """No sample is shared between two seeds."""
    request = ask(PROMPT, temperature=1.2)
    assert not set(rows.wave(request, 4, seed=5)) & set(rows.wave(request, 4, seed=6))


def test_exact_samples_are_the_same_alone_in_any_wave_and_beside_other_traffic(
    embedded_model: Path,
) -> None:
    """The contract ``exact``, through the backend: its engine runs one row at a time in that mode."""
    exact = {
        "id": "exact",
        "options": {"reproducible": True},
        "source": {"path": str(embedded_model)},
    }
    config = tt.Config.from_mapping(
        {
            "deployments": [{"id": "local/smollm2-135m-openvino", "override": exact}],
            "store": {"enabled": False},
        }
    )
    sampling = SamplingParams(temperature=1.0, max_tokens=32, seed=9)

    async def draw(client: tt.AsyncClient, prompt: str, n: int) -> list[str]:
        samples = await client.generate(prompt, deployment="exact", n=n, sampling=sampling)
        return [sample.text for sample in samples]

    async def main() -> None:
        async with tt.AsyncClient(config) as client:
            wave = await draw(client, PROMPT, 8)
            assert len(set(wave)) > 4
            assert await draw(client, PROMPT, 1) == wave[:1]
            async with anyio.create_task_group() as group:
                group.start_soon(draw, client, OTHER, 3)
                assert await draw(client, PROMPT, 4) == wave[:4]

    anyio.run(main)
