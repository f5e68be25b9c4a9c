"""The public API as a typed program uses it. Never run: mypy and pyright check it with the other tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Literal, assert_type

import tt_compute as tt
from tt_compute import testing
from tt_compute.strategies.callbacks import Model
from tt_compute.strategies.tree_of_thought import Thoughts


def solve(client: tt.Client) -> None:
    result = client.solve(
        "If 3 pens cost $4.50, what do 7 cost?",
        objective=tt.Objective(quality=0.9, max_latency_s=20),
        deployment="mock",
        task="math",
        seed=7,
    )
    assert_type(result, tt.Result)
    assert_type(result.answer, str | None)
    assert_type(result.text, str)
    assert_type(result.confidence, float | None)
    assert_type(result.plan, tt.Plan)
    assert_type(result.receipt, tt.Receipt)
    assert_type(result.receipt.samples_drawn, int)
    assert_type(result.receipt.cost_usd, float | None)
    assert_type(result.warnings, tuple[str, ...])
    for sample in result.samples:
        assert_type(sample.answer, str | None)
        assert_type(sample.score, float | None)


def prompts(client: tt.Client) -> None:
    client.solve([{"role": "user", "content": "hi"}], system="Be brief.")
    client.solve([tt.Message(role="user", content="hi")])
    client.solve(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - a prompt is text


def options(client: tt.Client, pinned: str | None) -> None:
    client.solve("hi", deployment=pinned, sampling=tt.SamplingParams(top_p=0.9))
    client.solve("hi", strategie="single")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue] - misspelt
    client.solve("hi", task="maths")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - no such kind


def verifiers(client: tt.Client) -> None:
    def is_even(prompt: str, text: str) -> bool:
        return text.endswith(prompt[-1:])

    async def score(_prompt: str, text: str) -> float:
        return float(len(text))

    client.solve("hi", verifier=is_even)
    client.solve("hi", verifier=score)
    client.solve("hi", verifier="exact=42")


def strategies(client: tt.Client) -> None:
    def propose(state: Thoughts, _model: Model) -> list[str]:
        return [state.text]

    async def evaluate(_state: Thoughts, model: Model) -> float:
        return float(len(await model.ask("hi", 2, temperature=1.0)))

    client.solve("hi", strategy=tt.Beam(width=4, scorer="p_true"))
    client.solve("hi", strategy=tt.DVTS(scorer=lambda _prompt, text: len(text) > 1))
    client.solve("hi", strategy=tt.TreeOfThought(propose=propose, evaluate=evaluate))
    client.solve("hi", strategy=tt.DeepConf(consensus=None))
    client.plan("hi", strategy=tt.Revise(chains=2))


def plan(client: tt.Client) -> None:
    decided = client.plan("hi", strict=True)
    assert_type(decided, tt.Plan)
    assert_type(client.solve("hi", plan=decided), tt.Result)
    client.solve("hi", plan=decided.to_dict())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - a plan, not its document
    if decided.chosen is not None:
        assert_type(decided.chosen.predicted.quality, float | None)
        assert_type(decided.chosen.violates, tuple[str, ...])


def stream(client: tt.Client) -> None:
    with client.stream("hi") as run:
        for event in run:
            match event:
                case tt.Progress():
                    assert_type(event.votes, tuple[tuple[str, int], ...])
                case tt.TextDelta() | tt.Revision():
                    assert_type(event.text, str)
    assert_type(run.result, tt.Result)
    assert_type(run.partial, tt.Result | None)


def many(client: tt.Client, questions: Sequence[str], on_error: Literal["raise", "return"]) -> None:
    def told(place: int, outcome: tt.Result | tt.TTComputeError) -> None: ...

    assert_type(client.solve_many(questions, concurrency=2, progress=told), list[tt.Result])
    assert_type(client.solve_many(questions, on_error="raise"), list[tt.Result])
    budget = tt.Budget(max_cost_usd=1, max_samples=100)
    assert_type(client.solve_many(questions, budget=budget), list[tt.Result])
    returned = client.solve_many(questions, on_error="return")
    assert_type(returned, list[tt.Result | tt.TTComputeError])
    assert_type(
        client.solve_many(questions, on_error=on_error), list[tt.Result | tt.TTComputeError]
    )


def raw(client: tt.Client) -> None:
    samples = client.generate("hi", deployment="mock", n=4)
    assert_type(samples, list[tt.Sample | tt.Failed])
    client.feedback("id", correct=True)
    client.warm("mock")
    client.close()


def errors(client: tt.Client) -> str | None:
    try:
        return client.solve("hi").answer
    except tt.InfeasibleError as error:
        return error.hint
    except (tt.BackendError, tt.DeadlineExceeded, tt.UsageError) as error:
        assert_type(error.exit_code, int)
        return error.message


async def questions() -> AsyncIterator[str]:
    yield "hi"


async def asynchronous() -> None:
    config = tt.Config.from_mapping({"deployments": ["mock"]})
    async with tt.AsyncClient(config) as client:
        assert_type(await client.solve("hi"), tt.Result)
        assert_type(await client.plan("hi"), tt.Plan)
        assert_type(await client.solve_many(questions()), list[tt.Result])
        async with client.stream("hi") as run:
            async for _event in run:
                run.interrupt()
        async with client.open("hi", deployment="mock", deltas="text") as generation:
            assert_type(generation.draw(4), range)
            async for event in generation:
                assert_type(event, tt.Delta | tt.Sample | tt.Failed)
                if isinstance(event, tt.Sample):
                    assert_type(event.text, str)
                    generation.cancel(event.index)


def a_test(
    ttc_mock: testing.MockBuilder,
    ttc_client: testing.MockClient,
    ttc_clock: testing.VirtualClock,
    ttc_faults: testing.Faults,
    ttc_snapshot: testing.Snapshots,
) -> None:
    assert_type(ttc_mock(answers=["7"], objective={"quality": 0.9}), tt.Config)
    assert_type(ttc_mock.like("ttc.yaml", {"cloud": {"answers": ["7"]}}), tt.Config)
    assert_type(ttc_faults("rate_limit", deployment="mock", samples=[0]), tt.Config)
    result = ttc_client.solve("hi")
    assert_type(result, tt.Result)
    testing.assert_plan(result, deployment="mock", strategy="single")
    testing.assert_fell_back(result, source="mock", because="RateLimitError")
    ttc_snapshot(result.plan)
    assert_type(testing.plan_snapshot(result.plan), str)
    ttc_clock.advance(60)


def what_a_run_says(result: tt.Result) -> None:
    chosen = result.plan.chosen
    assert chosen is not None
    assert_type(chosen.deployment, str)
    assert_type(chosen.predicted.latency_p95_s, float | None)
    assert_type(chosen.predicted.cost_usd, float | None)
    assert_type(result.tally.votes, tuple[int, ...])
    assert_type(result.receipt.energy_j, float | None)
    assert_type(result.task, Literal["math", "choice", "code", "json", "open"])
    result.answer = "42"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue] - results are frozen


def objectives() -> None:
    assert_type(tt.Objective().max_cost_usd, float | None)
    assert_type(tt.Objective().locality, Literal["any", "local"])
    tt.Objective(prefer="speed")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - no such preference
    tt.Objective(0.9)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue] - by keyword alone


def configurations() -> None:
    config = tt.Config.load("ttc.yaml")
    assert_type(config, tt.Config)
    assert_type(config.objective, tt.Objective)
    assert_type([spec.id for spec in config.deployments], list[str])
    tt.Client(config)
    tt.Client(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - a file or a configuration


def events(sample: tt.Sample, failed: tt.Failed) -> None:
    assert_type(sample.index, int)
    assert_type(sample.usage.output_tokens, int)
    assert_type(failed.error.retryable, bool)
