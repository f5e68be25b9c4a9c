"""Whatever the deployment does, a search ends, loses no sample, and its receipt adds up."""

from __future__ import annotations

import asyncio
import tempfile
from typing import Any

import anyio
import hypothesis
import hypothesis.strategies as some
import pytest

from tt_compute.client import AsyncClient
from tt_compute.config import Config
from tt_compute.errors import TTComputeError
from tt_compute.planning.types import Objective
from tt_compute.results import Result
from tt_compute.strategies.base import Strategy
from tt_compute.strategies.beam import Beam
from tt_compute.strategies.budget_forcing import BudgetForcing
from tt_compute.strategies.deepconf import DeepConf
from tt_compute.strategies.dvts import DVTS
from tt_compute.strategies.mixture import Mixture
from tt_compute.strategies.panel import Panel
from tt_compute.strategies.refine import Refine
from tt_compute.strategies.revise import Revise
from tt_compute.strategies.tree_of_thought import Thoughts, TreeOfThought
from tt_compute.testing.time import VirtualClock

TEXTS = [
    "",
    "\n\n",
    "The answer is 42.",
    "First.\n\nSecond.\n\nIt is 41",
    "<think>Hm.</think>The answer is 42.",
    "<think>Hm, hm",
    "Yes",
    "NO MISTAKES",
]
FAULTS = ["rate_limit", "server_error", "connection", "malformed", "oom", "stall", "engine_died"]


async def _propose(state: Thoughts, model: Any) -> list[str]:
    return list(await model.ask(f"Go on: {state.text}", 2))


async def _evaluate(state: Thoughts, _model: Any) -> float:
    return float(len(state.text))


STRATEGIES: list[Strategy] = [
    Beam(),
    Beam(width=3, branching=3, scorer="p_true"),
    DVTS(choose="best"),
    TreeOfThought(propose=_propose, evaluate=_evaluate),
    TreeOfThought(propose=_propose, evaluate=_evaluate, search="dfs"),
    Revise(chains=2),
    Refine(),
    BudgetForcing(waits=2, thinking_tokens=3),
    DeepConf(warmup=3, window=2, top=2, keep=0.5),
    Mixture(layers=2, proposals=3),
    Panel(("m", "m", "m")),
]

Options = dict[str, Any]

faults: some.SearchStrategy[Options] = some.fixed_dictionaries(
    {
        "kind": some.sampled_from(FAULTS),
        "rate": some.sampled_from([0.1, 0.5, 1.0]),
        "after_tokens": some.integers(0, 4),
    }
)
latencies: some.SearchStrategy[Options] = some.fixed_dictionaries(
    {"ttft_s": some.sampled_from([0.0, 0.5]), "tokens_per_s": some.sampled_from([None, 4.0])}
)
mocks: some.SearchStrategy[Options] = some.fixed_dictionaries(
    {
        "answers": some.lists(some.sampled_from(TEXTS), min_size=1, max_size=4),
        "faults": some.lists(faults, max_size=2),
        "latency": latencies,
    }
)


async def _solve(
    strategy: Strategy, mock: Options, *, may_fail: bool = True, **options: Any
) -> Result | None:
    """The result, or that of a run that failed; None where it failed before a sample was drawn."""
    with tempfile.TemporaryDirectory() as folder:
        environ = {"TTC_DATA_DIR": folder, "TTC_CACHE_DIR": folder}
        deployment = {"id": "m", "backend": "mock", "model": "mock", "hardware": "mock"}
        config = Config.from_mapping(
            {"deployments": [{**deployment, "options": mock}]}, environ=environ
        )
        async with AsyncClient(config, clock=VirtualClock(), environ=environ) as client:
            try:
                return await client.solve(
                    "What is 6 times 7?", strategy=strategy, max_tokens=12, **options
                )
            except TTComputeError as error:
                if not may_fail:
                    raise
                return error.partial if isinstance(error.partial, Result) else None
            finally:
                setup = client._setup  # pyright: ignore[reportPrivateUsage] - nothing public tells what is live
                assert setup.dispatcher.conditions(setup.spec("m")).live_rows == 0


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda one: one.name)
@hypothesis.settings(max_examples=12)
@hypothesis.given(
    mock=mocks,
    seed=some.integers(0, 3),
    max_samples=some.integers(1, 9),
    max_latency_s=some.sampled_from([None, 1.0, 3.0]),
)
def test_receipts_add_up_and_nothing_stays_live(
    strategy: Strategy,
    mock: Options,
    seed: int,
    max_samples: int,
    max_latency_s: float | None,
) -> None:
    stalls = any(fault["kind"] == "stall" for fault in mock["faults"])
    hypothesis.assume(not stalls or max_latency_s is not None)
    objective = Objective(max_samples=max_samples, max_latency_s=max_latency_s)
    result = asyncio.run(_solve(strategy, mock, seed=seed, objective=objective))
    if result is None:
        return
    receipt = result.receipt
    ended = receipt.samples_finished + receipt.samples_cancelled + receipt.samples_failed
    assert receipt.samples_drawn == ended == len(result.samples) <= max_samples
    assert receipt.cancelled_tokens <= receipt.output_tokens
    assert receipt.output_tokens == sum(sample.output_tokens for sample in result.samples)
    assert [sample.index for sample in result.samples] == list(range(ended))
    if max_latency_s is not None:
        assert receipt.latency_s <= max_latency_s + 1e-6


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda one: one.name)
def test_the_same_seed_gives_the_same_run(strategy: Strategy) -> None:
    mock = {"answers": TEXTS, "latency": {"ttft_s": 0.1, "tokens_per_s": 7.0}}
    runs = [asyncio.run(_solve(strategy, mock, seed=5)) for _ in range(2)]
    assert runs[0] is not None
    assert runs[1] is not None
    assert runs[0].samples == runs[1].samples
    assert (runs[0].answer, runs[0].text) == (runs[1].answer, runs[1].text)


def test_what_a_search_found_without_a_sample_is_an_answer_at_the_deadline() -> None:
    async def propose(state: Thoughts, _model: Any) -> list[str]:
        if state.thoughts:
            await anyio.sleep_forever()
        return [r"\boxed{42}"]

    strategy = TreeOfThought(propose=propose, evaluate=_evaluate, depth=2)
    objective = Objective(max_latency_s=1.0)
    result = asyncio.run(_solve(strategy, {}, may_fail=False, objective=objective))
    assert result is not None
    assert (result.answer, result.receipt.stop_reason) == ("42", "deadline")
