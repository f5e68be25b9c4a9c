"""Cascades through the client: who answers, what is told of it, what is learned."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from tt_compute.client import AsyncClient
from tt_compute.config import Config
from tt_compute.errors import UsageError
from tt_compute.planning.types import Objective, Plan
from tt_compute.results import Result
from tt_compute.testing.time import VirtualClock

Open = Callable[..., Any]
SURE = ["The answer is 42."]
TORN = ["The answer is 41.", "The answer is 40.", "The answer is 42.", "The answer is 39."]
PROMPT = "6 * 7 = ?"


@pytest.fixture
def cascade(environ: dict[str, str]) -> Open:
    """A client on two mocks: ``weak``, free, whose answers are given, and ``strong``, paid for."""

    @asynccontextmanager
    async def open_client(
        weak: list[str], strong: list[str] = SURE, **keys: Any
    ) -> AsyncGenerator[AsyncClient, None]:
        deployments = [
            {
                "id": "weak",
                "backend": "mock",
                "model": "mock",
                "hardware": "mock",
                "speed": {"ttft_s": 0.001, "decode_tokens_per_s": 5000},
                "price": {"usd_per_hour": 0},
                "options": {"answers": weak},
            },
            {
                "id": "mock/strong",
                "override": {"options": {"answers": strong, **keys.get("strong_options", {})}},
            },
        ]
        config = Config.from_mapping({"deployments": deployments}, environ=environ)
        async with AsyncClient(config, clock=VirtualClock(), environ=environ) as client:
            yield client

    return open_client


async def solve(client: AsyncClient, seed: int = 1, **options: Any) -> Result:
    options.setdefault("stop", "beta:0.8")
    return await client.solve(PROMPT, strategy="cascade", seed=seed, **options)


def votes_of(result: Result, deployment: str) -> Counter[str | None]:
    return Counter(one.answer for one in result.samples if one.deployment == deployment)


@pytest.mark.anyio
async def test_a_vote_that_the_rule_settles_stays_with_the_first_deployment(cascade: Open) -> None:
    async with cascade(SURE, TORN) as client:
        result = await solve(client)
    assert (result.answer, result.receipt.stop_reason) == ("42", "settled")
    assert {sample.deployment for sample in result.samples} == {"weak"}
    assert result.receipt.samples_drawn == 2
    assert result.confidence is not None


@pytest.mark.anyio
async def test_what_is_not_settled_goes_on_to_the_second_deployment(cascade: Open) -> None:
    """Every sample of both stands in the receipt, the cost is that of both."""
    async with cascade(TORN, SURE) as client:
        result = await solve(client, seed=4)
    assert result.answer == "42"
    drawn = [sample.deployment for sample in result.samples]
    assert set(drawn) == {"weak", "mock/strong"}
    assert [sample.index for sample in result.samples] == list(range(len(drawn)))
    assert result.receipt.samples_drawn == len(drawn)
    assert (result.receipt.cost_usd or 0) > 0
    assert result.confidence is not None


@pytest.mark.anyio
async def test_the_first_deployments_leader_stands_where_the_second_fails(cascade: Open) -> None:
    broken = {"faults": [{"kind": "authentication"}]}
    async with cascade(TORN, SURE, strong_options=broken) as client:
        result = await solve(client, seed=4)
    assert result.answer is not None
    assert any("failed" in warning for warning in result.warnings)


@pytest.mark.anyio
async def test_an_answer_before_the_deadline_beats_a_better_one_after_it(cascade: Open) -> None:
    """The second deployment takes five seconds, of which there are two."""
    slow = {"latency": {"ttft_s": 5.0, "tokens_per_s": 1.0}}
    async with cascade(TORN, SURE, strong_options=slow) as client:
        result = await solve(client, seed=4, objective=Objective(max_latency_s=2))
    assert result.receipt.stop_reason == "deadline"
    assert result.answer in {"39", "40", "41", "42"}
    assert result.receipt.latency_s == pytest.approx(2, abs=0.05)


@pytest.mark.anyio
async def test_a_verifier_hands_on_what_it_refuses(cascade: Open) -> None:
    async with cascade(["The answer is 41."], SURE) as client:
        result = await client.solve(PROMPT, strategy="cascade", verifier="exact=42", seed=1)
    assert (result.answer, result.receipt.stop_reason) == ("42", "verifier")
    assert {sample.deployment for sample in result.samples} == {"weak", "mock/strong"}


@pytest.mark.anyio
async def test_a_tie_of_the_second_vote_is_broken_by_the_first(cascade: Open) -> None:
    """Seeds at which the second deployment is torn between two answers of which the first gave one."""
    broken = 0
    async with cascade(["The answer is 41.", *TORN[1:2], *TORN[3:]], TORN[:2]) as client:
        plan = await client.plan(PROMPT, strategy="cascade", stop="lead:5")
        long = next(one for one in plan.candidates if one.first_samples == one.max_samples / 2 == 8)
        plan = msgspec.structs.replace(plan, chosen=long)
        for seed in range(40):
            result = await client.solve(PROMPT, plan=plan, seed=seed)
            first, second = votes_of(result, "weak"), votes_of(result, "mock/strong")
            if second["40"] != second["41"] or not second or first["40"] == first["41"]:
                continue
            broken += 1
            assert result.answer == max(("40", "41"), key=first.__getitem__)
    assert broken


@pytest.mark.anyio
async def test_a_cascade_is_saved_and_run_again_as_it_stands(cascade: Open) -> None:
    async with cascade(TORN, SURE) as client:
        plan: Plan = await client.plan(PROMPT, strategy="cascade")
        result = await client.solve(PROMPT, plan=plan, seed=4)
    assert plan.chosen is not None
    assert plan.chosen.then is not None
    assert result.plan.chosen == plan.chosen


@pytest.mark.anyio
async def test_only_the_first_deployment_learns(cascade: Open) -> None:
    """The questions that come to the second one are the hard ones, and say little of all."""
    async with cascade(TORN, SURE) as client:
        result = await solve(client, seed=4)
        assert len({sample.deployment for sample in result.samples}) == 2
        await client.feedback(result.id, correct=True)
        known = await client.estimates(mock=True)
    assert {one.model for one in known.abilities} == {"mock"}


@pytest.mark.anyio
async def test_one_deployment_makes_no_cascade(cascade: Open) -> None:
    async with cascade(TORN) as client:
        with pytest.raises(UsageError, match="no two of the deployments make a cascade"):
            await solve(client, deployment="weak")
