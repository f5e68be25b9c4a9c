"""Running a plan that was made before: exactly as it stands, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tt_compute.client import AsyncClient, Client
from tt_compute.errors import (
    ContextLengthError,
    InvalidRequestError,
    PlanError,
    ServerError,
    UnsupportedError,
)
from tt_compute.planning.plan_file import load_plan, save_plan
from tt_compute.planning.types import Candidate, Objective, Plan
from tt_compute.types import JsonSchemaFormat, SamplingParams

Connect = Callable[..., Client]
ConnectAsync = Callable[..., AsyncClient]

ASKED = "6 * 7 = ?"
MODEL = {
    "id": "made-up",
    "max_context_tokens": 1000,
    "abilities": {
        "math": {
            "success_rate": 0.6,
            "concentration": 2,
            "wrong_agreement": 0.5,
            "abstain_rate": 0,
            "completion_tokens_mean": 20,
            "completion_tokens_p95": 40,
        }
    },
}
DEPLOYMENT: dict[str, Any] = {
    "model": MODEL,
    "speed": {"ttft_s": 0.1, "decode_tokens_per_s": 100},
    "price": {"usd_per_mtok": {"input": 1, "output": 2}},
}
SECOND = {"id": "second", "backend": "mock", "hardware": "mock", **DEPLOYMENT}
SCHEMA = JsonSchemaFormat(schema={"type": "object"})


def chosen(plan: Plan) -> Candidate:
    assert plan.chosen is not None
    return plan.chosen


def changed(plan: Plan, **changes: Any) -> Plan:
    other = msgspec.structs.replace(chosen(plan), **changes)
    return msgspec.structs.replace(plan, chosen=other, candidates=(other,))


@pytest.fixture
def plan(connect: Connect) -> Plan:
    return connect(deployment=DEPLOYMENT).plan(ASKED)


def test_a_plan_is_run_as_it_stands(connect: Connect, tmp_path: Path) -> None:
    """Though the planner itself would now decide otherwise, and the prompt is of another kind."""
    client = connect(deployment=DEPLOYMENT)
    objective = Objective(max_samples=4, prefer="latency")
    sampling = SamplingParams(temperature=0.3, top_p=0.7, max_tokens=30, seed=5)
    options: dict[str, Any] = {"strategy": "majority", "stop": "beta:0.9", "sampling": sampling}
    made = client.plan(ASKED, objective=objective, **options)
    save_plan(made, tmp_path / "plan.json")
    result = client.solve("Which is larger?", plan=load_plan(tmp_path / "plan.json"))
    assert result.plan == made
    assert result.task == "math"
    assert chosen(result.plan).stop_rule == "beta:0.9"
    assert chosen(result.plan).sampling == sampling
    assert result.receipt.seed == 5
    assert result.receipt.predicted == chosen(made).predicted
    assert result.warnings == ()
    assert result.receipt.samples_drawn <= chosen(made).max_samples


def test_two_runs_of_a_plan_with_a_seed_are_the_same(connect: Connect) -> None:
    client = connect(deployment=DEPLOYMENT, answers=[{"text": f"= {n}"} for n in range(50)])
    plan = client.plan(ASKED, seed=3, strategy="majority")
    first, second = (client.solve(ASKED, plan=plan) for _ in range(2))
    assert [one.text for one in first.samples] == [one.text for one in second.samples]


def test_a_plan_without_a_seed_takes_one_or_draws_one(connect: Connect, plan: Plan) -> None:
    client = connect(deployment=DEPLOYMENT)
    assert client.solve(ASKED, plan=plan, seed=7).receipt.seed == 7
    drawn = [client.solve(ASKED, plan=plan).receipt.seed for _ in range(2)]
    assert drawn[0] != drawn[1]


def test_what_was_learned_since_moves_nothing(connect: Connect, plan: Plan) -> None:
    client = connect(deployment=DEPLOYMENT)
    result = client.solve(ASKED, plan=plan)
    client.feedback(result.id, correct=False)
    assert client.plan(ASKED, plan=plan) == plan


def test_one_plan_serves_many_prompts(connect: Connect, plan: Plan) -> None:
    client = connect(deployment=DEPLOYMENT)
    results = client.solve_many([ASKED, "7 * 6 = ?"], plan=plan)
    assert [result.plan for result in results] == [plan, plan]


async def stream(client: AsyncClient, plan: Plan) -> Plan:
    async with client, client.stream(ASKED, plan=plan) as run:
        async for _ in run:
            pass
        return run.result.plan


@pytest.mark.anyio
async def test_a_plan_is_streamed(connect_async: ConnectAsync, plan: Plan) -> None:
    assert await stream(connect_async(deployment=DEPLOYMENT), plan) == plan


# --- what may be said beside it --------------------------------------------------------------------


@pytest.mark.parametrize(
    "option",
    [
        {"objective": Objective()},
        {"task": "math"},
        {"deployment": "scripted"},
        {"strategy": "majority"},
        {"stop": "beta"},
        {"sampling": SamplingParams()},
        {"temperature": 0.0},
        {"max_tokens": 64},
        {"strict": True},
    ],
)
def test_what_the_plan_has_decided_cannot_be_said(
    connect: Connect, plan: Plan, option: dict[str, Any]
) -> None:
    """Not even as the plan has it: nobody needs to know which of the two would win."""
    with pytest.raises(InvalidRequestError, match="beside a plan") as caught:
        connect(deployment=DEPLOYMENT).solve(ASKED, plan=plan, **option)
    (name,) = option
    assert name in caught.value.message
    assert caught.value.exit_code == 2


def test_the_seed_of_a_plan_stands(connect: Connect) -> None:
    client = connect(deployment=DEPLOYMENT)
    plan = client.plan(ASKED, seed=3)
    with pytest.raises(InvalidRequestError, match="has a seed, 3"):
        client.solve(ASKED, plan=plan, seed=4)


def test_a_plan_that_asks_a_verifier_gets_it_again(connect: Connect, plan: Plan) -> None:
    client = connect(deployment=DEPLOYMENT)
    judged = client.plan(ASKED, verifier="exact=42")
    with pytest.raises(InvalidRequestError, match="needs a verifier"):
        client.solve(ASKED, plan=judged)
    assert client.solve(ASKED, plan=judged, verifier="exact=42").receipt.stop_reason in {
        "verifier",
        "budget",
    }
    with pytest.raises(InvalidRequestError, match="asks none"):
        client.solve(ASKED, plan=plan, verifier="exact=42")


def test_a_plan_is_a_plan(connect: Connect, plan: Plan) -> None:
    client = connect(deployment=DEPLOYMENT)
    options: dict[str, Any] = {"plan": plan.to_dict()}
    with pytest.raises(InvalidRequestError, match="must be Plan"):
        client.solve(ASKED, **options)
    with pytest.raises(PlanError, match="wave"):
        client.solve(ASKED, plan=changed(plan, wave=99))
    nothing = client.plan(ASKED, objective=Objective(quality=0.9999), strict=True)
    with pytest.raises(PlanError, match="nothing was chosen"):
        client.solve(ASKED, plan=nothing)


# --- what has changed ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"id": "renamed"}, "'scripted' does not exist any more"),
        (
            {"backend": "openai", "endpoint": {"base_url": "http://localhost:1"}},
            "its backend 'mock' became 'openai'",
        ),
        ({"model": {**MODEL, "id": "another"}}, "its model 'made-up' became 'another'"),
        ({"source": {"path": "/other/weights"}}, "its weights 'made-up' became '/other/weights'"),
        ({"limits": {"max_output_tokens": 10}}, "allows 10 now"),
    ],
)
def test_a_deployment_that_became_another_is_refused(
    connect: Connect, plan: Plan, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(PlanError, match="the plan") as caught:
        connect(deployment={**DEPLOYMENT, **changes}).solve(ASKED, plan=plan)
    assert words in caught.value.message
    assert "plan again" in str(caught.value.hint)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"price": {"usd_per_mtok": {"input": 3, "output": 2}}}, "input was 1 and is 3"),
        ({"price": {"usd_per_hour": 4}}, "price.usd_per_hour was unknown and is 4"),
        ({"speed": {"ttft_s": 0.1}}, "speed.decode_tokens_per_s was 100 and is unknown"),
        ({"hardware": {"id": "h"}}, "its hardware was mock and is h"),
        ({"options": {"answers": ["= 42"]}}, "its runtime, options or placement were"),
        ({"limits": {"max_concurrency": 1}}, "limits.max_concurrency is 1"),
        (
            {"model": {**MODEL, "abilities": {"math": {"success_rate": 0.5}}}},
            "ability.success_rate was 0.6 and is 0.5",
        ),
    ],
)
def test_what_predictions_rest_on_is_warned_of(
    connect: Connect, plan: Plan, changes: dict[str, Any], words: str
) -> None:
    client = connect(deployment={**DEPLOYMENT, **changes})
    held = client.plan(ASKED, plan=plan)
    assert any(words in warning for warning in held.warnings)
    assert msgspec.structs.replace(held, warnings=()) == plan
    assert set(held.warnings) <= set(client.solve(ASKED, plan=plan).warnings)


def test_the_same_deployment_is_not_warned_of(connect: Connect, plan: Plan) -> None:
    assert connect(deployment=DEPLOYMENT).plan(ASKED, plan=plan).warnings == ()


def test_a_plan_that_was_made_in_code_needs_no_premises(connect: Connect, plan: Plan) -> None:
    bare = msgspec.structs.replace(plan, premises=())
    dear = {**DEPLOYMENT, "price": {"usd_per_mtok": {"input": 3, "output": 2}}}
    assert connect(deployment=dear).solve(ASKED, plan=bare).warnings == ()


def test_a_prompt_that_no_longer_fits_is_refused(connect: Connect, plan: Plan) -> None:
    client = connect(deployment=DEPLOYMENT)
    room = 1000 - (chosen(plan).sampling.max_tokens or 0)
    client.plan("x" * round((room - 12) * 3.5), plan=plan)
    with pytest.raises(ContextLengthError, match="1000 tokens") as caught:
        client.plan("x" * round((room + 4) * 3.5), plan=plan)
    assert "plan again" in str(caught.value.hint)


def test_a_need_that_the_deployment_lacks_is_refused(connect: Connect, plan: Plan) -> None:
    client = connect(deployment=DEPLOYMENT, capabilities={"json_schema": False})
    with pytest.raises(UnsupportedError, match="JSON schemas"):
        client.solve(ASKED, plan=plan, response_format=SCHEMA)


@pytest.mark.parametrize("says", ["the plan", "the configuration"])
def test_local_prompts_stay_local(connect: Connect, plan: Plan, says: str) -> None:
    """Whoever says it: the plan's deployment may have moved, or the configuration become strict."""
    away = {**DEPLOYMENT, "hardware": {"id": "cloud", "local": False}}
    top = {"objective": {"locality": "local"}} if says == "the configuration" else {}
    if says == "the plan":
        plan = msgspec.structs.replace(plan, objective=Objective(locality="local"))
    with pytest.raises(PlanError, match="would leave this machine"):
        connect(deployment=away, top=top).solve(ASKED, plan=plan)


# --- the plan's other deployments ------------------------------------------------------------------


def two(**changes: Any) -> dict[str, Any]:
    faulty = {"options": {"faults": [{"kind": "server_error"}]}}
    first = {"id": "scripted", "backend": "mock", "hardware": "mock", **DEPLOYMENT, **faulty}
    return {"deployments": [first, {**SECOND, **changes}]}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("changes", "stands_in"),
    [({}, True), ({"model": {**MODEL, "id": "another"}}, False), ({"id": "renamed"}, False)],
)
async def test_only_a_deployment_that_is_as_it_was_stands_in(
    connect_async: ConnectAsync, changes: dict[str, Any], stands_in: bool
) -> None:
    """The run must not go on at what the plan never weighed."""
    async with connect_async(top=two()) as client:
        made = await client.plan(ASKED, strategy="single", objective=Objective(max_samples=1))
    first = next(one for one in made.candidates if one.deployment == "scripted")
    plan = msgspec.structs.replace(made, chosen=first)
    async with connect_async(top=two(**changes)) as client:
        told = (await client.plan(ASKED, plan=plan)).warnings
        assert len(told) == (0 if stands_in else 1)
        if stands_in:
            result = await client.solve(ASKED, plan=plan)
            assert [one.deployment for one in result.samples] == ["second"]
            return
        assert told[0].startswith("second cannot stand in for scripted: ")
        with pytest.raises(ServerError) as caught:
            await client.solve(ASKED, plan=plan)
        assert caught.value.deployment == "scripted"
