"""Plans go elsewhere while a deployment is unwell, used up or cold, and come back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tt_compute.client import AsyncClient
from tt_compute.config import Config
from tt_compute.errors import BackendError, SpendCapReached
from tt_compute.planning.types import Objective, Plan
from tt_compute.testing.time import VirtualClock

pytestmark = pytest.mark.anyio

QUESTION = "What is 6 times 7?"
QUICKEST = Objective(prefer="latency")
Connect = Callable[..., AsyncClient]


def deployment(name: str, tokens_per_s: float, **more: Any) -> dict[str, Any]:
    options = {"latency": {"ttft_s": 0.5, "tokens_per_s": tokens_per_s, **more.pop("latency", {})}}
    return {
        "id": name,
        "backend": "mock",
        "model": "mock",
        "remote_model": name,
        "hardware": {"id": f"cloud-{name}", "device": "mock", "local": False},
        "price": {"usd_per_mtok": {"input": 1, "output": 1}},
        "options": {**options, **more.pop("options", {})},
        **more,
        "speed": {"ttft_s": 0.5, "decode_tokens_per_s": tokens_per_s, **more.get("speed", {})},
    }


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def connect(clock: VirtualClock, environ: dict[str, str]) -> Connect:
    """A client on ``quick``, as described, and a slower one."""

    def make(
        dispatch: dict[str, Any] | None = None,
        slow: dict[str, Any] | None = None,
        **quick: Any,
    ) -> AsyncClient:
        free = {"price": {"usd_per_hour": 0}, "options": slow or {}}
        mapping = {
            "deployments": [
                deployment("quick", 50, **quick),
                deployment("slow", 5, **free),
            ],
            "dispatch": {"share_limits": False, **(dispatch or {})},
            "store": {"enabled": False},
        }
        config = Config.from_mapping(mapping, environ=environ)
        return AsyncClient(config, clock=clock, environ=environ)

    return make


def chosen(plan: Plan) -> str:
    assert plan.chosen is not None
    return plan.chosen.deployment


@pytest.fixture
def plan_now() -> Callable[[AsyncClient], Awaitable[Plan]]:
    async def plan(client: AsyncClient) -> Plan:
        return await client.plan(QUESTION, objective=QUICKEST, strategy="single")

    return plan


async def test_plans_avoid_a_failing_deployment_until_it_may_be_tried(
    connect: Connect, clock: VirtualClock, plan_now: Any
) -> None:
    faults = [{"kind": "server_error", "pattern": "poison"}]
    async with connect(options={"faults": faults}) as client:
        assert chosen(await plan_now(client)) == "quick"
        for _ in range(5):
            with pytest.raises(BackendError):
                await client.solve("poison: 6 * 7 = ?", deployment="quick", strategy="single")
        avoiding = await plan_now(client)
        assert chosen(avoiding) == "slow"
        assert [one.deployment for one in avoiding.rejected] == ["quick"]
        assert "tried again in" in avoiding.rejected[0].reason
        result = await client.solve(QUESTION, objective=QUICKEST, strategy="single")
        assert result.samples[0].deployment == "slow"
        await clock.sleep(60)
        assert chosen(await plan_now(client)) == "quick"
        result = await client.solve(QUESTION, objective=QUICKEST, strategy="single")
        assert result.samples[0].deployment == "quick"


async def test_plans_avoid_a_deployment_whose_minute_is_used_up(
    connect: Connect, clock: VirtualClock, plan_now: Any
) -> None:
    async with connect(limits={"requests_per_minute": 3}) as client:
        for _ in range(3):
            result = await client.solve(QUESTION, objective=QUICKEST, strategy="single")
            assert result.samples[0].deployment == "quick"
        held = await plan_now(client)
        assert chosen(held) == "slow"
        await clock.sleep(30)
        waiting = await plan_now(client)
        of_quick = [one.predicted for one in waiting.candidates if one.deployment == "quick"]
        assert 20 < (of_quick[0].latency_p95_s or 0) < 40
        assert chosen(waiting) == "slow"
        await clock.sleep(35)
        assert chosen(await plan_now(client)) == "quick"


async def test_a_predicted_wait_for_a_limit_is_the_one_that_is_met(
    connect: Connect, clock: VirtualClock
) -> None:
    """With nowhere else to go the second request waits until the first has left the window."""
    async with connect(limits={"requests_per_minute": 1}) as client:
        only: dict[str, Any] = {"deployment": "quick", "strategy": "single"}
        await client.solve(QUESTION, **only)
        await clock.sleep(40)
        result = await client.solve(QUESTION, **only)
    predicted = result.receipt.predicted.latency_p50_s
    assert result.receipt.latency_s > 15
    assert predicted == pytest.approx(result.receipt.latency_s, rel=0.05)


async def test_plans_avoid_a_cold_model_until_it_is_warm(connect: Connect, plan_now: Any) -> None:
    cold = {"latency": {"load_s": 30.0}, "speed": {"load_s": 30.0}}
    async with connect(**cold) as client:
        assert chosen(await plan_now(client)) == "slow"
        await client.warm("quick")
        assert chosen(await plan_now(client)) == "quick"


async def test_a_predicted_load_is_the_one_that_is_met(connect: Connect) -> None:
    cold = {"latency": {"load_s": 30.0}, "speed": {"load_s": 30.0}}
    async with connect(**cold) as client:
        only: dict[str, Any] = {"deployment": "quick", "strategy": "single"}
        plan = await client.plan(QUESTION, **only)
        first, second = [await client.solve(QUESTION, **only) for _ in range(2)]
    assert plan.delays == ("Latencies at quick include 30 s to load its model.",)
    assert first.receipt.latency_s > 30 > second.receipt.latency_s
    for result in (first, second):
        predicted = result.receipt.predicted.latency_p50_s
        assert predicted == pytest.approx(result.receipt.latency_s, rel=0.05)


async def test_plans_avoid_what_a_cap_no_longer_pays_for(connect: Connect) -> None:
    """What four samples leave is less than a fifth may cost; the slower deployment costs nothing."""
    async with connect(dispatch={"max_usd": 0.000_07}) as client:
        only: dict[str, Any] = {"objective": QUICKEST, "strategy": "single", "max_tokens": 20}
        results = [await client.solve(QUESTION, **only) for _ in range(5)]
        plan = await client.plan(QUESTION, **only)
        with pytest.raises(SpendCapReached, match="of this client"):
            await client.solve(QUESTION, deployment="quick", strategy="single", max_tokens=20)
    used = [result.samples[0].deployment for result in results]
    assert used == ["quick"] * 4 + ["slow"]
    assert "the cap of this client leaves" in plan.rejected[0].reason


async def test_a_deployment_that_rested_may_still_stand_in(
    connect: Connect, clock: VirtualClock
) -> None:
    """It is left alone when the plan is made, and may be tried by the time that the plan's own deployment fails."""
    faults = [{"kind": "server_error", "pattern": "poison"}]
    late = [{"kind": "server_error", "pattern": "late", "after_tokens": 4}]
    async with connect(options={"faults": faults}, slow={"faults": late}) as client:
        for _ in range(5):
            with pytest.raises(BackendError):
                await client.solve("poison: 6 * 7 = ?", deployment="quick", strategy="single")
        await clock.sleep(4)
        result = await client.solve("late: 6 * 7 = ?", objective=QUICKEST, strategy="single")
    attempts = [(one.deployment, one.outcome) for one in result.receipt.attempts]
    assert attempts == [("slow", "failed"), ("quick", "ok")]


async def test_a_client_knows_what_other_processes_used_up(connect: Connect, plan_now: Any) -> None:
    """The second client, as another process would, finds in the file what the first one took."""
    shared = {"dispatch": {"share_limits": True}, "limits": {"requests_per_minute": 3}}
    async with connect(**shared) as first:
        for _ in range(3):
            await first.solve(QUESTION, deployment="quick", strategy="single")
    async with connect(**shared) as second:
        assert chosen(await plan_now(second)) == "slow"
