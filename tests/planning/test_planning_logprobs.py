"""What log-probabilities tell of an answer: learned from judged ones, shrunk, and never made up."""

from __future__ import annotations

import math
import random

import msgspec
import pytest

from tt_compute.planning.ability import TaskAbility
from tt_compute.planning.confidence import vote_confidence
from tt_compute.planning.logprobs import LEAST_ANSWERS, LogprobEffect, logprob_effect
from tt_compute.planning.observations import Observation
from tt_compute.planning.questions import Questions

ABILITY = TaskAbility(
    mean=0.5,
    questions=Questions.stated(mean=0.5, concentration=1.5, agreement=0.4),
    abstain_share=0.0,
)
"""One sample is right half of the time, so that its log-odds are 0."""


def single(*, right: bool, logprob: float | None, weight: float = 1.0) -> Observation:
    """A judged run of one sample."""
    return Observation(
        right=int(right),
        wrong=() if right else (1,),
        weight=weight,
        right_logprob=logprob if right else None,
        wrong_logprob=None if right else logprob,
    )


def answers(count: int, slope: float, *, seed: int = 1) -> tuple[Observation, ...]:
    """Of a model whose log-odds move by ``slope`` for each nat around -0.3."""
    rng = random.Random(seed)
    seen: list[Observation] = []
    for _ in range(count):
        logprob = rng.gauss(-0.3, 0.1)
        chance = 1 / (1 + math.exp(-slope * (logprob + 0.3)))
        seen.append(single(right=rng.random() < chance, logprob=logprob))
    return tuple(seen)


def effect(seen: tuple[Observation, ...], prompt_tokens: int | None = None) -> LogprobEffect:
    found = logprob_effect(ABILITY, seen, prompt_tokens)
    assert found is not None
    return found


@pytest.mark.parametrize("slope", [5.0, 15.0])
def test_the_slope_of_many_answers_is_found(slope: float) -> None:
    found = effect(answers(4000, slope))
    assert found.answers == 4000
    assert found.slope == pytest.approx(slope, rel=0.1)
    assert found.centre == pytest.approx(-0.3, abs=0.01)


def test_few_answers_count_for_little() -> None:
    """Each taken ten times over, the same answers have a steeper slope."""
    few = answers(25, 15.0)
    assert effect(few).slope < 0.9 * effect(few * 10).slope


def test_votes_are_not_counted_twice() -> None:
    """Votes that already tell right from wrong leave little for log-probabilities that go with them."""
    agreed = Observation(right=16, right_logprob=-0.1)
    scattered = Observation(wrong=(1,), unsure=(1,) * 15, wrong_logprob=-0.5)
    clear = (agreed, scattered) * 50
    blind = tuple(
        single(right=right, logprob=-0.1 if right else -0.5) for right in (True, False) * 50
    )
    assert effect(clear).slope < 0.5 * effect(blind).slope


def test_what_tells_nothing_moves_nothing() -> None:
    found = effect(answers(4000, 0.0))
    assert found.moved(0.7, found.centre - 0.1) == pytest.approx(0.7, abs=0.02)


def test_few_answers_that_tell_nothing_seldom_move_anything() -> None:
    """A slope that chance makes is within a standard deviation of 0 five times in six, or below it."""
    slopes = [effect(answers(40, 0.0, seed=seed)).slope for seed in range(100)]
    assert slopes.count(0.0) > 70


def test_a_model_that_is_surer_where_it_errs_is_left_alone() -> None:
    found = effect(answers(400, -15.0))
    assert found.slope == 0
    assert found.moved(0.7, -0.1) == pytest.approx(0.7)


def test_too_few_answers_tell_nothing() -> None:
    seen = answers(LEAST_ANSWERS, 15.0)
    assert logprob_effect(ABILITY, seen[1:]) is None
    assert effect(seen).answers == LEAST_ANSWERS


@pytest.mark.parametrize(
    "unjudged",
    [
        single(right=True, logprob=None),
        Observation(unsure=(2,), right_logprob=None),
        Observation(abstained=3),
    ],
    ids=["no log-probability", "not judged", "no answer"],
)
def test_only_judged_answers_with_log_probabilities_count(unjudged: Observation) -> None:
    seen = answers(LEAST_ANSWERS, 15.0)
    assert effect((*seen, unjudged)) == effect(seen)
    assert logprob_effect(ABILITY, (*seen[1:], unjudged)) is None


def test_equal_log_probabilities_tell_nothing() -> None:
    same = tuple(single(right=right, logprob=-0.1) for right in (True, False) * 20)
    assert logprob_effect(ABILITY, same) is None


def test_without_an_ability_nothing_is_known() -> None:
    assert logprob_effect(TaskAbility(), answers(50, 15.0)) is None


def test_samples_that_a_verifier_judged_stand_alone_and_count_as_one_question() -> None:
    judged = tuple(
        Observation(right=1, refused=3, right_logprob=-0.1 - place / 1000, wrong_logprob=-0.5)
        for place in range(20)
    )
    parts = tuple(
        one
        for place in range(20)
        for one in (
            single(right=True, logprob=-0.1 - place / 1000, weight=0.25),
            single(right=False, logprob=-0.5, weight=0.75),
        )
    )
    assert effect(judged) == effect(parts)


def test_answers_to_prompts_about_as_long_count_more() -> None:
    short, long = (
        tuple(msgspec.structs.replace(one, prompt_tokens=tokens) for one in answers(200, slope))
        for tokens, slope in ((20, 15.0), (400, 0.0))
    )
    assert effect((*short, *long), 20).slope > 2 * effect((*short, *long), 400).slope


EFFECT = LogprobEffect(answers=100, centre=-0.3, slope=10.0, lowest=-0.6, highest=-0.1)


def test_confidence_rises_with_the_log_probability_and_stays_at_the_centre() -> None:
    found = [EFFECT.moved(0.6, logprob) for logprob in (-0.5, -0.4, -0.3, -0.2)]
    assert found == sorted(found)
    assert found[2] == pytest.approx(0.6)
    assert math.log(found[3] / (1 - found[3])) == pytest.approx(math.log(0.6 / 0.4) + 1)


def test_what_was_never_seen_counts_as_much_as_the_utmost_that_was() -> None:
    assert EFFECT.moved(0.6, -50.0) == EFFECT.moved(0.6, -0.6) > 0
    assert EFFECT.moved(0.6, 0.0) == EFFECT.moved(0.6, -0.1) < 1


@pytest.mark.parametrize("certain", [0.0, 1.0])
def test_certainty_is_not_moved(certain: float) -> None:
    assert EFFECT.moved(certain, -0.5) == certain


def test_the_moved_confidence_is_the_share_that_is_right() -> None:
    """Of single samples in ten parts by log-probability, of a model that was learned from others."""
    found = effect(answers(2000, 12.0))
    judged = answers(20_000, 12.0, seed=2)
    plain = vote_confidence(ABILITY, (1,))
    assert plain is not None
    told = sorted(
        (found.moved(plain, logprob), bool(one.right))
        for one in judged
        if (logprob := one.right_logprob if one.right else one.wrong_logprob) is not None
    )
    for part in range(10):
        group = told[part * 2000 : (part + 1) * 2000]
        stated = sum(confidence for confidence, _ in group) / len(group)
        assert stated == pytest.approx(sum(right for _, right in group) / len(group), abs=0.05)


def test_how_means_round_is_no_difference() -> None:
    """0.1 over more or fewer tokens, and what single precision makes of a certain token."""
    for sure in (-0.1, 0.0):
        unsure = math.nextafter(sure, -1)
        seen = tuple(
            single(right=right, logprob=sure if right else unsure) for right in (True, False)
        )
        assert logprob_effect(ABILITY, seen * LEAST_ANSWERS) is None
