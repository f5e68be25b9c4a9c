from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tt_compute.errors import OutOfMemory, ServerError, UnknownNameError
from tt_compute.strategies import STRATEGIES, get_strategy

pytestmark = pytest.mark.anyio

Stage = Callable[..., Any]


async def test_one_sample_is_drawn_whatever_the_budget(stage: Stage) -> None:
    it = stage("single", ["4", "5"])
    outcome = await it.play()
    assert it.generation.drawn == 1
    assert (outcome.answer.text, outcome.text, outcome.winner) == ("4", "4", 0)
    assert (outcome.stop_reason, outcome.stop_posterior, outcome.votes) == ("budget", None, ())


async def test_its_deltas_are_passed_on(stage: Stage) -> None:
    it = stage("single", ["4"])
    await it.play()
    assert [delta.text for delta in it.notes.deltas] == ["delta of 0"]


async def test_a_text_without_an_answer_stands(stage: Stage) -> None:
    outcome = await stage("single", [("4", "length")]).play()
    assert (outcome.answer, outcome.text, outcome.winner) == (None, "4", 0)


async def test_a_failure_is_raised_once_it_was_told(stage: Stage) -> None:
    it = stage("single", [OutOfMemory("no room")])
    with pytest.raises(OutOfMemory, match="no room"):
        await it.play()
    assert len(it.notes.ended) == 1


async def test_a_lost_engine_is_its_error(stage: Stage) -> None:
    with pytest.raises(ServerError, match="the engine is gone"):
        await stage("single", ["4"], lost_after=0).play()


@pytest.mark.parametrize(("text", "answer"), [("4!", "4"), ("4", None)])
async def test_at_the_deadline_only_an_explicit_answer_stands(
    stage: Stage, text: str, answer: str | None
) -> None:
    it = stage("single", [text])
    it.adjust(deadline_passed=lambda: False)
    it.generation.deadline_after = 0
    outcome = await it.play()
    assert (outcome.answer and outcome.answer.text) == answer
    assert (outcome.winner is None) is (answer is None)
    assert outcome.stop_reason == "deadline"


async def test_a_deadline_that_passed_before_the_start_draws_nothing(stage: Stage) -> None:
    it = stage("single", ["4"], deadline_after=0)
    outcome = await it.play()
    assert it.generation.drawn == 0
    assert (outcome.winner, outcome.stop_reason) == (None, "deadline")


def test_every_strategy_is_found_by_its_name() -> None:
    assert set(STRATEGIES) >= {"single", "majority", "best_of_n"}
    assert all(get_strategy(name).name == name for name in STRATEGIES)


def test_an_unknown_strategy_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match="'majorty'") as caught:
        get_strategy("majorty")
    assert caught.value.hint == "did you mean 'majority'?"


def test_a_strange_name_is_refused_with_all_that_are_known() -> None:
    with pytest.raises(UnknownNameError) as caught:
        get_strategy("zzz")
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("known: single, majority, best_of_n, ")
