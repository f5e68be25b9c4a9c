"""Tree of thoughts, on the paper's own game: make 24 of four numbers."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from tt_compute.errors import InvalidRequestError, ServerError, UsageError
from tt_compute.strategies.tree_of_thought import Thoughts, TreeOfThought
from tt_compute.verify.verifiers import CallableVerifier

if TYPE_CHECKING:
    from tests.search.conftest import Model

pytestmark = pytest.mark.anyio

Play = Callable[..., Any]


def left(state: Thoughts) -> list[Fraction]:
    """The numbers that a state leaves, as its last thought says: ``4 + 9 = 13 (left: 10 13 13)``."""
    text = state.thoughts[-1].partition("left: ")[2].rstrip(")") if state.thoughts else "4 9 10 13"
    return [Fraction(number) for number in text.split()]


def results(one: Fraction, two: Fraction) -> dict[str, Fraction]:
    made = {"+": one + two, "-": one - two, "*": one * two}
    return made if two == 0 else {**made, "/": one / two}


def moves(state: Thoughts, _model: Any) -> list[str]:
    """Every next step, in exact arithmetic."""
    numbers = left(state)
    found: list[str] = []
    for first, second in itertools.permutations(range(len(numbers)), 2):
        rest = [number for place, number in enumerate(numbers) if place not in (first, second)]
        for sign, value in results(numbers[first], numbers[second]).items():
            remaining = " ".join(map(str, sorted([*rest, value])))
            found.append(f"{numbers[first]} {sign} {numbers[second]} = {value} (left: {remaining})")
    return found


def reaches(numbers: list[Fraction]) -> bool:
    if len(numbers) == 1:
        return numbers[0] == 24
    return any(
        reaches([*(n for i, n in enumerate(numbers) if i not in (first, second)), value])
        for first, second in itertools.permutations(range(len(numbers)), 2)
        for value in results(numbers[first], numbers[second]).values()
    )


def hope(state: Thoughts, _model: Any) -> float:
    """1 where 24 can still be reached, for few numbers; of more it is not sure."""
    numbers = left(state)
    return 0.5 if len(numbers) > 2 else float(reaches(numbers))


def is_24(_prompt: str, text: str) -> bool:
    return text.endswith("(left: 24)")


def game(**settings: Any) -> TreeOfThought:
    fields: dict[str, Any] = {"propose": moves, "evaluate": hope}
    return TreeOfThought(**{**fields, **settings})


def not_a_number(_state: Thoughts, _model: Any) -> float:
    return float("nan")


def silent(talk: type[Model], **more: Any) -> Any:
    return talk(lambda _, __: "", **more)


@pytest.mark.parametrize("search", ["bfs", "dfs"])
async def test_the_game_of_24_is_solved_and_the_same_way_every_time(
    play: Play, talk: type[Model], search: str
) -> None:
    strategy = game(search=search, breadth=40, max_states=20_000)
    played = [
        await play(strategy, silent(talk), verifier=CallableVerifier(is_24), task="open")
        for _ in range(2)
    ]
    first, second = (one.outcome for one in played)
    assert first.text.endswith("(left: 24)")
    assert len(first.text.splitlines()) == 3
    assert first.stop_reason == "verifier"
    assert first.text == second.text


async def test_depth_first_never_enters_a_state_that_is_not_above_the_threshold(
    play: Play, talk: type[Model]
) -> None:
    entered: list[Thoughts] = []

    def propose(state: Thoughts, _model: Any) -> list[str]:
        entered.append(state)
        return ["low", "high"]

    def evaluate(state: Thoughts, _model: Any) -> float:
        return 0.2 if state.thoughts[-1] == "low" else 0.9

    strategy = TreeOfThought(
        propose=propose, evaluate=evaluate, search="dfs", depth=3, threshold=0.2
    )
    played = await play(strategy, silent(talk), task="open")
    assert [state.thoughts for state in entered] == [(), ("high",), ("high", "high")]
    assert played.outcome.text == "high\nhigh\nhigh"
    assert played.outcome.stop_reason == "settled"


async def test_a_state_at_the_threshold_is_given_up(play: Play, talk: type[Model]) -> None:
    def propose(state: Thoughts, _model: Any) -> list[str]:
        return [] if state.thoughts else ["one"]

    def evaluate(_state: Thoughts, _model: Any) -> float:
        return 0.2

    strategy = TreeOfThought(
        propose=propose, evaluate=evaluate, search="dfs", depth=1, threshold=0.2
    )
    assert (await play(strategy, silent(talk), task="open")).outcome.stop_reason == "budget"


async def test_depth_first_turns_back_at_a_dead_end(play: Play, talk: type[Model]) -> None:
    def propose(state: Thoughts, _model: Any) -> list[str]:
        return [] if state.thoughts == ("best",) else ["best", "second"]

    def evaluate(state: Thoughts, _model: Any) -> float:
        return 0.9 if state.thoughts[-1] == "best" else 0.5

    strategy = TreeOfThought(propose=propose, evaluate=evaluate, search="dfs", depth=2)
    assert (await play(strategy, silent(talk), task="open")).outcome.text == "second\nbest"


async def test_breadth_first_keeps_the_best_of_each_level(play: Play, talk: type[Model]) -> None:
    asked: list[tuple[str, ...]] = []

    def propose(state: Thoughts, _model: Any) -> list[str]:
        asked.append(state.thoughts)
        return ["a", "b", "c"]

    def evaluate(state: Thoughts, _model: Any) -> float:
        return float(sum("abc".index(thought) for thought in state.thoughts))

    strategy = TreeOfThought(propose=propose, evaluate=evaluate, depth=2, breadth=2)
    played = await play(strategy, silent(talk), task="open")
    assert sorted(asked) == [(), ("b",), ("c",)]
    assert played.outcome.text == "c\nc"


async def test_functions_may_ask_the_model_within_the_runs_budget(
    play: Play, talk: type[Model]
) -> None:
    async def propose(state: Thoughts, model: Any) -> list[str]:
        return list(await model.ask(f"Go on: {state.text}", 2, temperature=1.0, stop=["\n"]))

    async def evaluate(state: Thoughts, model: Any) -> float:
        said = await model.ask(f"Rate: {state.text}")
        return float(said[0]) if said else 0.0

    def says(asked: Any, number: int) -> str:
        return "0.7" if asked.last.startswith("Rate") else f"thought {number}"

    strategy = TreeOfThought(propose=propose, evaluate=evaluate, depth=2, breadth=1)
    played = await play(strategy, talk(says), max_samples=8, task="open")
    assert played.outcome.text == "thought 0\nthought 0"
    assert played.model.drawn == 8
    short = await play(strategy, talk(says), max_samples=4, task="open")
    assert short.outcome.text == "thought 0"
    assert short.outcome.stop_reason == "budget"


async def test_a_failed_sample_is_only_missing(play: Play, talk: type[Model]) -> None:
    async def propose(state: Thoughts, model: Any) -> list[str]:
        return list(await model.ask("Go on", 2))

    def says(_asked: Any, number: int) -> Any:
        return ServerError("hiccup") if number == 0 else "The answer is 42."

    strategy = TreeOfThought(propose=propose, evaluate=lambda _, __: 1.0, depth=1)
    assert (await play(strategy, talk(says))).answer == "42"


async def test_what_a_function_raises_is_the_runs_error(play: Play, talk: type[Model]) -> None:
    def propose(_state: Thoughts, _model: Any) -> list[str]:
        raise KeyError("x")

    with pytest.raises(UsageError, match="`propose` raised KeyError"):
        await play(game(propose=propose), silent(talk))
    with pytest.raises(InvalidRequestError, match="NaN"):
        await play(game(evaluate=not_a_number), silent(talk))


async def test_a_function_that_hangs_does_not_hold_the_deadline(
    play: Play, talk: type[Model]
) -> None:
    """The best state so far answers."""
    talks = talk(lambda _, __: r"\boxed{42}")

    async def propose(state: Thoughts, model: Any) -> list[str]:
        if state.thoughts:
            talks.interrupted = True
            await anyio.sleep_forever()
        return list(await model.ask("Go on", 1))

    strategy = TreeOfThought(propose=propose, evaluate=lambda _, __: 1.0, depth=2)
    with anyio.fail_after(5):
        played = await play(strategy, talks)
    assert (played.answer, played.outcome.stop_reason) == ("42", "deadline")


@pytest.mark.parametrize(
    "settings", [{"depth": 0}, {"breadth": 0}, {"max_states": 0}, {"search": "random"}]
)
def test_settings_that_no_search_could_use_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError):
        game(**settings)
