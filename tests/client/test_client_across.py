"""``panel`` and ``mixture`` through the client: who is asked, what is refused, what is told and learned."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from tt_compute.client import AsyncClient
from tt_compute.config import Config
from tt_compute.errors import (
    ContextLengthError,
    InfeasibleError,
    InvalidRequestError,
    PlanError,
    TTComputeError,
    UnknownNameError,
    UnsupportedError,
)
from tt_compute.planning.batch import Budget
from tt_compute.planning.types import Objective, Plan
from tt_compute.strategies.mixture import Mixture
from tt_compute.strategies.panel import Panel
from tt_compute.testing.time import VirtualClock
from tt_compute.types import JsonSchemaFormat, SamplingParams

Open = Callable[..., Any]
PROMPT = "6 * 7 = ?"
pytestmark = pytest.mark.anyio


@pytest.fixture
def trio(environ: dict[str, str]) -> Open:
    """A client on three mocks that answer 41, 42 and 42, save as ``changes`` has it for one of them."""

    @asynccontextmanager
    async def open_client(
        changes: Mapping[str, Mapping[str, Any]] = {}, **config: Any
    ) -> AsyncGenerator[AsyncClient, None]:
        deployments = [
            {
                "id": name,
                "backend": "mock",
                "model": "mock",
                "hardware": "mock",
                "options": {"answers": [f"The answer is {answer}."]},
                **changes.get(name, {}),
            }
            for name, answer in (("a", 41), ("b", 42), ("c", 42))
        ]
        made = Config.from_mapping({"deployments": deployments, **config}, environ=environ)
        async with AsyncClient(made, clock=VirtualClock(), environ=environ) as client:
            yield client

    return open_client


async def test_a_panel_asks_its_deployments_in_their_order(trio: Open) -> None:
    async with trio() as client:
        result = await client.solve(PROMPT, strategy="panel=c,a,b", seed=1)
    assert (result.answer, result.receipt.stop_reason) == ("42", "settled")
    assert [sample.deployment for sample in result.samples] == ["c", "a", "b"]
    assert result.plan.chosen.strategy == "panel=c,a,b"
    assert result.plan.chosen.deployment == "c"


async def test_a_panel_draws_the_likeliest_answer_unless_told_otherwise(trio: Open) -> None:
    async with trio() as client:
        plain = await client.plan(PROMPT, strategy="panel=a,b,c")
        warm = await client.plan(PROMPT, strategy="panel=a,b,c", temperature=0.5)
    assert (plain.chosen.sampling.temperature, warm.chosen.sampling.temperature) == (0.0, 0.5)


@pytest.mark.parametrize(
    ("name", "strategy"),
    [
        ("panel=a,b", Panel(("a", "b"))),
        ("panel:3=a,b,c", Panel(("a", "b", "c"), agree=3)),
        ("mixture", Mixture()),
        ("mixture=a,b", Mixture(("a", "b"))),
        ("mixture:2", Mixture(layers=2)),
        ("mixture:1,4=a,b,c", Mixture(("a", "b", "c"), proposals=4)),
    ],
)
async def test_an_object_and_its_name_are_the_same_strategy(
    trio: Open, name: str, strategy: Panel | Mixture
) -> None:
    async with trio() as client:
        named = await client.solve(PROMPT, strategy=name, seed=1)
        given = await client.solve(PROMPT, strategy=strategy, seed=1)
    assert named.plan.chosen.strategy == given.plan.chosen.strategy == name
    assert named.samples == given.samples


async def test_a_mixture_answers_at_its_last_deployment(trio: Open) -> None:
    async with trio({"c": {"options": {"answers": ["The answer is 43."]}}}) as client:
        result = await client.solve(PROMPT, strategy="mixture=a,b,c", seed=1)
    assert (result.answer, result.samples[-1].deployment) == ("43", "c")
    assert result.confidence is None


async def test_where_the_answer_of_a_mixture_is_cut_short_the_proposals_vote(trio: Open) -> None:
    async with trio({"a": {"limits": {"max_output_tokens": 2}}}) as client:
        result = await client.solve(PROMPT, strategy="mixture=b,c,a", seed=1)
    assert (result.answer, result.samples[-1].finish_reason) == ("42", "length")
    assert any("they voted" in warning for warning in result.warnings)


async def test_deployments_outside_the_configuration_can_take_part(trio: Open) -> None:
    async with trio() as client:
        result = await client.solve(PROMPT, strategy="panel=mock,b,c", seed=3)
    assert result.samples[0].deployment == "mock"


async def test_a_saved_plan_asks_the_same_deployments(trio: Open) -> None:
    async with trio() as client:
        plan = await client.plan(PROMPT, strategy="panel=a,b,c")
        result = await client.solve(PROMPT, plan=plan, seed=1)
    assert [sample.deployment for sample in result.samples] == ["a", "b", "c"]


@pytest.mark.parametrize("strategy", ["panel=a,b,c", "mixture=a,b,c"])
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"c": {"id": "renamed"}}, "'c' does not exist any more"),
        ({"c": {"model": "smollm2-135m-instruct"}}, "'c' has changed: its model"),
    ],
    ids=["gone", "another model"],
)
async def test_a_saved_plan_is_refused_when_a_deployment_it_asks_is_not_what_it_was(
    trio: Open, strategy: str, changes: dict[str, Any], words: str
) -> None:
    async with trio() as client:
        plan = await client.plan(PROMPT, strategy=strategy)
    async with trio(changes) as client:
        with pytest.raises(PlanError, match=words):
            await client.solve(PROMPT, plan=plan)


async def test_a_saved_plan_tells_what_else_has_changed_of_a_deployment_it_asks(trio: Open) -> None:
    async with trio() as client:
        plan = await client.plan(PROMPT, strategy="panel=a,b,c")
    async with trio({"b": {"price": {"usd_per_mtok": {"input": 1.0, "output": 10.0}}}}) as client:
        result = await client.solve(PROMPT, plan=plan, seed=1)
    assert any(
        note.startswith("the plan's deployment b has changed: price") for note in result.warnings
    )


@pytest.mark.parametrize("strategy", ["panel=a,b", "mixture=a,b"])
async def test_a_saved_plan_keeps_prompts_local_where_the_configuration_says_so(
    trio: Open, strategy: str
) -> None:
    remote = {"b": {"hardware": "groq-lpu-cloud"}}
    async with trio(remote) as client:
        plan = await client.plan(PROMPT, strategy=strategy)
    async with trio(remote, objective={"locality": "local"}) as client:
        with pytest.raises(PlanError, match="would leave this machine"):
            await client.solve(PROMPT, plan=plan)


async def test_a_judge_beside_a_saved_plan_is_local_where_the_configuration_says_so(
    trio: Open,
) -> None:
    remote = {"b": {"hardware": "groq-lpu-cloud"}}
    async with trio(remote) as client:
        plan = await client.plan(PROMPT, strategy="best_of_n", verifier="judge=b", deployment="a")
    async with trio(remote, objective={"locality": "local"}) as client:
        with pytest.raises(TTComputeError, match="local"):
            await client.solve(PROMPT, plan=plan, verifier="judge=b")


async def test_a_saved_plan_lets_each_deployment_say_as_much_as_it_was_planned_to(
    trio: Open,
) -> None:
    short = {"a": {"limits": {"max_output_tokens": 3}}}
    async with trio(short) as client:
        plan = await client.plan(PROMPT, strategy="panel=a,b,c")
        result = await client.solve(PROMPT, plan=plan, seed=1)
    assert [sample.finish_reason for sample in result.samples] == ["length", "stop", "stop"]


@pytest.mark.parametrize(
    "strategy", ["panel:99999=a,b,c", "panel", "panel=c,b,a", "panel=a,b", "mixture", "mixture:0"]
)
async def test_a_plan_that_was_edited_into_another_strategy_is_refused(
    trio: Open, strategy: str
) -> None:
    async with trio() as client:
        plan = await client.plan(PROMPT, strategy="panel=a,b,c")
        edited = msgspec.structs.replace(plan.chosen, strategy=strategy)
        plan = msgspec.structs.replace(plan, chosen=edited, candidates=(edited,))
        with pytest.raises(PlanError, match="the plan's strategy"):
            await client.solve(PROMPT, plan=plan)


async def test_a_panel_is_planned_to_ask_each_deployment_once(trio: Open) -> None:
    async with trio() as client:
        three = await client.plan(PROMPT, strategy="panel=a,b,c")
        two = await client.plan(PROMPT, strategy="panel=a,b,c", objective=Objective(max_samples=2))
    assert (three.chosen.max_samples, three.objective.max_samples) == (3, Objective().max_samples)
    assert two.chosen.max_samples == 2


@pytest.mark.parametrize(
    ("strategy", "most"),
    [("mixture=a,b,c", 3), ("mixture:2=a,b,c", 5), ("mixture:2,3=a,c", 7), ("mixture", 7)],
)
async def test_no_more_samples_of_a_mixture_are_planned_than_it_can_draw(
    trio: Open, strategy: str, most: int
) -> None:
    async with trio() as client:
        result = await client.solve(PROMPT, strategy=strategy, seed=1)
        small = await client.plan(PROMPT, strategy=strategy, objective=Objective(max_samples=2))
    assert (result.plan.chosen.max_samples, result.receipt.samples_drawn) == (most, most)
    assert result.plan.objective.max_samples == Objective().max_samples
    assert small.chosen.max_samples == 2


async def test_a_budget_of_samples_holds_for_what_nobody_can_predict(trio: Open) -> None:
    """All that a run may draw is counted as expected; money is not known to be enough."""
    unknown = {
        "model": {"id": "unknown"},
        "price": {"usd_per_mtok": {"input": 1.0, "output": 10.0}},
    }
    async with trio({"c": unknown}) as client:
        options = {"strategy": "mixture=a,b,c", "seed": 1}
        results = await client.solve_many([PROMPT] * 4, budget=Budget(max_samples=12), **options)
        assert sum(result.receipt.samples_drawn for result in results) == 12
        with pytest.raises(InfeasibleError, match="12 samples"):
            await client.solve_many([PROMPT] * 5, budget=Budget(max_samples=12), **options)
        both = Budget(max_samples=12, max_cost_usd=1.0)
        with pytest.raises(InfeasibleError, match=r"take how much \(cost_usd\)"):
            await client.solve_many([PROMPT], budget=both, **options)


@pytest.mark.parametrize(
    ("strategy", "reason"),
    [
        ("usc", "how often the model is asked to choose"),
        ("knockout", "how often the model is asked to choose"),
        ("refine", "how often there is something to mend"),
        ("revise", "how long an attempt is in sight of others"),
        ("mixture", "is predicted where it names its deployments"),
        ("mbr", "how good what the strategy picks is"),
    ],
)
async def test_an_unmet_objective_says_why_nothing_predicts_the_strategy(
    trio: Open, strategy: str, reason: str
) -> None:
    """A fact that is missing of the model besides is not named: it would not help."""
    async with trio({name: {"model": {"id": "unknown"}} for name in "abc"}) as client:
        plan = await client.plan(PROMPT, strategy=strategy, objective=Objective(quality=0.9))
    assert "quality: unknown (" in plan.advice
    assert reason in plan.advice
    assert "concentration" not in plan.advice


async def test_no_deployment_of_a_panel_stands_in_for_another(trio: Open) -> None:
    """Else two votes of one deployment would count as agreement of two."""
    down = {"options": {"answers": ["The answer is 41."], "faults": [{"kind": "server_error"}]}}
    async with trio({"a": down}) as client:
        result = await client.solve(PROMPT, strategy="panel=a,b,c", seed=1)
    assert {one.deployment for one in result.receipt.attempts if one.outcome == "ok"} == {"b", "c"}
    assert result.answer == "42"


async def test_a_panel_whose_first_deployment_costs_nothing_may_cost_something(
    trio: Open,
) -> None:
    price = {"price": {"usd_per_mtok": {"input": 1.0, "output": 10.0}}}
    async with trio({"c": price}) as client:
        plan = await client.plan(PROMPT, strategy="panel=a,b,c")
        free = await client.plan(PROMPT, strategy="panel=a,b")
        result = await client.solve(PROMPT, strategy="panel=a,b,c", seed=1)
    assert plan.chosen.predicted.cost_usd is None
    assert free.chosen.predicted.cost_usd == 0
    assert result.receipt.cost_usd > 0


def predicted(plan: Plan) -> Any:
    assert plan.chosen is not None
    return plan.chosen.predicted


async def test_a_panel_is_predicted_from_what_is_known_of_its_deployments(
    environ: dict[str, str],
) -> None:
    """The mocks' profiles state ability, speed and price."""
    config = Config.from_mapping({"deployments": ["mock", "mock/strong"]}, environ=environ)
    async with AsyncClient(config, clock=VirtualClock(), environ=environ) as client:
        both = predicted(await client.plan(PROMPT, strategy="panel=mock,mock/strong"))
        alone = predicted(await client.plan(PROMPT, strategy="single", deployment="mock/strong"))
        twice = predicted(await client.plan(PROMPT, strategy="panel=mock,mock"))
    assert both.samples_mean == pytest.approx(2)
    assert both.cost_usd == pytest.approx(alone.cost_usd)
    assert 0.5 < both.quality < 1
    assert both.latency_p95_s >= both.latency_p50_s >= alone.latency_p50_s * 0.9
    assert (twice.quality, twice.samples_mean) == (None, None)


async def test_confidence_is_reckoned_from_who_agreed(environ: dict[str, str]) -> None:
    """Of two models that agree more than of the better one alone; unknown where one model is asked twice."""
    says = {"override": {"options": {"answers": ["The answer is 42."]}}}
    deployments = [{"id": "mock", **says}, {"id": "mock/strong", **says}]
    config = Config.from_mapping({"deployments": deployments}, environ=environ)
    async with AsyncClient(config, clock=VirtualClock(), environ=environ) as client:
        both = await client.solve(PROMPT, strategy="panel=mock,mock/strong", seed=1)
        alone = await client.solve(PROMPT, strategy="single", deployment="mock/strong", seed=1)
        twice = await client.solve(PROMPT, strategy="panel=mock,mock", seed=1)
    assert both.receipt.stop_reason == "settled"
    assert both.confidence is not None
    assert alone.confidence is not None
    assert alone.confidence < both.confidence < 1
    assert twice.confidence is None


async def test_a_panel_that_would_cost_too_much_is_not_taken_for_feasible(trio: Open) -> None:
    price = {"price": {"usd_per_mtok": {"input": 1.0, "output": 10.0}}}
    async with trio({"c": price}) as client:
        plan = await client.plan(
            PROMPT, strategy="panel=a,b,c", objective=Objective(max_cost_usd=1e-9)
        )
    assert not plan.chosen.feasible


async def test_each_deployment_may_say_as_much_as_its_own_model_usually_does(
    environ: dict[str, str],
) -> None:
    """The first one's answers have 5 tokens, the second one's 60 and more."""
    long = {"answers": ["6 * 7 " * 40 + "The answer is 42."]}
    config = Config.from_mapping(
        {"deployments": ["mock", {"id": "mock/strong", "override": {"options": long}}]},
        environ=environ,
    )
    async with AsyncClient(config, clock=VirtualClock(), environ=environ) as client:
        result = await client.solve(PROMPT, strategy="panel=mock,mock/strong", seed=1)
    by_deployment = {sample.deployment: sample for sample in result.samples}
    assert by_deployment["mock/strong"].finish_reason == "stop"
    assert by_deployment["mock/strong"].answer == "42"


async def test_the_spend_cap_holds_for_every_deployment(trio: Open) -> None:
    price = {"price": {"usd_per_mtok": {"input": 1.0, "output": 10.0}}}
    async with trio({"c": price}) as client:
        result = await client.solve(
            PROMPT, strategy="panel=a,b,c", seed=1, objective=Objective(max_cost_usd=1e-9)
        )
    assert {sample.deployment for sample in result.samples if sample.answer} == {"a", "b"}
    assert result.receipt.cost_usd == 0


async def test_only_the_first_deployments_vote_teaches(trio: Open) -> None:
    async with trio() as client:
        result = await client.solve(PROMPT, strategy="panel=a,b,c", seed=1)
        await client.feedback(result.id, correct=True)
        (ability,) = (await client.estimates(mock=True)).abilities
    assert (ability.greedy_questions, ability.samples_weight) == (1, 1)
    assert result.tally.votes == (0, 1)


@pytest.mark.parametrize(
    ("strategy", "first_was_right"),
    [("mixture=a,b,c", False), ("mixture:2=a,c", False), ("mixture=b,a,c", True)],
)
async def test_a_mixture_teaches_what_its_first_deployment_said_itself(
    trio: Open, strategy: str, first_was_right: bool
) -> None:
    """Where a said 41, and 42 was made of it and was right, a was wrong."""
    async with trio() as client:
        for seed in range(5):
            result = await client.solve(PROMPT, strategy=strategy, seed=seed)
            assert result.answer == "42"
            await client.feedback(result.id, correct=True)
        (ability,) = (await client.estimates(mock=True)).abilities
    rate = ability.success_rate
    assert (rate.learned > rate.stated) is first_was_right


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"strategy": "panel=a,nobody"}, UnknownNameError, "nobody"),
        ({"strategy": "panel=a,,b"}, InvalidRequestError, "has no name"),
        ({"strategy": "panel:9=a,b"}, InvalidRequestError, "9 deployments are to agree"),
        ({"strategy": "panel:two=a,b"}, InvalidRequestError, "'two'"),
        ({"strategy": "panel:\uff12=a,b"}, InvalidRequestError, "is not what it counts by"),
        ({"strategy": "panel"}, InvalidRequestError, "at least 2"),
        ({"strategy": "mixture:0"}, InvalidRequestError, "layers must be at least 1"),
        ({"strategy": "mixture=a"}, InvalidRequestError, "only deployment"),
        ({"strategy": "panel=a,b", "deployment": "b"}, InvalidRequestError, "names its deploy"),
        ({"strategy": "panel=a,b", "verifier": "exact=42"}, InvalidRequestError, "asks none"),
        ({"strategy": "panel=a,b", "stop": "beta"}, InvalidRequestError, "holds none"),
        ({"strategy": "panle=a,b"}, UnknownNameError, "did you mean 'panel'"),
    ],
    ids=str,
)
async def test_what_makes_no_sense_is_refused_before_anything_is_drawn(
    trio: Open, options: dict[str, Any], error: type[TTComputeError], words: str
) -> None:
    async with trio() as client:
        with pytest.raises(error) as caught:
            await client.solve(PROMPT, **options)
    assert words in f"{caught.value.message} {caught.value.hint}"


async def test_prompts_that_must_stay_local_reach_no_other_deployment(
    trio: Open, environ: dict[str, str]
) -> None:
    environ["GROQ_API_KEY"] = "gsk-none"
    async with trio() as client:
        with pytest.raises(InvalidRequestError, match="not local"):
            await client.solve(
                PROMPT,
                strategy="panel=a,groq/gpt-oss-20b",
                objective=Objective(locality="local"),
            )


async def test_every_deployment_must_offer_what_the_request_needs(trio: Open) -> None:
    schema = JsonSchemaFormat(schema={"type": "object"})
    able = {"options": {"capabilities": {"json_schema": True}}}
    async with trio({"a": able, "c": able}) as client:
        with pytest.raises(UnsupportedError, match="b: is not known to offer JSON schemas"):
            await client.solve(PROMPT, strategy="panel=a,b,c", response_format=schema)


async def test_what_any_of_them_drops_is_told(trio: Open) -> None:
    drops = {"options": {"answers": ["42"], "capabilities": {"ignored_params": ["top_k"]}}}
    async with trio({"c": drops}) as client:
        sampling = SamplingParams(top_k=3)
        three = await client.solve(PROMPT, strategy="panel=a,b,c", sampling=sampling)
        two = await client.solve(PROMPT, strategy="panel=a,b", sampling=sampling)
    assert (three.ignored_params, two.ignored_params) == (("top_k",), ())


async def test_a_prompt_that_does_not_fit_one_of_them_is_refused(trio: Open) -> None:
    async with trio({"c": {"limits": {"max_context_tokens": 8}}}) as client:
        with pytest.raises(ContextLengthError, match=r"c: a prompt of .* in a context of 8 tokens"):
            await client.solve("word " * 50, strategy="panel=a,b,c")


async def test_samples_are_no_longer_than_each_deployment_allows(trio: Open) -> None:
    async with trio({"c": {"limits": {"max_output_tokens": 3}}}) as client:
        result = await client.solve(PROMPT, strategy="panel=a,b,c", seed=1)
    assert [sample.finish_reason for sample in result.samples] == ["stop", "stop", "length"]
