"""Many requests under one budget: spent where it brings most, and never more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

import tt_compute as tt
from tt_compute.client import AsyncClient, Client
from tt_compute.config import Config
from tt_compute.errors import InfeasibleError, InvalidRequestError, SpendCapReached
from tt_compute.many import Item
from tt_compute.testing.time import VirtualClock

Connect = Callable[..., Client]

TEXT = "The answer is 42. " * 4


def priced(
    name: str, success_rate: float, usd_per_mtok: float | None, **more: Any
) -> dict[str, Any]:
    """A mock with a price whose samples are right as often as its profile says."""
    ability = {
        "success_rate": success_rate,
        "concentration": 3,
        "wrong_agreement": 0.3,
        "abstain_rate": 0,
        "completion_tokens_mean": 20,
        "completion_tokens_p95": 40,
    }
    answers = [
        {"text": TEXT, "probability": success_rate},
        {"text": TEXT.replace("42", "41"), "probability": 1 - success_rate},
    ]
    price = {"usd_per_mtok": {"input": usd_per_mtok, "output": usd_per_mtok}}
    return {
        "id": name,
        "backend": "mock",
        "model": {"id": f"model-{name}", "abilities": {"math": ability, "open": ability}},
        "hardware": "mock",
        "speed": {"ttft_s": 0.1, "decode_tokens_per_s": 100},
        "options": {"answers": answers, "latency": {"ttft_s": 1.0, "tokens_per_s": 100.0}},
        **({} if usd_per_mtok is None else {"price": price}),
        **more,
    }


FLEET = [priced("cheap", 0.55, 10), priced("dear", 0.85, 100)]
QUESTIONS: list[Item] = [f"{n} * 7 = ?" for n in range(20)]


@pytest.fixture
def client_of(environ: dict[str, str]) -> Callable[..., AsyncClient]:
    def make(*deployments: dict[str, Any], **more: Any) -> AsyncClient:
        config = Config.from_mapping(
            {"deployments": list(deployments or FLEET), **more}, environ=environ
        )
        return AsyncClient(config, clock=VirtualClock(), environ=environ)

    return make


def spent(results: Sequence[object]) -> float:
    total = 0.0
    for result in results:
        if isinstance(result, tt.Result):
            assert result.receipt.cost_usd is not None
            total += result.receipt.cost_usd
    return total


def expected(results: list[tt.Result]) -> float:
    """Mean of the predicted qualities."""
    qualities = [result.receipt.predicted.quality or 0.0 for result in results]
    return sum(qualities) / len(qualities)


pytestmark = pytest.mark.anyio

ClientOf = Callable[..., AsyncClient]


@pytest.mark.parametrize("concurrency", [1, 8])
@pytest.mark.parametrize("budget_usd", [0.03, 0.06, 0.2, 1.0])
async def test_the_budget_is_never_exceeded(
    client_of: ClientOf, budget_usd: float, concurrency: int
) -> None:
    async with client_of() as client:
        results = await client.solve_many(
            QUESTIONS, budget=tt.Budget(max_cost_usd=budget_usd), concurrency=concurrency, seed=1
        )
    assert len(results) == len(QUESTIONS)
    assert 0 < spent(results) <= budget_usd


async def test_a_larger_budget_buys_more_quality(client_of: ClientOf) -> None:
    found: list[float] = []
    async with client_of() as client:
        for usd in (0.03, 0.1, 0.3, 1.0):
            budget = tt.Budget(max_cost_usd=usd)
            found.append(expected(await client.solve_many(QUESTIONS, budget=budget, seed=1)))
    assert found == sorted(found)
    assert found[-1] > found[0] + 0.1


async def test_it_is_spent_where_it_pays(client_of: ClientOf) -> None:
    """An item that may not be voted on cannot use what another one can."""
    items: list[Item] = [{"prompt": "1 * 7 = ?", "strategy": "single"}, "2 * 7 = ?"]
    async with client_of(FLEET[1]) as client:
        one, other = await client.solve_many(items, budget=tt.Budget(max_cost_usd=0.3))
    assert one.plan.chosen is not None
    assert other.plan.chosen is not None
    assert (one.plan.chosen.max_samples, other.plan.chosen.max_samples) == (1, 16)


async def test_what_was_saved_goes_to_the_items_still_open(client_of: ClientOf) -> None:
    """Samples turn out shorter than their profile says."""
    short = priced("short", 0.7, 100)
    short["options"] = {"answers": ["42", {"text": "41", "probability": 0.3}]}
    async with client_of(short) as client:
        budget = tt.Budget(max_cost_usd=0.1)
        results = await client.solve_many(QUESTIONS, budget=budget, concurrency=1, seed=1)
    budgets = [result.plan.chosen.max_samples for result in results if result.plan.chosen]
    assert sum(budgets[-5:]) > sum(budgets[:5])
    assert spent(results) <= 0.1


async def test_samples_can_be_the_budget(client_of: ClientOf) -> None:
    """Also where nothing has a price."""
    async with client_of(priced("free", 0.6, None)) as client:
        results = await client.solve_many(QUESTIONS, budget=tt.Budget(max_samples=70), seed=1)
    drawn = sum(result.receipt.samples_drawn for result in results)
    assert len(QUESTIONS) < drawn <= 70


async def test_energy_is_charged_as_predicted(client_of: ClientOf) -> None:
    power = {"id": "board", "device": "mock", "power": {"idle_w": 10, "peak_w": 100}}
    async with client_of(priced("one", 0.6, None, hardware=power)) as client:
        limit = 20 * 100 * 0.5
        results = await client.solve_many(QUESTIONS, budget=tt.Budget(max_energy_j=limit))
    predicted = [result.receipt.predicted.energy_j or 0.0 for result in results]
    assert 0 < sum(predicted) <= limit


async def test_all_limits_hold_together(client_of: ClientOf) -> None:
    async with client_of() as client:
        budget = tt.Budget(max_cost_usd=0.2, max_samples=60)
        results = await client.solve_many(QUESTIONS, budget=budget, seed=1)
    assert spent(results) <= 0.2
    assert sum(result.receipt.samples_drawn for result in results) <= 60


async def test_a_budget_that_is_too_small_is_refused_before_anything_runs(
    client_of: ClientOf,
) -> None:
    told: list[int] = []
    async with client_of() as client:
        with pytest.raises(InfeasibleError, match=r"20 items take at least .* USD"):
            await client.solve_many(
                QUESTIONS,
                budget=tt.Budget(max_cost_usd=0.001),
                on_error="return",
                progress=lambda place, _outcome: told.append(place),
            )
    assert told == []


async def test_a_budget_that_is_accepted_covers_all_that_runs_as_expected(
    client_of: ClientOf,
) -> None:
    """What the last item must set aside is kept for it; all samples are as long as their profile says."""
    exact = priced("exact", 0.7, 100)
    exact["model"]["abilities"]["math"] |= {"completion_tokens_p95": 20}
    exact["options"] = {"answers": [TEXT]}
    accepted = 0
    async with client_of(exact) as client:
        for step in range(30):
            budget = tt.Budget(max_cost_usd=0.01 + 0.001 * step)
            try:
                results = await client.solve_many(QUESTIONS[:5], budget=budget)
            except InfeasibleError:
                assert accepted == 0
                continue
            accepted += 1
            assert len(results) == 5
    assert 0 < accepted < 30


async def test_an_unknown_price_is_no_price(client_of: ClientOf) -> None:
    async with client_of(
        priced("free", 0.6, None, hardware={"id": "h", "device": "mock"})
    ) as client:
        with pytest.raises(InfeasibleError, match="cost_usd") as caught:
            await client.solve_many(QUESTIONS, budget=tt.Budget(max_cost_usd=1.0))
    assert caught.value.hint is not None


async def test_without_a_known_quality_the_cheapest_way_is_taken(client_of: ClientOf) -> None:
    """Nothing tells that more pays."""
    unknown = priced("a", 0.6, 10)
    lengths = {"completion_tokens_mean": 20, "completion_tokens_p95": 40}
    unknown["model"] = {"id": "m", "abilities": {"math": lengths, "open": lengths}}
    async with client_of(unknown) as client:
        results = await client.solve_many(QUESTIONS, budget=tt.Budget(max_samples=1000))
    assert {result.receipt.samples_drawn for result in results} == {1}


async def test_when_more_was_taken_than_expected_the_last_items_are_refused(
    client_of: ClientOf,
) -> None:
    """Samples run to their limit, three times as long as the profile says; what is spent stays below."""
    long = priced("long", 0.6, 100)
    long["options"] = {"answers": ["word " * 200]}
    async with client_of(long) as client:
        budget = tt.Budget(max_cost_usd=0.1)
        results = await client.solve_many(QUESTIONS, budget=budget, on_error="return", seed=1)
    refused = [result for result in results if isinstance(result, SpendCapReached)]
    assert refused
    assert len(refused) < len(QUESTIONS)
    assert "left of the budget" in refused[0].message
    assert spent(results) <= 0.1


async def test_a_failed_item_is_charged_for_what_it_drew(client_of: ClientOf) -> None:
    """A run that ends with an error has a receipt, too."""
    broken = priced("broken", 0.6, 100)
    broken["options"]["faults"] = [{"kind": "malformed", "pattern": "poison"}]
    items: list[Item] = ["poison 3 * 3 = ?"] * 3 + QUESTIONS
    async with client_of(broken) as client:
        outcomes = await client.solve_many(
            items, budget=tt.Budget(max_samples=60), on_error="return", seed=1
        )
    partial = [one.partial for one in outcomes if isinstance(one, tt.TTComputeError)]
    runs = [one for one in (*partial, *outcomes) if isinstance(one, tt.Result)]
    assert len(partial) == 3
    assert sum(run.receipt.samples_drawn for run in runs) <= 60


async def test_an_item_that_cannot_be_planned_stands_in_its_place(client_of: ClientOf) -> None:
    items: list[Item] = ["1 * 7 = ?", "", {"no": "prompt"}, "2 * 7 = ?"]
    budget = tt.Budget(max_cost_usd=0.1)
    async with client_of() as client:
        outcomes = await client.solve_many(items, budget=budget, on_error="return")
        with pytest.raises(InvalidRequestError):
            await client.solve_many(items, budget=budget)
    kinds = [tt.Result, InvalidRequestError, InvalidRequestError, tt.Result]
    assert [type(one) for one in outcomes] == kinds


async def test_an_items_own_cap_stays(client_of: ClientOf) -> None:
    own = tt.Objective(max_cost_usd=0.002)
    items: list[Item] = [{"prompt": "1 * 7 = ?", "objective": own, "deployment": "cheap"}]
    async with client_of() as client:
        (result,) = await client.solve_many(items, budget=tt.Budget(max_cost_usd=1.0))
    assert result.plan.objective.max_cost_usd == 0.002


@pytest.mark.parametrize(
    ("items", "budget", "word"),
    [
        ((question for question in ["1 * 7 = ?"]), tt.Budget(max_samples=9), "list"),
        (["1 * 7 = ?"], {"max_samples": 9}, "Budget"),
        ("1 * 7 = ?", tt.Budget(max_samples=9), "one prompt"),
    ],
)
async def test_what_cannot_be_shared_out_is_refused(
    client_of: ClientOf, items: Any, budget: Any, word: str
) -> None:
    """A generator is not read ahead behind the caller's back."""
    async with client_of() as client:
        with pytest.raises(InvalidRequestError, match=word):
            await client.solve_many(items, budget=budget)


async def test_a_plan_beside_a_budget_is_refused(client_of: ClientOf) -> None:
    async with client_of() as client:
        plan = await client.plan("1 * 7 = ?")
        with pytest.raises(InvalidRequestError, match="beside a budget"):
            await client.solve_many(["1 * 7 = ?"], budget=tt.Budget(max_samples=9), plan=plan)


async def test_no_items_cost_nothing(client_of: ClientOf) -> None:
    async with client_of() as client:
        assert await client.solve_many([], budget=tt.Budget(max_samples=1)) == []


@pytest.mark.parametrize("strategy", ["panel=cheap,other,dear", "cascade"])
async def test_what_is_set_aside_covers_every_deployment_that_a_plan_may_ask(
    client_of: ClientOf, strategy: str
) -> None:
    """Else the dearer one is refused its samples, however much of the budget is left."""
    fleet = [priced("cheap", 0.6, 1), priced("other", 0.4, 1), priced("dear", 0.9, 200)]
    async with client_of(*fleet) as client:
        budget = tt.Budget(max_cost_usd=1.0)
        results = await client.solve_many(QUESTIONS, budget=budget, strategy=strategy, seed=1)
    assert any(result.samples[-1].deployment == "dear" for result in results)
    assert sum(result.receipt.samples_failed for result in results) == 0
    assert spent(results) <= 1.0


async def test_a_panel_takes_no_more_samples_of_a_budget_than_it_has_deployments(
    client_of: ClientOf,
) -> None:
    async with client_of() as client:
        budget = tt.Budget(max_samples=2 * len(QUESTIONS))
        results = await client.solve_many(
            QUESTIONS, budget=budget, strategy="panel=cheap,dear", seed=1
        )
    assert sum(result.receipt.samples_drawn for result in results) == 2 * len(QUESTIONS)
