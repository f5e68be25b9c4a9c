"""Drawing from several prompts."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from tt_compute.errors import UsageError
from tt_compute.strategies.base import Outcome, Run
from tt_compute.strategies.deadline import before_deadline
from tt_compute.strategies.drawing import Ask, Drawer
from tt_compute.types import Message
from tt_compute.verify.tasks import get_task

if TYPE_CHECKING:
    from tests.search.conftest import Model

pytestmark = pytest.mark.anyio

Play = Callable[..., Any]


class Draws:
    """A strategy that draws what it is told to, and keeps what came."""

    name = "draws"

    def __init__(self, *numbers: int) -> None:
        self._numbers = numbers
        self.came: list[int] = []

    async def run(self, run: Run) -> Outcome:
        drawer = Drawer(run)
        asks = [
            Ask(messages=(Message(role="user", content=str(place)),), number=number)
            for place, number in enumerate(self._numbers)
        ]
        self.came = [len(samples) for samples in await drawer.draw(asks)]
        return Outcome(
            answer=None,
            text="",
            winner=None,
            stop_reason="budget",
            stop_posterior=None,
            ended=drawer.by_index(),
        )


async def test_a_budget_that_does_not_reach_is_told_off_in_turn(
    play: Play, talk: type[Model]
) -> None:
    draws = Draws(1, 5, 5)
    await play(draws, talk(lambda _, __: "x"), max_samples=6)
    assert draws.came == [1, 3, 2]


@pytest.mark.parametrize("wave", [1, 2, 3, 100])
async def test_prompts_share_the_wave_and_are_opened_in_order(
    play: Play, talk: type[Model], wave: int
) -> None:
    """``play`` sees that the wave is kept."""
    played = await play(Draws(3, 1, 4, 2), talk(lambda _, __: "x"), wave=wave)
    assert [asked.last for asked in played.model.asked] == ["0", "1", "2", "3"]
    assert played.model.drawn == 10
    assert played.model.most_live == min(wave, 10)


async def test_nobody_is_shown_pieces_of_many_texts(play: Play, talk: type[Model]) -> None:
    assert (await play(Draws(3), talk(lambda _, __: "x"))).notes.deltas == []


async def test_after_the_deadline_no_more_is_drawn(play: Play, talk: type[Model]) -> None:
    played = await play(Draws(4, 4), talk(lambda _, __: "x", deadline_after=1), wave=2)
    assert played.model.drawn == 2


def _recorded(model: Any, **changes: Any) -> Run:
    messages = (Message(role="user", content="?"),)
    fields: dict[str, Any] = {
        "generation": None,
        "messages": messages,
        "task": get_task("open", messages),
        "max_samples": 4,
        "wave": 4,
        "stop_rule": None,
        "verifier": None,
        "rng": random.Random(0),
        "observer": None,
        "deadline_passed": model.deadline_passed,
        "until_deadline": model.until_deadline,
    }
    return Run(**{**fields, **changes})


async def test_recorded_samples_of_one_prompt_cannot_be_searched(talk: type[Model]) -> None:
    with pytest.raises(UsageError, match="further prompts"):
        Drawer(_recorded(talk(lambda _, __: "x")))


async def test_work_that_outlasts_the_deadline_gives_nothing(talk: type[Model]) -> None:
    model = talk(lambda _, __: "x")

    async def work() -> str:
        model.interrupted = True
        await anyio.sleep_forever()
        return "late"

    with anyio.fail_after(5):
        assert await before_deadline(_recorded(model), work) is None


async def test_what_work_raises_before_the_deadline_is_raised_as_it_is(talk: type[Model]) -> None:
    async def work() -> str:
        raise UsageError("no")

    with pytest.raises(UsageError, match="no"):
        await before_deadline(_recorded(talk(lambda _, __: "x")), work)
