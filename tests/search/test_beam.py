"""Step-wise search: ``beam`` and ``dvts``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from tt_compute.errors import ContextLengthError, InvalidRequestError, ServerError, VerifierError
from tt_compute.strategies.beam import Beam
from tt_compute.strategies.dvts import DVTS
from tt_compute.types import Message
from tt_compute.verify.verifiers import CallableVerifier

if TYPE_CHECKING:
    from tests.search.conftest import Model

pytestmark = pytest.mark.anyio

Play = Callable[..., Any]

TREE = {
    "": ["Bad start.\n\nrest", "Good start.\n\nrest"],
    "Bad start.\n\n": ["The answer is 13."],
    "Good start.\n\n": ["Middle.\n\nrest"],
    "Good start.\n\nMiddle.\n\n": ["The answer is 42."],
}


def grows(asked: Any, number: int) -> str:
    """Follows ``TREE``."""
    lines = TREE[asked.begun]
    return lines[number % len(lines)]


def good(_prompt: str, text: str) -> float:
    """Knows a good start."""
    return 0.9 if "Good" in text else 0.1


async def test_only_the_best_beams_go_on(play: Play, talk: type[Model]) -> None:
    played = await play(Beam(width=1, scorer=good), talk(grows))
    assert [asked.begun for asked in played.model.asked] == [
        "",
        "Good start.\n\n",
        "Good start.\n\nMiddle.\n\n",
    ]
    assert played.answer == "42"
    assert played.outcome.text == "Good start.\n\nMiddle.\n\nThe answer is 42."
    assert played.outcome.stop_reason == "settled"


async def test_beams_of_one_beginning_can_crowd_out_another_and_trees_cannot(
    play: Play, talk: type[Model]
) -> None:
    def two_starts(asked: Any, number: int) -> str:
        starts = ["Good start one.\n\n", "Good start two.\n\n", "Bad start.\n\n", "Bad start.\n\n"]
        return "The answer is 42." if asked.begun else starts[number]

    beams = await play(Beam(width=2, scorer=good), talk(two_starts))
    trees = await play(DVTS(trees=2, scorer=good), talk(two_starts))
    went_on = [{asked.begun[:3] for asked in one.model.asked[1:]} for one in (beams, trees)]
    assert went_on == [{"Goo"}, {"Goo", "Bad"}]


async def test_the_roots_share_one_prompt(play: Play, talk: type[Model]) -> None:
    played = await play(Beam(width=3, branching=2, max_steps=1), talk(lambda _, __: "It is 42."))
    assert (len(played.model.asked), played.model.drawn) == (1, 6)


async def test_the_last_of_the_budget_finishes_the_beams(play: Play, talk: type[Model]) -> None:
    """The last prompts are drawn to the end: no step would be of use to anybody."""

    def endless(asked: Any, number: int) -> str:
        return (
            f"Step {number}.\n\nThe answer is 42." if asked.sampling.stop else "The answer is 42."
        )

    played = await play(Beam(width=2), talk(endless), max_samples=10)
    stops = [asked.sampling.stop for asked in played.model.asked]
    assert stops[0] == ("\n\n",)
    assert stops[-1] == ()
    assert (played.answer, played.outcome.stop_reason) == ("42", "budget")


async def test_no_step_is_drawn_that_leaves_too_little_to_finish_every_beam(
    play: Play, talk: type[Model]
) -> None:
    def endless(asked: Any, number: int) -> str:
        return f"Step {number}.\n\nand on" if asked.sampling.stop else "The answer is 42."

    played = await play(Beam(width=2), talk(endless), max_samples=9)
    stops = [asked.sampling.stop for asked in played.model.asked]
    assert stops == [("\n\n",), (), ()]
    assert played.outcome.votes == (("42", 4),)


async def test_a_budget_of_one_is_one_whole_sample(play: Play, talk: type[Model]) -> None:
    played = await play(Beam(), talk(lambda _, __: "One.\n\nThe answer is 42."), max_samples=1)
    assert (played.model.drawn, played.answer) == (1, "42")


async def test_a_step_ends_at_the_users_stop_string_and_keeps_it(
    play: Play, talk: type[Model]
) -> None:
    def says(asked: Any, _number: int) -> str:
        return "The answer is 42." if asked.begun else "One;two"

    played = await play(Beam(width=1, stop=";"), talk(says, logprob=lambda _: -0.1))
    assert played.outcome.text == "One;The answer is 42."


@pytest.mark.parametrize("spells_stop", [True, False])
async def test_the_tokens_tell_the_end_of_a_text_from_the_end_of_a_step(
    play: Play, talk: type[Model], *, spells_stop: bool
) -> None:
    """A model that has no more to say is asked to go on once only where its tokens do not tell."""

    def says(asked: Any, _number: int) -> str:
        return "" if asked.begun else "It must be 42"

    model = talk(says, logprob=lambda _: -0.1, spells_stop=spells_stop)
    played = await play(Beam(width=1), model)
    assert played.answer == "42"
    assert len(played.model.asked) == 1

    silent = await play(Beam(width=1), talk(says))
    assert silent.answer == "42"
    assert len(silent.model.asked) == 2


async def test_a_blank_first_step_is_not_the_end(play: Play, talk: type[Model]) -> None:
    def says(asked: Any, _number: int) -> str:
        return "The answer is 42." if asked.begun else "\n\nLet me think."

    played = await play(Beam(width=1), talk(says))
    assert played.answer == "42"


async def test_equal_steps_are_gone_on_from_once(play: Play, talk: type[Model]) -> None:
    def says(asked: Any, _number: int) -> str:
        return "The answer is 42." if asked.begun else "One.\n\nmore"

    played = await play(Beam(width=2, branching=2), talk(says))
    asked = [asked.begun for asked in played.model.asked]
    assert asked == ["", "One.\n\n"]


async def test_finished_beams_vote_by_their_scores(play: Play, talk: type[Model]) -> None:
    lines = ["The answer is 41.", "The answer is 41.", "The answer is 42.", "The answer is 43."]
    scores = {"41": 0.2, "42": 0.5, "43": 0.3}

    def score(_prompt: str, text: str) -> float:
        return next(value for answer, value in scores.items() if answer in text)

    strategy = Beam(width=2, max_steps=1, scorer=score)
    played = await play(strategy, talk(lambda _, number: lines[number]))
    assert played.answer == "42"
    assert played.outcome.votes == (("42", 1), ("41", 2), ("43", 1))
    scores["41"] = 0.3
    assert (await play(strategy, talk(lambda _, number: lines[number]))).answer == "41"
    best = Beam(width=2, max_steps=1, scorer=score, choose="best")
    assert (await play(best, talk(lambda _, number: lines[number]))).answer == "42"


async def test_scores_below_zero_weigh_by_their_softmax(play: Play, talk: type[Model]) -> None:
    lines = ["The answer is 41.", "The answer is 41.", "The answer is 42."]

    def score(_prompt: str, text: str) -> float:
        return -1.0 if "42" in text else -4.0

    strategy = Beam(width=1, branching=3, max_steps=1, scorer=score)
    assert (await play(strategy, talk(lambda _, number: lines[number]))).answer == "42"


async def test_the_models_own_logprobs_score_its_steps(play: Play, talk: type[Model]) -> None:
    def sure(text: str) -> float:
        return -0.1 if "Good" in text or "42" in text else -2.0

    played = await play(Beam(width=1), talk(grows, logprob=sure))
    assert played.answer == "42"
    assert played.outcome.ended[0].score == pytest.approx(math.exp(-2.0))


async def test_the_model_can_be_asked_whether_its_steps_are_right(
    play: Play, talk: type[Model]
) -> None:
    """The judging samples come out of the same budget."""

    def says(asked: Any, number: int) -> str:
        if "Are the steps right?" in asked.last:
            return "Yes" if "Good" in asked.last else "No"
        return grows(asked, number)

    model = talk(says, logprob=lambda text: -0.2 if text == "Yes" else -0.1)
    played = await play(Beam(width=1, scorer="p_true"), model)
    judged = [asked for asked in model.asked if "Are the steps right?" in asked.last]
    assert all(asked.sampling.max_tokens == 1 for asked in judged)
    assert played.answer == "42"
    first, second = played.outcome.ended[0].score, played.outcome.ended[1].score
    assert (first, second) == (
        pytest.approx(1 - math.exp(-0.1)),
        pytest.approx(math.exp(-0.2)),
    )


@pytest.mark.parametrize(("aggregate", "winner"), [("last", "42"), ("min", "41"), ("prod", "41")])
async def test_a_process_scorer_scores_every_step(
    play: Play, talk: type[Model], aggregate: Any, winner: str
) -> None:
    class Scorer:
        async def score_steps(
            self,
            messages: Sequence[Message],  # noqa: ARG002 - the protocol's
            steps: Sequence[Sequence[str]],
            *,
            deadline: float | None = None,  # noqa: ARG002 - the protocol's
        ) -> Sequence[Sequence[float]]:
            values = {"A.\n\n": 0.1, "B.\n\n": 0.6, "It is 42": 0.9, "It is 41": 0.5}
            return [[values[step] for step in text] for text in steps]

    def says(asked: Any, number: int) -> str:
        if not asked.begun:
            return ["A.\n\n", "B.\n\n"][number]
        return "It is 42" if asked.begun.startswith("A") else "It is 41"

    strategy = DVTS(
        trees=2, branching=1, max_steps=2, scorer=Scorer(), aggregate=aggregate, choose="best"
    )
    assert (await play(strategy, talk(says))).answer == winner


async def test_a_process_scorer_sees_the_steps_of_what_was_drawn_to_the_end(
    play: Play, talk: type[Model]
) -> None:
    """The last of the budget says several at once; what is blank is no step."""
    seen: list[tuple[str, ...]] = []

    class Scorer:
        async def score_steps(
            self,
            messages: Sequence[Message],  # noqa: ARG002 - the protocol's
            steps: Sequence[Sequence[str]],
            *,
            deadline: float | None = None,  # noqa: ARG002 - the protocol's
        ) -> Sequence[Sequence[float]]:
            seen.extend(map(tuple, steps))
            return [[0.5] * len(text) for text in steps]

    def says(asked: Any, number: int) -> str:
        if not asked.begun:
            return ["A.\n\n", "   "][number]
        return "B.\n\n\n\nIt is 42\n\n"

    strategy = Beam(width=1, branching=2, max_steps=2, scorer=Scorer())
    played = await play(strategy, talk(says))
    assert set(seen) == {("A.\n\n",), ("A.\n\n", "B.\n\n", "It is 42\n\n")}
    assert (played.answer, played.outcome.text) == ("42", "A.\n\nB.\n\n\n\nIt is 42\n\n")
    assert not played.outcome.warnings


async def test_a_deployment_that_nobody_can_ask_scores_nothing(
    play: Play, talk: type[Model]
) -> None:
    """As in a run over samples without a client."""
    beam = Beam(width=2, scorer="steps=somebody")
    played = await play(beam, talk(grows))
    assert any("no deployments" in warning for warning in played.outcome.warnings)
    assert beam.needs.step_scorer == "somebody"


@pytest.mark.parametrize("more", [-1, 1, None])
async def test_scores_of_other_texts_or_steps_are_a_warning(
    play: Play, talk: type[Model], more: int | None
) -> None:
    """None = there is one text too few."""

    class Scorer:
        async def score_steps(
            self,
            messages: Sequence[Message],  # noqa: ARG002 - the protocol's
            steps: Sequence[Sequence[str]],
            *,
            deadline: float | None = None,  # noqa: ARG002 - the protocol's
        ) -> Sequence[Sequence[float]]:
            return [[0.5]] if more is None else [[0.5] * (len(text) + more) for text in steps]

    played = await play(Beam(width=2, scorer=Scorer()), talk(grows))
    assert any("could not be scored" in warning for warning in played.outcome.warnings)


async def test_a_step_that_cannot_be_scored_is_a_warning(play: Play, talk: type[Model]) -> None:
    def score(_prompt: str, text: str) -> float:
        if "Bad" in text:
            raise ValueError("no idea")
        return 0.5

    played = await play(Beam(width=1, scorer=score), talk(grows))
    assert played.answer == "42"
    assert any("no idea" in warning for warning in played.outcome.warnings)


async def test_a_step_that_cannot_be_scored_keeps_the_score_before_it(
    play: Play, talk: type[Model]
) -> None:
    def score(_prompt: str, text: str) -> float:
        if "Middle" in text:
            raise ValueError("no idea")
        return good("", text)

    played = await play(Beam(width=1, branching=4, scorer=score), talk(grows))
    assert played.outcome.ended[4].score == 0.9


async def test_without_any_score_the_search_goes_on(play: Play, talk: type[Model]) -> None:
    def score(_prompt: str, _text: str) -> float:
        raise VerifierError("down")

    played = await play(Beam(width=2, scorer=score), talk(grows))
    assert played.answer in {"13", "42"}


async def test_a_failed_step_costs_no_other(play: Play, talk: type[Model]) -> None:
    def says(asked: Any, number: int) -> str | ServerError:
        if not asked.begun and number == 0:
            return ServerError("hiccup")
        return grows(asked, number)

    played = await play(Beam(width=1, scorer=good), talk(says))
    assert played.answer == "42"
    assert "1 of" in played.outcome.warnings[0]


async def test_a_prompt_that_is_refused_costs_no_other(play: Play, talk: type[Model]) -> None:
    model = talk(
        grows,
        refuses=lambda asked: ContextLengthError("too long") if "Good" in asked.begun else None,
    )
    played = await play(Beam(width=2, scorer=good), model)
    assert played.answer == "13"
    assert "a prompt was lost: too long" in played.outcome.warnings


async def test_when_every_sample_fails_the_first_error_is_raised(
    play: Play, talk: type[Model]
) -> None:
    with pytest.raises(ServerError, match="the 0th"):
        await play(Beam(), talk(lambda _, number: ServerError(f"the {number}th")))


async def test_at_the_deadline_the_best_finished_beam_answers(
    play: Play, talk: type[Model]
) -> None:
    def says(asked: Any, number: int) -> str:
        if not asked.begun:
            return ["The answer is 41.", "Good start.\n\n"][number % 2]
        return "More.\n\n"

    played = await play(Beam(width=2, scorer=good), talk(says, deadline_after=4))
    assert (played.answer, played.outcome.stop_reason) == ("41", "deadline")


async def test_a_text_that_the_deadline_cut_answers_only_behind_a_mark(
    play: Play, talk: type[Model]
) -> None:
    def says(last: str) -> Callable[[Any, int], str]:
        return lambda _, number: last if number else "Hm.\n\nrest"

    cut = await play(Beam(width=1), talk(says("It may be 41 "), deadline_after=1))
    assert (cut.outcome.winner, cut.outcome.stop_reason) == (None, "deadline")
    marked = await play(Beam(width=1), talk(says(r"\boxed{42} and "), deadline_after=1))
    assert (marked.answer, marked.outcome.stop_reason) == ("42", "deadline")


async def test_a_sample_cut_by_the_deadline_tells_that_time_is_up(
    play: Play, talk: type[Model]
) -> None:
    """The backend's clock may be ahead of ours."""
    model = talk(lambda _, number: ("It is", "deadline") if number == 1 else "One.\n\nmore")
    played = await play(Beam(width=1), model)
    assert (played.model.drawn, played.outcome.stop_reason) == (2, "deadline")


async def test_a_verifier_ends_the_search_at_the_first_text_it_accepts(
    play: Play, talk: type[Model]
) -> None:
    verifier = CallableVerifier(lambda _, text: "13" in text)
    played = await play(Beam(width=2, scorer=good), talk(grows), verifier=verifier)
    assert (played.answer, played.outcome.stop_reason) == ("13", "verifier")
    assert played.outcome.text == "Bad start.\n\nThe answer is 13."
    assert "Good start.\n\nMiddle.\n\n" not in [asked.begun for asked in played.model.asked]


async def test_of_judged_texts_the_best_verdict_answers(play: Play, talk: type[Model]) -> None:
    verifier = CallableVerifier(lambda _, text: 0.6 if "13" in text else 0.3)
    played = await play(Beam(width=2, scorer=good), talk(grows), verifier=verifier)
    assert (played.answer, played.outcome.stop_reason) == ("13", "settled")


@pytest.mark.parametrize(
    "settings",
    [
        {"width": 0},
        {"branching": 0},
        {"max_steps": 0},
        {"step_tokens": 0},
        {"stop": ""},
        {"scorer": "magic"},
        {"choose": "first"},
    ],
)
def test_settings_that_no_search_could_use_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError):
        Beam(**settings)


def test_step_wise_search_needs_a_deployment_that_goes_on_from_a_text() -> None:
    needs, scored = Beam().needs, DVTS(scorer=good).needs
    assert (needs.continue_assistant, needs.logprobs) == (True, 1)
    assert (scored.continue_assistant, scored.logprobs) == (True, 0)
