"""The two seed contracts, on the real model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tt_compute.types import GenerateRequest
from tt_compute_backends.engine.runtime import Runtime

pytestmark = pytest.mark.model

Ask = Callable[..., GenerateRequest]
PROMPT = "Write the first sentence of a story about " + "a very " * 20 + "old lighthouse."
OTHER = "List some animals that live near " + "the deep blue " * 12 + "sea."


@pytest.fixture(scope="module")
def exact_runtime(load_request: Callable[..., Any]) -> Iterator[Runtime]:
    from tt_compute_backends.openvino_runtime import OpenVinoRuntime

    runtime = OpenVinoRuntime()
    loaded = runtime.load(load_request(reproducible=True))
    assert loaded.capabilities.seed == "exact"
    yield runtime
    runtime.close()


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
    exact_runtime: Runtime, row_runner: Any, ask: Ask
) -> None:
    """The contract ``exact``."""
    runner = row_runner(exact_runtime)
    request, other = ask(PROMPT, temperature=1.0), ask(OTHER, temperature=1.0, max_tokens=40)
    wave = runner.wave(request, 16, seed=9)
    assert len(set(wave)) > 8
    for index in range(4):
        row = runner.add(request, seed=9, index=index)
        runner.finish()
        assert runner.results[row].text == wave[index]
    assert runner.wave(request, 4, seed=9) == wave[:4]
    busy = [runner.add(other, seed=1, index=index) for index in range(5)]
    for _ in range(3):
        runner.step()
    assert runner.wave(request, 4, seed=9) == wave[:4]
    assert all(runner.results[row].tokens for row in busy)
