from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tt_compute.errors import InvalidRequestError, ServerError
from tt_compute.strategies.confidence import (
    GroupConfidence,
    lowest_group,
    percentile,
    token_confidence,
)
from tt_compute.strategies.deepconf import DeepConf
from tt_compute.types import TokenLogprob

if TYPE_CHECKING:
    from tests.search.conftest import Model

pytestmark = pytest.mark.anyio

Play = Callable[..., Any]


def token(logprob: float, *others: float) -> TokenLogprob:
    top = (("a", logprob), *(("b", other) for other in others)) if others else ()
    return TokenLogprob(token="a", logprob=logprob, top=top)


def test_confidence_is_the_negative_mean_logprob_of_the_likeliest_tokens() -> None:
    assert token_confidence(token(-0.5, -1.5, -4.0)) == pytest.approx(2.0)
    assert token_confidence(token(-0.5)) == pytest.approx(math.exp(-0.5))


def test_the_lowest_group_is_that_of_any_whole_window() -> None:
    tokens = [token(-1, -9), token(-1, -1), token(-1, -3), token(-1, -9)]
    assert lowest_group(tokens, 2) == pytest.approx(1.5)
    assert lowest_group(tokens, 4) == pytest.approx(3.25)
    assert lowest_group(tokens, 99) == pytest.approx(3.25)
    assert lowest_group([], 2) is None


def test_before_a_window_is_whole_nothing_is_low() -> None:
    group = GroupConfidence(3)
    group.add([token(-1, -1), token(-1, -1)])
    assert group.lowest is None
    group.add([token(-1, -1)])
    assert group.lowest == pytest.approx(1.0)


def test_percentiles_are_interpolated() -> None:
    assert percentile([1.0, 2.0, 3.0, 4.0, 5.0], 90) == pytest.approx(4.6)
    assert percentile([7.0], 10) == 7.0


def model_of(talk: type[Model], lines: list[tuple[str, float]], **more: Any) -> Any:
    """Samples with their probability per token."""
    chances = dict(lines)
    return talk(
        lambda _, number: lines[number][0], logprob=lambda text: math.log(chances[text]), **more
    )


def settings(**changes: Any) -> DeepConf:
    fields: dict[str, Any] = {"warmup": 4, "window": 3, "top": 1, "keep": 0.5}
    return DeepConf(**{**fields, **changes})


SURE = [(f"It is 42{'.' * n}", 0.9) for n in range(1, 9)]
UNSURE = [(f"It is 41{'.' * n}", 0.3) for n in range(1, 9)]


async def test_samples_below_the_threshold_are_cut_and_do_not_vote(
    play: Play, talk: type[Model]
) -> None:
    lines = [*SURE[:2], *UNSURE[:2], *UNSURE[2:6], *SURE[2:4]]
    played = await play(settings(consensus=None, keep=0.4), model_of(talk, lines), max_samples=8)
    reasons = [one.event.finish_reason for one in played.outcome.ended]
    assert reasons == [*["stop"] * 4, *["cancelled"] * 4]
    assert played.notes.stopping == [4, 5, 6, 7]
    assert (played.answer, played.outcome.votes) == ("42", (("42", 2),))


async def test_votes_weigh_by_the_lowest_group(play: Play, talk: type[Model]) -> None:
    lines = [SURE[0], *UNSURE[:2]]
    played = await play(settings(warmup=3, keep=1.0), model_of(talk, lines), max_samples=3)
    assert played.answer == "42"
    assert played.outcome.votes == (("42", 1), ("41", 2))
    assert played.outcome.ended[1].score < played.outcome.ended[0].score


async def test_consensus_ends_the_run(play: Play, talk: type[Model]) -> None:
    played = await play(settings(), model_of(talk, SURE), max_samples=8)
    assert (played.model.drawn, played.outcome.stop_reason) == (4, "settled")
    assert played.outcome.stop_posterior == 1.0


async def test_the_warmup_is_never_cut_nor_ended_early(play: Play, talk: type[Model]) -> None:
    played = await play(settings(warmup=8), model_of(talk, SURE), max_samples=8, wave=2)
    assert [one.event.finish_reason for one in played.outcome.ended] == ["stop"] * 8


async def test_a_text_shorter_than_the_window_is_not_ended_early(
    play: Play, talk: type[Model]
) -> None:
    lines = [*SURE[:4], *UNSURE[:4]]
    played = await play(
        settings(window=2048, consensus=None, keep=1.0), model_of(talk, lines[::-1]), max_samples=8
    )
    assert [one.event.finish_reason for one in played.outcome.ended] == ["stop"] * 8


async def test_a_failed_sample_abstains(play: Play, talk: type[Model]) -> None:
    def says(_asked: Any, number: int) -> Any:
        return ServerError("hiccup") if number == 1 else SURE[number][0]

    played = await play(settings(), talk(says, logprob=lambda _: -0.1), max_samples=8)
    assert (played.answer, played.outcome.votes) == ("42", (("42", 3),))


async def test_when_every_sample_fails_the_first_error_is_raised(
    play: Play, talk: type[Model]
) -> None:
    with pytest.raises(ServerError, match="down"):
        await play(settings(), talk(lambda _, __: ServerError("down")))


async def test_the_deadline_returns_the_vote_so_far(play: Play, talk: type[Model]) -> None:
    played = await play(settings(warmup=8), model_of(talk, SURE, deadline_after=2), max_samples=8)
    assert (played.answer, played.outcome.stop_reason) == ("42", "deadline")


async def test_without_logprobs_it_is_a_plain_vote_and_says_so(
    play: Play, talk: type[Model]
) -> None:
    played = await play(settings(), talk(lambda _, number: SURE[number][0]), max_samples=4)
    assert (played.answer, played.outcome.votes) == ("42", (("42", 4),))
    assert played.outcome.warnings == ("4 samples came without logprobs",)


def test_what_it_needs_and_refuses() -> None:
    assert DeepConf().needs.logprobs == 20
    refused: list[dict[str, Any]] = [
        {"warmup": 0},
        {"window": 0},
        {"top": 0},
        {"keep": 0.0},
        {"consensus": 1.5},
    ]
    for bad in refused:
        with pytest.raises(InvalidRequestError):
            DeepConf(**bad)
