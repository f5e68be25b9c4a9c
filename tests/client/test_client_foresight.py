"""What plans foresee of strategies that draw a known number of samples, against what their runs come to."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tt_compute.client import AsyncClient
from tt_compute.config import Config
from tt_compute.foresight import most_drawn
from tt_compute.planning.batch import Budget
from tt_compute.planning.batches import predict_batches
from tt_compute.planning.types import Objective, Plan, Prediction
from tt_compute.results import Result
from tt_compute.strategies.mixture import frame
from tt_compute.testing.time import VirtualClock

Open = Callable[..., Any]
PROMPT = "6 * 7 = ?"
ANSWER_TOKENS = 5
pytestmark = pytest.mark.anyio


def deployment(
    name: str, ttft_s: float, tokens_per_s: float, usd: float, **changes: Any
) -> dict[str, Any]:
    """A mock that keeps to what its profile says; only its output costs anything."""
    ability = {
        "completion_tokens_mean": ANSWER_TOKENS,
        "completion_tokens_p95": ANSWER_TOKENS,
    }
    return {
        "id": name,
        "backend": "mock",
        "model": {"id": f"model-of-{name}", "abilities": {"math": ability}},
        "hardware": "mock",
        "speed": {"ttft_s": {"p50": ttft_s, "p95": ttft_s}, "decode_tokens_per_s": tokens_per_s},
        "price": {"usd_per_mtok": {"input": 0, "output": usd}},
        "options": {
            "answers": ["The answer is 42."],
            "latency": {"ttft_s": ttft_s, "tokens_per_s": tokens_per_s},
        },
        **changes,
    }


@pytest.fixture
def trio(environ: dict[str, str]) -> Open:
    """A client on a quick, a middling and a slow mock, save as ``changes`` has it for all of them."""

    @asynccontextmanager
    async def open_client(**changes: Any) -> AsyncGenerator[AsyncClient, None]:
        deployments = [
            deployment("a", 0.1, 10, 1.0, **changes),
            deployment("b", 0.2, 20, 2.0, **changes),
            deployment("c", 0.3, 5, 10.0, **changes),
        ]
        made = Config.from_mapping({"deployments": deployments}, environ=environ)
        async with AsyncClient(made, clock=VirtualClock(), environ=environ) as client:
            yield client

    return open_client


def predicted(plan: Plan) -> Prediction:
    assert plan.chosen is not None
    return plan.chosen.predicted


def check_came_true(result: Result) -> None:
    told, receipt = predicted(result.plan), result.receipt
    assert told.samples_mean == pytest.approx(receipt.samples_drawn)
    assert told.cost_usd == pytest.approx(receipt.cost_usd)
    assert told.latency_p50_s == pytest.approx(receipt.latency_s, rel=0.01)
    assert told.latency_p95_s == pytest.approx(receipt.latency_s, rel=0.01)
    assert told.quality is None


@pytest.mark.parametrize("budget", [2, 4, 16])
@pytest.mark.parametrize(
    "strategy",
    ["mixture=a,b,c", "mixture:2=a,b,c", "mixture:3,3=c,b,a", "mixture:1,6=a,c", "mixture=a,a,b"],
)
async def test_a_mixture_takes_what_its_plan_foresees(
    trio: Open, strategy: str, budget: int
) -> None:
    """Samples, cost and, in virtual time, latency; where the budget leaves proposals out, too."""
    async with trio() as client:
        result = await client.solve(
            PROMPT, strategy=strategy, objective=Objective(max_samples=budget), seed=1
        )
    check_came_true(result)


async def test_what_proposals_add_to_later_prompts_is_paid_for(trio: Open) -> None:
    """As plans estimate lengths: the texts around two proposals twice, and the proposals' mean lengths."""
    price = {"usd_per_mtok": {"input": 10.0, "output": 0}}
    async with trio(price=price) as client:
        result = await client.solve(PROMPT, strategy="mixture:2=a,b,c", seed=1)
        single = predicted(await client.plan(PROMPT, strategy="single", deployment="c"))
    told, alone = predicted(result.plan).cost_usd, single.cost_usd
    assert told is not None
    assert alone is not None
    around = len(frame(2)) / 3.5
    # Three of the five samples are asked in sight of two proposals.
    wanted = 5 * alone + 3 * (around + 2 * ANSWER_TOKENS) * 10.0 / 1e6
    assert told == pytest.approx(wanted, rel=0.01)
    assert result.receipt.cost_usd == pytest.approx(told, rel=0.5)


async def test_of_proposals_that_wait_for_each_other_the_time_is_unknown(trio: Open) -> None:
    """The first deployment, whose wave the plan has, takes two at once; six are to be made."""
    async with trio(limits={"max_concurrency": 2}) as client:
        plan = await client.plan(PROMPT, strategy="mixture:1,6=a,c")
    assert predicted(plan).latency_p95_s is None
    assert predicted(plan).cost_usd == pytest.approx(ANSWER_TOKENS * (6 * 1.0 + 10.0) / 1e6)


async def test_where_lengths_are_unknown_so_is_what_a_mixture_takes(trio: Open) -> None:
    async with trio(model={"id": "unheard-of"}) as client:
        plan = await client.plan(PROMPT, strategy="mixture=a,b,c")
    assert predicted(plan) == Prediction(samples_mean=3.0, energy_j=predicted(plan).energy_j)


async def test_proposals_that_leave_no_room_for_an_answer_leave_everything_unknown(
    trio: Open,
) -> None:
    async with trio(limits={"max_context_tokens": 60}) as client:
        plan = await client.plan(PROMPT, strategy="mixture=a,b,c")
    assert predicted(plan).cost_usd is None
    assert predicted(plan).samples_mean is None


@pytest.mark.parametrize("budget", [1, 3, 16])
async def test_mbr_takes_what_the_whole_budget_takes(trio: Open, budget: int) -> None:
    async with trio() as client:
        result = await client.solve(
            PROMPT,
            strategy="mbr",
            deployment="c",
            objective=Objective(max_samples=budget),
            seed=1,
        )
    check_came_true(result)


async def test_mbr_in_narrow_waves_takes_as_much_longer(trio: Open) -> None:
    async with trio(limits={"max_concurrency": 4}) as client:
        result = await client.solve(
            PROMPT, strategy="mbr", deployment="c", objective=Objective(max_samples=8), seed=1
        )
    check_came_true(result)


async def test_a_budget_of_money_holds_for_mixtures(trio: Open) -> None:
    """Set aside is what all proposals and an answer in sight of them may take at most."""
    price = {"usd_per_mtok": {"input": 10.0, "output": 10.0}}
    budget = Budget(max_cost_usd=0.2)
    async with trio(price=price) as client:
        results = await client.solve_many(
            [PROMPT] * 3, strategy="mixture:2=a,b,c", budget=budget, seed=1
        )
    assert [one.answer for one in results] == ["42"] * 3
    for one in results:
        cap = one.plan.objective.max_cost_usd
        assert cap is not None
        assert predicted(one.plan).cost_usd is not None
        assert one.receipt.cost_usd is not None
        assert one.receipt.cost_usd <= cap


async def test_set_aside_is_every_proposal_at_its_longest(trio: Open) -> None:
    """By deployment and layer; the later prompts hold whole proposals."""
    async with trio() as client:
        plan = await client.plan(PROMPT, strategy="mixture:2,3=a,b,c")
    assert plan.chosen is not None
    longest = plan.chosen.members[0].sampling.max_tokens
    assert longest is not None
    first, later = 100, 100 + round(len(frame(3)) / 3.5) + 3 * longest
    assert [
        (one.deployment, one.number, one.input_tokens) for one in most_drawn(plan.chosen, 100)
    ] == [("a", 2, first), ("b", 1, first), ("a", 2, later), ("b", 1, later), ("c", 1, later)]


def test_batches_follow_each_other_and_parts_do_not() -> None:
    """Of parts without spread: the sum of each batch's longest time, and of everything else the sum."""

    def part(seconds: float, usd: float = 1.0, samples: float = 1.0) -> Prediction:
        return Prediction(
            samples_mean=samples,
            latency_p50_s=seconds,
            latency_p95_s=seconds,
            cost_usd=usd,
            energy_j=2.0,
        )

    made = predict_batches([[part(1), part(3, 5.0)], [part(2, samples=4.0)], [part(4)]])
    assert made == Prediction(
        samples_mean=7.0, latency_p50_s=9.0, latency_p95_s=9.0, cost_usd=8.0, energy_j=8.0
    )
    unknown = predict_batches([[part(1)], [Prediction(samples_mean=1.0)]])
    assert unknown == Prediction(samples_mean=2.0)
