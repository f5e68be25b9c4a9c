"""A strategy of one's own, and the further prompts that it may open."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from msgspec.structs import replace

from tt_compute.client import AsyncClient, Client
from tt_compute.errors import (
    GenerationClosed,
    InvalidRequestError,
    PlanError,
    SpendCapReached,
    UnsupportedError,
    UsageError,
)
from tt_compute.planning.types import Objective
from tt_compute.results import Result
from tt_compute.setup import STORE_FILE
from tt_compute.strategies.base import Ended, Needs, Outcome, Run
from tt_compute.types import Failed, Message, Sample, SamplingParams

Connect = Callable[..., Client]
ConnectAsync = Callable[..., AsyncClient]

FOLLOW_UP = (Message(role="user", content="Check the answer."),)
PRICED = {"price": {"usd_per_mtok": {"input": 1.0, "output": 1.0}}}


class Ask:
    """One sample of the request, then ``again`` of a further prompt, then one more of the request."""

    name = "ask_again"

    def __init__(
        self, again: int = 2, messages: tuple[Message, ...] = FOLLOW_UP, rung: int = 0
    ) -> None:
        self.again = again
        self.messages = messages
        self.rung = rung
        self.indices: list[list[int]] = []
        self.events: list[Sample | Failed] = []

    async def run(self, run: Run) -> Outcome:
        assert run.open is not None
        await self._draw(run, run.generation, 1)
        async with run.open(self.messages, rung=self.rung) as further:
            await self._draw(run, further, self.again)
        await self._draw(run, run.generation, 1)
        ended = tuple(Ended(event=event, answer=None) for event in self.events)
        return Outcome(
            answer=None,
            text=self.events[-1].text,
            winner=self.events[-1].index,
            stop_reason="budget",
            stop_posterior=None,
            ended=ended,
        )

    async def _draw(self, run: Run, generation: Any, count: int) -> None:
        drawn = generation.draw(count)
        self.indices.append(list(drawn))
        run.observer.on_drawn(drawn)
        async for event in generation:
            self.events.append(event)
            run.observer.on_ended(Ended(event=event, answer=None))


class Stubborn(Ask):
    """Goes on drawing, whatever happens."""

    name = "stubborn"

    async def run(self, run: Run) -> Outcome:
        await super().run(run)
        await super().run(run)
        return await super().run(run)


class Keeping(Ask):
    """Leaves a further prompt open, and keeps what it was lent."""

    name = "keeping"

    async def run(self, run: Run) -> Outcome:
        assert run.open is not None
        self.kept = run.open
        self.scope = run.open(FOLLOW_UP)
        self.further = await self.scope.__aenter__()
        self.further.draw(1)
        return await super().run(run)


class Demanding(Ask):
    """Needs what the mock cannot be made to offer here."""

    name = "demanding"

    def __init__(self, needs: Needs) -> None:
        super().__init__()
        self.needs = needs


class ReadingTwice(Ask):
    """Has two tasks read one prompt."""

    name = "reading_twice"

    async def _draw(self, run: Run, generation: Any, count: int) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(super()._draw, run, generation, count)
            await anyio.lowlevel.checkpoint()
            with pytest.raises(UsageError, match="second consumer"):
                await anext(aiter(generation))


class Altered(Ask):
    """Returns something else."""

    name = "altered"

    def __init__(self, change: Callable[[Outcome], Any]) -> None:
        super().__init__()
        self.change = change

    async def run(self, run: Run) -> Outcome:
        altered: Outcome = self.change(await super().run(run))
        return altered


class Impostor(Ask):
    name = "majority"


@pytest.mark.anyio
async def test_samples_of_all_prompts_are_numbered_in_the_order_of_drawing(
    connect_async: ConnectAsync,
) -> None:
    ask = Ask()
    async with connect_async() as client:
        result = await client.solve("6 * 7 = ?", strategy=ask, seed=1)
    assert ask.indices == [[0], [1, 2], [3]]
    assert [event.index for event in ask.events] == [0, 1, 2, 3]
    assert [sample.index for sample in result.samples] == [0, 1, 2, 3]


@pytest.mark.anyio
async def test_the_receipt_holds_the_tokens_of_all_prompts(connect_async: ConnectAsync) -> None:
    ask = Ask()
    async with connect_async(deployment=PRICED) as client:
        result = await client.solve("6 * 7 = ?", strategy=ask, seed=1)
    receipt = result.receipt
    assert (receipt.samples_drawn, receipt.samples_finished) == (4, 4)
    assert receipt.output_tokens == sum(event.usage.output_tokens for event in ask.events)
    assert receipt.input_tokens == sum(event.usage.input_tokens for event in ask.events)
    assert receipt.cost_usd == pytest.approx(
        (receipt.input_tokens + receipt.output_tokens) / 1e6, rel=1e-9
    )


@pytest.mark.anyio
async def test_a_prompt_opened_again_gives_other_samples(connect_async: ConnectAsync) -> None:
    """Of ten answers equally likely, twelve samples of either prompt are not the same in the same order."""
    prompt = "6 * 7 = ?"
    ask = Ask(again=12, messages=(Message(role="user", content=prompt),))
    async with connect_async(answers=[f"The answer is {n}." for n in range(10)]) as client:
        whole = await client.generate(
            prompt, n=12, deployment="scripted", sampling=SamplingParams(seed=1)
        )
        await client.solve(prompt, strategy=ask, seed=1)
    again = [event.text for event in ask.events[1:13]]
    assert again != [sample.text for sample in whole]
    assert len(set(again)) > 1


@pytest.mark.anyio
async def test_a_seed_decides_the_samples_of_every_prompt(connect_async: ConnectAsync) -> None:
    first, second = Ask(again=8), Ask(again=8)
    async with connect_async(answers=[f"The answer is {n}." for n in range(10)]) as client:
        for ask in (first, second):
            await client.solve("6 * 7 = ?", strategy=ask, seed=5)
    assert [event.text for event in first.events] == [event.text for event in second.events]


@pytest.mark.anyio
async def test_the_spend_cap_holds_over_all_prompts_together(connect_async: ConnectAsync) -> None:
    """Set aside for each sample: 5 prompt and 64 new tokens at most; the cap pays for two of the four."""
    ask = Ask()
    async with connect_async(deployment=PRICED) as client:
        result = await client.solve(
            "6 * 7 = ?",
            strategy=ask,
            seed=1,
            max_tokens=64,
            objective=Objective(max_cost_usd=90e-6),
        )
    failed = [event for event in ask.events if isinstance(event, Failed)]
    assert failed
    assert all(isinstance(event.error, SpendCapReached) for event in failed)
    assert result.receipt.cost_usd is not None
    assert result.receipt.cost_usd <= 90e-6


@pytest.mark.anyio
async def test_nothing_that_is_drawn_after_an_interrupt_is_made(
    connect_async: ConnectAsync,
) -> None:
    """At any prompt, also by a strategy that asks no deadline."""
    strategy = Stubborn()
    async with (
        connect_async(latency={"ttft_s": 1.0, "tokens_per_s": 10.0}) as client,
        client.stream("6 * 7 = ?", strategy=strategy, seed=1) as run,
    ):
        interrupted = False
        async for _ in run:
            if strategy.events and not interrupted:
                run.interrupt()
                interrupted = True
    receipt = run.result.receipt
    assert (receipt.samples_drawn, receipt.samples_finished) == (12, 1)
    assert (receipt.samples_cancelled, receipt.stop_reason) == (11, "interrupted")
    assert receipt.output_tokens == strategy.events[0].usage.output_tokens


@pytest.mark.anyio
async def test_nothing_is_drawn_once_the_run_is_over(connect_async: ConnectAsync) -> None:
    """Its receipt would not hold it."""
    strategy = Keeping()
    async with connect_async(latency={"ttft_s": 1.0, "tokens_per_s": 10.0}) as client:
        await client.solve("6 * 7 = ?", strategy=strategy, seed=1)
        with pytest.raises(GenerationClosed):
            strategy.further.draw()
        with pytest.raises(GenerationClosed):
            async with strategy.kept(FOLLOW_UP):
                pass
        await strategy.scope.__aexit__(None, None, None)


@pytest.mark.anyio
async def test_the_plan_of_an_unknown_strategy_says_that_its_figures_are_unknown(
    connect_async: ConnectAsync,
) -> None:
    async with connect_async() as client:
        plan = await client.plan("6 * 7 = ?", strategy=Ask(), objective=Objective(max_samples=6))
    assert plan.chosen is not None
    assert (plan.chosen.strategy, plan.chosen.max_samples) == ("ask_again", 6)
    assert plan.chosen.predicted.quality is None
    assert plan.chosen.predicted.latency_p50_s is None


@pytest.mark.anyio
async def test_a_need_that_no_deployment_meets_is_told_before_anything_runs(
    connect_async: ConnectAsync,
) -> None:
    strategy = Demanding(Needs(logprobs=50))
    async with connect_async() as client:
        with pytest.raises(UnsupportedError, match="logprobs=50"):
            await client.solve("6 * 7 = ?", strategy=strategy)
    assert not strategy.events


@pytest.mark.anyio
async def test_a_need_of_a_verifier_is_told_before_anything_runs(
    connect_async: ConnectAsync,
) -> None:
    strategy = Demanding(Needs(verifier=True))
    async with connect_async() as client:
        with pytest.raises(InvalidRequestError, match="'demanding' needs a verifier"):
            await client.solve("6 * 7 = ?", strategy=strategy)
        await client.solve("6 * 7 = ?", strategy=strategy, verifier="exact=42")
    assert strategy.events


@pytest.mark.anyio
async def test_a_second_reader_of_a_runs_prompt_is_refused_and_the_first_goes_on(
    connect_async: ConnectAsync,
) -> None:
    strategy = ReadingTwice()
    async with connect_async() as client:
        await client.solve("6 * 7 = ?", strategy=strategy)
    assert [event.index for event in strategy.events] == [0, 1, 2, 3]


@pytest.mark.anyio
async def test_needs_that_are_none_are_refused(connect_async: ConnectAsync) -> None:
    needs: Any = None
    async with connect_async() as client:
        with pytest.raises(InvalidRequestError, match="`needs` of the strategy 'demanding'"):
            await client.solve("6 * 7 = ?", strategy=Demanding(needs))


@pytest.mark.anyio
async def test_the_name_of_a_built_in_strategy_is_refused(connect_async: ConnectAsync) -> None:
    async with connect_async() as client:
        with pytest.raises(InvalidRequestError, match=r"Impostor has the name .* 'majority'"):
            await client.solve("6 * 7 = ?", strategy=Impostor())


@pytest.mark.anyio
async def test_a_class_in_the_place_of_a_strategy_is_refused(connect_async: ConnectAsync) -> None:
    strategy: Any = Ask
    async with connect_async() as client:
        with pytest.raises(InvalidRequestError, match="got the class Ask"):
            await client.solve("6 * 7 = ?", strategy=strategy)


@pytest.mark.anyio
async def test_what_has_no_name_or_no_run_is_no_strategy(connect_async: ConnectAsync) -> None:
    strategy: Any = object()
    async with connect_async() as client:
        with pytest.raises(InvalidRequestError, match="got object") as caught:
            await client.solve("6 * 7 = ?", strategy=strategy)
    assert caught.value.hint is not None
    assert "`name`" in caught.value.hint


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (None, "'altered' returned NoneType, not an Outcome"),
        ({"answer": "42"}, "an answer that is str, not an Answer or None"),
        ({"stop_reason": "happy"}, "the stop reason 'happy', not one of settled"),
        ({"winner": 9}, "the winner 9, which is not among"),
    ],
)
async def test_an_outcome_that_none_could_be_is_refused(
    connect_async: ConnectAsync, changed: dict[str, Any] | None, message: str
) -> None:
    """With what was drawn: it was paid for."""

    def change(outcome: Outcome) -> Any:
        return None if changed is None else replace(outcome, **changed)

    async with connect_async() as client:
        with pytest.raises(InvalidRequestError, match=message) as caught:
            await client.solve("6 * 7 = ?", strategy=Altered(change))
    assert isinstance(caught.value.partial, Result)
    assert caught.value.partial.receipt.samples_drawn == 4


@pytest.mark.anyio
async def test_a_strategy_that_breaks_leaves_a_receipt(
    connect_async: ConnectAsync, environ: dict[str, str]
) -> None:
    """Its own error comes out as it is."""

    def broken(outcome: Outcome) -> Outcome:
        raise KeyError(outcome.winner)

    async with connect_async() as client:
        with pytest.raises(KeyError):
            await client.solve("6 * 7 = ?", strategy=Altered(broken))
    with sqlite3.connect(Path(environ["TTC_DATA_DIR"]) / STORE_FILE) as connection:
        kept = connection.execute("SELECT samples_drawn, stop_reason FROM receipts").fetchall()
    connection.close()
    assert kept == [(4, "failed")]


@pytest.mark.anyio
@pytest.mark.parametrize("rung", [-1, 1])
async def test_a_rung_that_the_plan_does_not_have_is_refused(
    connect_async: ConnectAsync, rung: int
) -> None:
    async with connect_async() as client:
        with pytest.raises(InvalidRequestError, match=f"there is no rung {rung}; this run has 1"):
            await client.solve("6 * 7 = ?", strategy=Ask(rung=rung))


@pytest.mark.anyio
async def test_samples_of_other_prompts_teach_no_ability_and_no_length(
    connect_async: ConnectAsync,
) -> None:
    async with connect_async() as client:
        result = await client.solve("6 * 7 = ?", strategy=Ask(), seed=1)
        assert result.confidence is None
        await client.feedback(result.id, correct=True)
        known = await client.estimates(mock=True)
    (ability,) = known.abilities
    assert ability.samples_weight == pytest.approx(2, rel=0.01)


@pytest.mark.anyio
async def test_a_plan_for_a_strategy_of_ones_own_runs_with_it_and_not_without(
    connect_async: ConnectAsync,
) -> None:
    ask = Ask()
    async with connect_async() as client:
        plan = await client.plan("6 * 7 = ?", strategy=ask)
        with pytest.raises(PlanError, match="'ask_again' is not a built-in one"):
            await client.solve("6 * 7 = ?", plan=plan)
        await client.solve("6 * 7 = ?", plan=plan, strategy=ask)
    assert len(ask.events) == 4


class Hurried(Ask):
    """Forgot the `async`."""

    name = "hurried"

    def run(self, run: Run) -> Any:
        return run


@pytest.mark.anyio
async def test_a_run_that_is_not_async_is_told_so(connect_async: ConnectAsync) -> None:
    async with connect_async() as client:
        with pytest.raises(InvalidRequestError, match="'hurried' has a `run` that is not async"):
            await client.solve("6 * 7 = ?", strategy=Hurried())


@pytest.mark.anyio
@pytest.mark.parametrize("messages", ["Check the answer.", (), ("Check the answer.",), None])
async def test_a_further_prompt_that_is_no_messages_is_told_so(
    connect_async: ConnectAsync, messages: Any
) -> None:
    async with connect_async() as client:
        with pytest.raises(InvalidRequestError, match="a further prompt is messages, got"):
            await client.solve("6 * 7 = ?", strategy=Ask(messages=messages))
