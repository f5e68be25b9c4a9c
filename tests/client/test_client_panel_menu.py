"""A panel that the plan chose: who is asked, what is told, and what holds when it is saved and run again."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tt_compute.client import AsyncClient
from tt_compute.config import Config
from tt_compute.errors import PlanError
from tt_compute.planning.batch import Budget
from tt_compute.planning.plan_file import load_plan, save_plan
from tt_compute.planning.types import Objective, Plan
from tt_compute.testing.time import VirtualClock

Open = Callable[..., Any]
PROMPT = "6 * 7 = ?"
CHEAPEST = Objective(quality=0.92, prefer="cost")
pytestmark = pytest.mark.anyio


def deployment(name: str, rate: float, usd: float, answer: int, **options: Any) -> dict[str, Any]:
    """A mock of a model of which nobody knows how its samples agree."""
    ability = {
        "success_rate": rate,
        "completion_tokens_mean": 5,
        "completion_tokens_p95": 6,
    }
    return {
        "id": name,
        "backend": "mock",
        "model": {"id": f"model-of-{name}", "abilities": {"math": ability}},
        "hardware": "mock",
        "speed": {"ttft_s": 0.1, "decode_tokens_per_s": 100},
        "price": {"usd_per_mtok": {"input": usd, "output": usd}},
        "options": {"answers": [f"The answer is {answer}."], **options},
    }


@pytest.fixture
def trio(environ: dict[str, str]) -> Open:
    """A client on three mocks: two cheap ones, which answer as is told, and a dear one that answers 42."""

    @asynccontextmanager
    async def open_client(
        first: int = 42, second: int = 42, **config: Any
    ) -> AsyncGenerator[AsyncClient, None]:
        deployments = [
            deployment("one", 0.85, 1.0, first),
            deployment("two", 0.84, 1.1, second),
            deployment("best", 0.95, 100.0, 42),
        ]
        made = Config.from_mapping({"deployments": deployments, **config}, environ=environ)
        async with AsyncClient(made, clock=VirtualClock(), environ=environ) as client:
            yield client

    return open_client


def chosen(plan: Plan) -> Any:
    assert plan.chosen is not None
    return plan.chosen


async def test_two_that_agree_spare_the_third(trio: Open) -> None:
    async with trio() as client:
        result = await client.solve(PROMPT, objective=CHEAPEST, seed=1)
    assert chosen(result.plan).strategy == "panel=one,two,best"
    assert [one.deployment for one in result.samples] == ["one", "two"]
    assert (result.answer, result.receipt.stop_reason) == ("42", "settled")
    assert result.receipt.predicted == chosen(result.plan).predicted
    assert result.confidence is not None
    assert result.confidence > 0.9


async def test_where_two_differ_the_best_is_asked(trio: Open) -> None:
    async with trio(first=41, second=40) as client:
        result = await client.solve(PROMPT, objective=CHEAPEST, seed=1)
    assert [one.deployment for one in result.samples] == ["one", "two", "best"]
    assert (result.answer, result.receipt.samples_drawn) == ("42", 3)


async def test_premises_are_of_every_member(trio: Open) -> None:
    async with trio() as client:
        plan = await client.plan(PROMPT, objective=CHEAPEST)
    assert {one.deployment for one in plan.premises} == {"one", "two", "best"}


async def test_a_saved_plan_runs_the_panel_that_was_chosen(trio: Open, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    async with trio(first=41) as client:
        save_plan(await client.plan(PROMPT, objective=CHEAPEST), path)
        result = await client.solve(PROMPT, plan=load_plan(path), seed=1)
    assert not result.warnings
    assert chosen(result.plan).strategy == "panel=one,two,best"
    assert [one.deployment for one in result.samples] == ["one", "two", "best"]


async def test_each_deployment_of_a_saved_panel_needs_one_place(environ: dict[str, str]) -> None:
    """Two are asked at once, and each of them takes one: nothing waits, and nothing is warned of."""
    narrow = [
        {**deployment(name, rate, usd, 42), "limits": {"max_concurrency": 1}}
        for name, rate, usd in (("one", 0.85, 1.0), ("two", 0.84, 1.1), ("best", 0.95, 100.0))
    ]
    config = Config.from_mapping({"deployments": narrow}, environ=environ)
    async with AsyncClient(config, clock=VirtualClock(), environ=environ) as client:
        plan = await client.plan(PROMPT, objective=CHEAPEST)
        result = await client.solve(PROMPT, plan=plan, seed=1)
    assert chosen(plan).members
    assert not result.warnings


async def test_a_saved_panel_is_refused_once_a_member_is_gone(
    trio: Open, environ: dict[str, str]
) -> None:
    async with trio() as client:
        plan = await client.plan(PROMPT, objective=CHEAPEST)
    left = [deployment("one", 0.85, 1.0, 42), deployment("best", 0.95, 100.0, 42)]
    config = Config.from_mapping({"deployments": left}, environ=environ)
    async with AsyncClient(config, clock=VirtualClock(), environ=environ) as client:
        with pytest.raises(PlanError, match="'two' does not exist any more"):
            await client.solve(PROMPT, plan=plan)


async def test_the_runs_cap_holds_for_the_dear_member_too(trio: Open) -> None:
    """A panel that its cap lets begin does not pass it, whoever is asked."""
    cap = Objective(quality=0.92, prefer="cost", max_cost_usd=1e-3)
    async with trio(first=41, second=40) as client:
        plan = await client.plan(PROMPT, objective=cap)
        result = await client.solve(PROMPT, objective=cap, seed=1)
    assert chosen(plan).members
    assert result.receipt.cost_usd is not None
    assert result.receipt.cost_usd <= 1e-3
    assert "best" not in {one.deployment for one in result.samples if one.answer is not None}


async def test_a_budget_sets_aside_what_all_members_may_take(trio: Open) -> None:
    budget = Budget(max_cost_usd=0.1)
    async with trio(first=41, second=40) as client:
        results = await client.solve_many([PROMPT] * 4, objective=CHEAPEST, budget=budget)
    assert len(results) == 4
    assert sum(one.receipt.cost_usd for one in results) <= 0.1


async def test_prompts_that_stay_here_are_asked_of_no_service(
    environ: dict[str, str],
) -> None:
    """The mock is local; the other two are not, and no panel asks them."""
    away = [
        {
            **deployment(name, 0.9, 1.0, 42),
            "hardware": {"id": "fleet", "device": "asic", "local": False},
        }
        for name in ("two", "best")
    ]
    here = deployment("one", 0.85, 1.0, 42)
    config = Config.from_mapping({"deployments": [here, *away]}, environ=environ)
    async with AsyncClient(config, clock=VirtualClock(), environ=environ) as client:
        plan = await client.plan(PROMPT, objective=Objective(locality="local"))
    assert {one.deployment for one in plan.candidates} == {"one"}
    assert all(not one.members for one in plan.candidates)
