"""What happens on the way to services that fail, limit and bill, played through on virtual time."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tt_compute.client import AsyncClient
from tt_compute.errors import DeadlineExceeded, RateLimitError, SpendCapReached
from tt_compute.planning.types import Objective
from tt_compute.results import Result
from tt_compute.testing import Scenario, VirtualClock

pytestmark = pytest.mark.anyio

QUESTION = "What is 3 plus 4?"
SEVEN = ["The answer is 7."]


def service(name: str, **fields: Any) -> dict[str, Any]:
    """A deployment whose every sample is right."""
    return {"id": name, "answers": SEVEN, **fields}


def better(name: str, **fields: Any) -> dict[str, Any]:
    """The one that a plan prefers."""
    able = {"success_rate": 0.99, "abstain_rate": 0}
    return service(name, profile={"model": {"abilities": {"math": able}}}, **fields)


def worse(name: str, **fields: Any) -> dict[str, Any]:
    able = {"success_rate": 0.9, "abstain_rate": 0}
    return service(name, profile={"model": {"abilities": {"math": able}}}, **fields)


def play(*deployments: dict[str, Any], clock: VirtualClock, **top: Any) -> AsyncClient:
    scenario = Scenario.from_mapping({"deployments": list(deployments), **top})
    return AsyncClient(scenario.ready(environ={}), clock=clock)


async def ask(client: AsyncClient, **options: Any) -> Result:
    return await client.solve(QUESTION, strategy="single", seed=1, **options)


def ways(result: Result) -> list[tuple[str, str]]:
    """(deployment, outcome) of each attempt."""
    return [(attempt.deployment, attempt.outcome) for attempt in result.receipt.attempts]


async def test_a_sample_that_fails_is_drawn_elsewhere() -> None:
    clock = VirtualClock()
    first = better("first", faults=[{"kind": "server_error"}])
    async with play(first, worse("second"), clock=clock) as client:
        result = await ask(client)
    assert result.answer == "7"
    assert ways(result) == [("first", "failed"), ("second", "ok")]


async def test_a_cut_stream_is_begun_again_elsewhere_and_both_are_booked() -> None:
    clock = VirtualClock()
    cut = better("first", faults=[{"kind": "connection", "after_tokens": 3}])
    async with play(cut, worse("second"), clock=clock) as client:
        result = await ask(client)
    assert result.text == SEVEN[0]
    assert ways(result) == [("first", "failed"), ("second", "ok")]
    assert result.receipt.output_tokens == 3 + 5


async def test_a_stalled_stream_is_given_up_after_its_time_out() -> None:
    clock = VirtualClock()
    stalled = better("first", faults=[{"kind": "stall", "after_tokens": 2}])
    stalled["profile"]["limits"] = {"stall_timeout_s": 4}
    async with play(stalled, worse("second"), clock=clock) as client:
        result = await ask(client)
    assert result.answer == "7"
    assert result.receipt.attempts[0].status == "Stalled"
    assert 4 <= result.receipt.latency_s < 5


async def test_a_breaker_opens_and_closes_again() -> None:
    """After five failures in a row a deployment is left alone, and asked again once it is well."""
    clock = VirtualClock()
    sick = better("first", faults=[{"kind": "server_error", "until_s": 30}])
    asked: Counter[str] = Counter()
    async with play(sick, worse("second"), clock=clock) as client:
        for _ in range(12):
            result = await ask(client)
            assert result.answer == "7"
            asked.update(attempt.deployment for attempt in result.receipt.attempts)
        assert asked == {"first": 5, "second": 12}
        await clock.sleep(60)
        assert ways(await ask(client)) == [("first", "ok")]


async def test_a_rate_limit_is_waited_out() -> None:
    """Nothing is known of the limit beforehand; the third request waits for what the service says."""
    clock = VirtualClock()
    async with play(service("only", limits={"requests_per_minute": 2}), clock=clock) as client:
        results = [await ask(client) for _ in range(3)]
    assert [result.answer for result in results] == ["7"] * 3
    assert [len(result.receipt.attempts) for result in results] == [1, 1, 2]
    assert results[2].receipt.attempts[0].status == "RateLimitError"
    assert 60 <= clock.now() < 62


async def test_a_wait_that_makes_no_sense_is_an_error_that_names_it() -> None:
    clock = VirtualClock()
    refusing = service("only", faults=[{"kind": "rate_limit", "retry_after_s": 600}])
    async with play(refusing, clock=clock) as client:
        with pytest.raises(RateLimitError) as caught:
            await ask(client)
    assert caught.value.retry_after_s == 600
    assert clock.now() < 1


async def test_a_slow_attempt_is_hedged() -> None:
    """The ninth request is slow; a second deployment is asked once it is slower than the others were."""
    clock = VirtualClock()
    slow = better(
        "first",
        latency={"ttft_s": {"min": 0.5, "max": 1}},
        faults=[{"kind": "slow_first_token", "requests": [8], "delay_s": 50}],
    )
    backup = worse("second", latency={"ttft_s": 1})
    async with play(slow, backup, clock=clock, dispatch={"hedge_share": 0.5}) as client:
        for _ in range(8):
            assert ways(await ask(client)) == [("first", "ok")]
        result = await ask(client)
    assert result.answer == "7"
    assert result.receipt.latency_s < 3
    assert set(ways(result)) == {("first", "cancelled"), ("second", "ok")}


async def test_the_deadline_ends_what_takes_too_long() -> None:
    clock = VirtualClock()
    async with play(service("only", latency={"ttft_s": 60}), clock=clock) as client:
        with pytest.raises(DeadlineExceeded):
            await ask(client, objective=Objective(max_latency_s=20))
    assert clock.now() == 20


async def test_a_spend_cap_stops_before_it_is_passed() -> None:
    clock = VirtualClock()
    priced = service("only", usd_per_mtok={"input": 100, "output": 1000})
    async with play(priced, clock=clock, dispatch={"max_usd": 0.05}) as client:
        costs = [(await ask(client, max_tokens=8)).receipt.cost_usd for _ in range(8)]
        with pytest.raises(SpendCapReached):
            await ask(client, max_tokens=8)
    assert sum(cost or 0 for cost in costs) < 0.05


async def test_a_bill_that_is_too_large_is_booked_as_it_came() -> None:
    clock = VirtualClock()
    faults = [{"kind": "usage_too_large", "factor": 100}]
    priced = service("only", usd_per_mtok={"input": 0, "output": 1000}, faults=faults)
    async with play(priced, clock=clock) as client:
        result = await ask(client)
    assert result.receipt.output_tokens == 500
    assert result.receipt.cost_usd == pytest.approx(0.5)
