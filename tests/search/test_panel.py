"""A vote across deployments: ``panel``."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import hypothesis
import hypothesis.strategies as some
import pytest

from tt_compute.errors import InvalidRequestError, ServerError
from tt_compute.strategies.base import Needs
from tt_compute.strategies.mixture import Mixture
from tt_compute.strategies.panel import Panel

if TYPE_CHECKING:
    from tests.search.conftest import Model

Play = Callable[..., Any]
THREE = ("a", "b", "c")
NONE = "I do not know."


def say(*lines: Any) -> Callable[[Any, int], Any]:
    """What each deployment says; a number is an answer."""
    said = [f"The answer is {line}." if isinstance(line, int) else line for line in lines]
    return lambda asked, _: said[asked.rung]


def rungs(played: Any) -> list[int]:
    return [asked.rung for asked in played.model.asked]


@pytest.mark.anyio
async def test_two_that_agree_settle_it_and_the_best_one_is_not_asked(
    play: Play, talk: type[Model]
) -> None:
    played = await play(Panel(THREE), talk(say(42, 42, 41)))
    assert (played.answer, played.outcome.stop_reason) == ("42", "settled")
    assert rungs(played) == [0, 1]
    assert played.outcome.votes == (("42", 2),)
    assert played.outcome.by_rung == ((0, 1),)


@pytest.mark.anyio
async def test_the_next_is_asked_where_the_first_differ(play: Play, talk: type[Model]) -> None:
    played = await play(Panel(THREE), talk(say(41, 42, 42)))
    assert (played.answer, played.outcome.stop_reason) == ("42", "settled")
    assert rungs(played) == [0, 1, 2]
    assert played.outcome.by_rung == ((1, 2), (0,))


@pytest.mark.anyio
async def test_of_equal_votes_that_of_the_one_asked_last_stands(
    play: Play, talk: type[Model]
) -> None:
    played = await play(Panel(THREE), talk(say(41, 42, 43)))
    assert (played.answer, played.outcome.stop_reason) == ("43", "budget")
    assert played.outcome.votes[0] == ("43", 1)


@pytest.mark.anyio
async def test_the_text_is_that_of_the_best_one_that_gave_the_answer(
    play: Play, talk: type[Model]
) -> None:
    played = await play(Panel(THREE), talk(say("It is 42.", 41, "So 6 * 7 = 42.")))
    assert played.outcome.text == "So 6 * 7 = 42."


@pytest.mark.parametrize("missing", [NONE, ServerError("down")])
@pytest.mark.anyio
async def test_who_has_no_answer_is_replaced_by_the_next(
    play: Play, talk: type[Model], missing: Any
) -> None:
    played = await play(Panel(("a", "b", "c", "d")), talk(say(42, missing, 42, 41)))
    assert (played.answer, played.outcome.stop_reason) == ("42", "settled")
    assert rungs(played) == [0, 1, 2]


@pytest.mark.anyio
async def test_a_prompt_that_one_refuses_costs_only_its_vote(play: Play, talk: type[Model]) -> None:
    model = talk(
        say(42, 42, 42), refuses=lambda asked: ServerError("down") if asked.rung == 1 else None
    )
    played = await play(Panel(THREE), model)
    assert (played.answer, played.outcome.stop_reason) == ("42", "settled")
    assert "a prompt was lost: down" in played.outcome.warnings


@pytest.mark.anyio
async def test_when_all_fail_the_first_error_is_raised(play: Play, talk: type[Model]) -> None:
    with pytest.raises(ServerError, match="down"):
        await play(Panel(("a", "b")), talk(say(ServerError("down"), ServerError("too"))))


@pytest.mark.anyio
async def test_a_vote_that_nobody_left_can_change_is_over(play: Play, talk: type[Model]) -> None:
    """Four equal answers were wanted; three cannot be caught by the two that are left."""
    played = await play(
        Panel(("a", "b", "c", "d", "e"), agree=4), talk(say(42, 42, 42, 42, 42)), wave=5
    )
    assert rungs(played) == [0, 1, 2]
    assert (played.answer, played.outcome.stop_reason) == ("42", "settled")


@pytest.mark.anyio
async def test_at_the_deadline_those_that_ended_vote(play: Play, talk: type[Model]) -> None:
    played = await play(Panel(THREE), talk(say(41, 42, 43), deadline_after=2))
    assert played.outcome.stop_reason == "deadline"
    assert (played.answer, rungs(played)) == ("42", [0, 1])


@pytest.mark.anyio
async def test_no_more_are_asked_than_the_budget_allows(play: Play, talk: type[Model]) -> None:
    played = await play(Panel(THREE), talk(say(41, 42, 43)), max_samples=2)
    assert (rungs(played), played.outcome.stop_reason) == ([0, 1], "budget")


@pytest.mark.anyio
async def test_the_first_deployments_own_vote_is_told_apart(play: Play, talk: type[Model]) -> None:
    """Its ability is learned from it, and from nobody else's."""
    for lines, own in (((42, 42, 41), (1,)), ((41, 42, 42), (0, 1)), ((NONE, 42, 42), ())):
        played = await play(Panel(THREE), talk(say(*lines)))
        assert played.outcome.own_votes == own


@hypothesis.given(
    lines=some.lists(
        some.sampled_from([40, 41, 42, NONE, ServerError("down")]), min_size=2, max_size=6
    ),
    data=some.data(),
)
@hypothesis.settings(max_examples=60)
def test_nobody_is_asked_who_is_not_needed(
    play: Play, talk: type[Model], lines: list[Any], data: some.DataObject
) -> None:
    """Asking one by one until enough agree, or none can catch up, asks as many and finds the same."""
    agree = data.draw(some.integers(2, len(lines)))
    votes: Counter[int] = Counter()
    last: dict[int, int] = {}
    asked = 0
    for place, line in enumerate(lines):
        ranked = [count for _, count in votes.most_common(2)] + [0, 0]
        left = len(lines) - place
        if ranked[0] >= agree or ranked[0] > ranked[1] + left:
            break
        asked += 1
        if isinstance(line, int):
            votes[line] += 1
            last[line] = place
    hypothesis.assume(votes)
    names = tuple("abcdef"[: len(lines)])
    played = asyncio.run(play(Panel(names, agree), talk(say(*lines)), wave=6))
    assert len(played.model.asked) == asked
    assert played.answer == str(max(votes, key=lambda answer: (votes[answer], last[answer])))


@pytest.mark.parametrize("bad", [((), 2), (("a",), 2), (("a", "b"), 1), (("a", "b"), 3)])
def test_what_could_never_agree_is_refused(bad: tuple[tuple[str, ...], int]) -> None:
    with pytest.raises(InvalidRequestError):
        Panel(*bad)


def needing(ids: Any) -> Needs:
    return Needs(deployments=ids)


@pytest.mark.parametrize("bad", ["mock", None, ("mock", 3)], ids=str)
@pytest.mark.parametrize("made", [Panel, Mixture, needing])
def test_what_is_no_list_of_deployments_is_refused(made: Callable[[Any], Any], bad: Any) -> None:
    """Of the text 'mock' each letter would be taken for a deployment."""
    with pytest.raises(InvalidRequestError, match="deployments are a tuple of their ids"):
        made(bad)
