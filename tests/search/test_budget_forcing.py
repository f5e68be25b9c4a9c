from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tt_compute.errors import InvalidRequestError, ServerError, UnsupportedError
from tt_compute.strategies.budget_forcing import BudgetForcing
from tt_compute.strategies.thinking import Marks, Thought
from tt_compute.types import Sample
from tt_compute.verify.verifiers import CallableVerifier

if TYPE_CHECKING:
    from tests.search.conftest import Model

pytestmark = pytest.mark.anyio

Play = Callable[..., Any]


def thinks(asked: Any, _number: int) -> str:
    """Is wrong at first, and right once it was made to wait."""
    if asked.begun.endswith("Wait"):
        return ", it is six sevens.</think>The answer is 42."
    return "<think>Is it 41?</think>The answer is 41."


async def test_thinking_goes_on_where_it_had_stopped(play: Play, talk: type[Model]) -> None:
    played = await play(BudgetForcing(waits=1), talk(thinks))
    assert played.model.asked[1].begun == "<think>Is it 41?\n\nWait"
    assert played.answer == "42"
    assert (
        played.outcome.text
        == "<think>Is it 41?\n\nWait, it is six sevens.</think>The answer is 42."
    )
    assert [one.answer.text for one in played.outcome.ended] == ["41", "42"]


async def test_no_more_waits_than_the_budget_allows(play: Play, talk: type[Model]) -> None:
    played = await play(BudgetForcing(waits=9), talk(thinks), max_samples=3)
    assert (played.model.drawn, played.outcome.stop_reason) == (3, "budget")


async def test_thinking_that_takes_too_long_is_ended_for_the_model(
    play: Play, talk: type[Model]
) -> None:
    def says(asked: Any, _number: int) -> Any:
        if asked.begun.endswith("Final Answer:"):
            return " 42"
        return ("<think>First of all, let me", "length")

    played = await play(BudgetForcing(waits=0, thinking_tokens=6), talk(says))
    assert played.model.asked[0].sampling.max_tokens == 6
    assert played.model.asked[1].sampling.max_tokens == 100
    assert played.outcome.text == "<think>First of all, let me</think>\n\nFinal Answer: 42"
    assert played.answer == "42"


async def test_thinking_that_ends_without_an_answer_is_answered(
    play: Play, talk: type[Model]
) -> None:
    def says(asked: Any, _number: int) -> str:
        return " 42" if asked.begun else "<think>Six sevens."

    assert (await play(BudgetForcing(waits=0), talk(says))).answer == "42"


async def test_an_answer_that_the_limit_of_thinking_cut_is_completed(
    play: Play, talk: type[Model]
) -> None:
    def says(asked: Any, _number: int) -> Any:
        return " is 42." if asked.begun else ("<think>Hm.</think>The answer", "length")

    played = await play(BudgetForcing(waits=0, thinking_tokens=6), talk(says))
    assert (played.answer, played.model.drawn) == ("42", 2)


async def test_a_model_that_shows_no_thinking_is_refused(play: Play, talk: type[Model]) -> None:
    with pytest.raises(UnsupportedError, match="shows no thinking"):
        await play(BudgetForcing(), talk(lambda _, __: "The answer is 42."))


async def test_a_template_that_opens_the_thinking_itself_can_be_told_of(
    play: Play, talk: type[Model]
) -> None:
    def says(asked: Any, _number: int) -> Any:
        return "</think>It is 42." if asked.begun else ("Let me see", "length")

    strategy = BudgetForcing(waits=0, marks=Marks(opened=True))
    assert (await play(strategy, talk(says))).answer == "42"


async def test_the_verifier_ends_it_and_keeps_the_better_answer(
    play: Play, talk: type[Model]
) -> None:
    accepted = await play(
        BudgetForcing(waits=3),
        talk(thinks),
        verifier=CallableVerifier(lambda _, text: "is 41" in text),
    )
    assert (accepted.answer, accepted.model.drawn) == ("41", 1)
    assert accepted.outcome.stop_reason == "verifier"
    better = await play(
        BudgetForcing(waits=1),
        talk(thinks),
        verifier=CallableVerifier(lambda _, text: 0.1 if "is 42" in text else 0.5),
    )
    assert better.answer == "41"


async def test_the_answer_before_the_wait_stands_when_the_wait_brings_none(
    play: Play, talk: type[Model]
) -> None:
    def says(asked: Any, number: int) -> Any:
        return ServerError("hiccup") if asked.begun else thinks(asked, number)

    assert (await play(BudgetForcing(), talk(says))).answer == "41"
    late = await play(BudgetForcing(waits=5), talk(thinks, deadline_after=1))
    assert (late.answer, late.outcome.stop_reason) == ("41", "deadline")


def test_thinking_that_comes_apart_from_the_text_is_taken_up_in_the_text() -> None:
    sample = Sample(index=0, text="It is 42.", reasoning="Six sevens.", finish_reason="stop")
    thought = Thought().with_sample(sample, Marks())
    assert thought.text(Marks()) == "<think>Six sevens.</think>It is 42."
    cut = Sample(index=0, text="", reasoning="Six", finish_reason="length")
    assert Thought().with_sample(cut, Marks()).text(Marks()) == "<think>Six"


def test_what_it_needs_and_refuses() -> None:
    assert BudgetForcing().needs.continue_assistant
    refused: list[dict[str, Any]] = [{"waits": -1}, {"thinking_tokens": 0}, {"wait": ""}]
    for settings in refused:
        with pytest.raises(InvalidRequestError):
            BudgetForcing(**settings)
    with pytest.raises(InvalidRequestError):
        Marks(closes="")
