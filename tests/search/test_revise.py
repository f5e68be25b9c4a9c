"""Attempts one after another: ``revise`` and ``refine``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tt_compute.errors import InvalidRequestError, ServerError
from tt_compute.strategies.refine import Refine
from tt_compute.strategies.revise import Revise
from tt_compute.verify.base import Judgement
from tt_compute.verify.verifiers import CallableVerifier

if TYPE_CHECKING:
    from tests.search.conftest import Model

pytestmark = pytest.mark.anyio

Play = Callable[..., Any]


def answers(*numbers: int) -> Callable[[Any, int], str]:
    """One answer after the other, whatever is asked."""
    left = iter(numbers)
    return lambda _, __: f"The answer is {next(left)}."


def right(_prompt: str, text: str) -> float:
    return 1.0 if "42" in text else 0.5 if "41" in text else 0.0


def turns(asked: Any) -> list[str]:
    return [message.role for message in asked.messages]


async def test_each_attempt_sees_the_ones_before_it(play: Play, talk: type[Model]) -> None:
    played = await play(Revise(revisions=2), talk(answers(40, 41, 42)))
    assert [len(asked.messages) for asked in played.model.asked] == [1, 3, 5]
    assert turns(played.model.asked[2]) == ["user", "assistant", "user", "assistant", "user"]
    assert played.model.asked[2].messages[3].text == "The answer is 41."


async def test_no_more_attempts_than_the_context_are_in_sight(
    play: Play, talk: type[Model]
) -> None:
    played = await play(Revise(revisions=3, context=1), talk(answers(40, 41, 42, 43)))
    last = played.model.asked[-1].messages
    assert [message.text for message in last if message.role == "assistant"] == [
        "The answer is 42."
    ]


async def test_thinking_is_not_shown_again(play: Play, talk: type[Model]) -> None:
    played = await play(
        Revise(revisions=1), talk(lambda _, __: "<think>Hm, 41?</think>The answer is 42.")
    )
    assert played.model.asked[1].messages[1].text == "The answer is 42."


async def test_revisions_end_when_the_verifier_accepts(play: Play, talk: type[Model]) -> None:
    played = await play(Revise(), talk(answers(40, 42, 43)), verifier=CallableVerifier(right))
    assert (played.answer, played.model.drawn) == ("42", 2)
    assert played.outcome.stop_reason == "verifier"


@pytest.mark.parametrize("strategy", [Revise(revisions=2), Refine(rounds=2)])
async def test_a_worse_attempt_never_takes_the_place_of_a_better_one(
    play: Play, talk: type[Model], strategy: Any
) -> None:
    """Nor does one that is no better: of equal verdicts the first stands."""
    played = await play(
        strategy,
        talk(lambda asked, _: f"The answer is {(41, 40, 39)[len(asked.messages) // 2 % 3]}."),
        verifier=CallableVerifier(right),
    )
    assert (played.answer, played.outcome.winner) == ("41", 0)
    equal = await play(
        strategy, talk(lambda _, __: "The answer is 41."), verifier=CallableVerifier(right)
    )
    assert equal.outcome.winner == 0


async def test_without_a_verifier_revisions_vote_and_a_tie_keeps_the_first(
    play: Play, talk: type[Model]
) -> None:
    tied = await play(Revise(revisions=1), talk(answers(41, 42)))
    assert (tied.answer, tied.outcome.votes) == ("41", (("41", 1), ("42", 1)))
    assert (await play(Revise(revisions=2), talk(answers(41, 42, 42)))).answer == "42"


async def test_chains_do_not_see_each_other(play: Play, talk: type[Model]) -> None:
    played = await play(Revise(chains=2, revisions=1), talk(answers(40, 41, 42, 43)))
    seen = {asked.messages[1].text for asked in played.model.asked[2:]}
    assert seen == {"The answer is 40.", "The answer is 41."}


async def test_revisions_go_on_until_the_budget_is_spent(play: Play, talk: type[Model]) -> None:
    played = await play(Revise(), talk(lambda _, __: "The answer is 42."), max_samples=5)
    assert (played.model.drawn, played.outcome.stop_reason) == (5, "budget")


async def test_a_failed_or_empty_attempt_is_left_out_of_its_chain(
    play: Play, talk: type[Model]
) -> None:
    left: Iterator[Any] = iter(
        [ServerError("hiccup"), "", "The answer is 42.", "The answer is 42."]
    )
    played = await play(Revise(revisions=3), talk(lambda _, __: next(left)))
    assert [len(asked.messages) for asked in played.model.asked] == [1, 1, 1, 3]
    assert played.answer == "42"


async def test_when_every_attempt_fails_the_first_error_is_raised(
    play: Play, talk: type[Model]
) -> None:
    for strategy in (Revise(), Refine()):
        with pytest.raises(ServerError, match="down"):
            await play(strategy, talk(lambda _, __: ServerError("down")))


async def test_the_deadline_returns_the_best_attempt_so_far(play: Play, talk: type[Model]) -> None:
    for strategy in (Revise(), Refine()):
        played = await play(
            strategy,
            talk(lambda _, __: "The answer is 41.", deadline_after=2),
            verifier=CallableVerifier(right),
        )
        assert (played.answer, played.outcome.stop_reason) == ("41", "deadline")


async def test_refine_asks_the_model_what_is_wrong_and_shows_it_that(
    play: Play, talk: type[Model]
) -> None:
    def says(asked: Any, _number: int) -> str:
        if "Review" in asked.last:
            return "NO MISTAKES." if "42" in asked.messages[-2].text else "Count again."
        return "The answer is 42." if "Count again." in asked.last else "The answer is 41."

    played = await play(Refine(), talk(says))
    assert played.texts == [
        "The answer is 41.",
        "Count again.",
        "The answer is 42.",
        "NO MISTAKES.",
    ]
    assert (played.answer, played.outcome.stop_reason) == ("42", "settled")
    assert "Count again." in played.model.asked[2].last
    assert [one.answer is None for one in played.outcome.ended] == [False, True, False, True]


async def test_refine_passes_on_why_the_verifier_refused(play: Play, talk: type[Model]) -> None:
    """Such as a test that failed; then the model is not asked for feedback."""

    def judge(_prompt: str, text: str) -> Judgement:
        if "42" in text:
            return Judgement(score=1.0)
        return Judgement(score=0.0, reason="add(2, 2) must return 4. It returned 5.")

    def says(asked: Any, _number: int) -> str:
        return "The answer is 42." if "It returned 5." in asked.last else "The answer is 41."

    played = await play(Refine(), talk(says), verifier=CallableVerifier(judge))
    assert (played.answer, played.model.drawn) == ("42", 2)
    model = await play(
        Refine(feedback="model", rounds=1), talk(says), verifier=CallableVerifier(judge)
    )
    assert "Review" in model.model.asked[1].last


async def test_refine_does_not_believe_a_model_that_the_verifier_contradicts(
    play: Play, talk: type[Model]
) -> None:
    def says(asked: Any, _number: int) -> str:
        return "no mistakes" if "Review" in asked.last else "The answer is 41."

    played = await play(Refine(rounds=1), talk(says), verifier=CallableVerifier(right))
    assert played.outcome.stop_reason == "budget"
    assert played.texts == ["The answer is 41.", "no mistakes", "The answer is 41."]


async def test_no_feedback_is_asked_for_that_no_attempt_could_follow(
    play: Play, talk: type[Model]
) -> None:
    played = await play(Refine(), talk(lambda _, __: "The answer is 41."), max_samples=2)
    assert played.model.drawn == 1


async def test_without_a_verifier_the_last_refinement_answers(
    play: Play, talk: type[Model]
) -> None:
    def says(asked: Any, _number: int) -> str:
        if "Review" in asked.last:
            return "Try again."
        return f"The answer is {40 + len(asked.messages) // 2}."

    played = await play(Refine(rounds=2), talk(says))
    assert played.answer == "42"


@pytest.mark.parametrize(
    ("strategy", "settings"),
    [
        (Revise, {"chains": 0}),
        (Revise, {"revisions": -1}),
        (Revise, {"context": 0}),
        (Revise, {"instruction": " "}),
        (Refine, {"rounds": -1}),
        (Refine, {"feedback": "oracle"}),
        (Refine, {"critique": ""}),
    ],
)
def test_settings_that_no_run_could_use_are_refused(
    strategy: Any, settings: dict[str, Any]
) -> None:
    with pytest.raises(InvalidRequestError):
        strategy(**settings)
