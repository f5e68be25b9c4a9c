"""Trials name their samples: played one after the other they come to what the trial says."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable

import pytest

from tt_compute.planning.lengths import Lengths
from tt_compute.planning.questions import KINDS, Questions
from tt_compute.planning.trials import Trial, contest_trials, vote_trials
from tt_compute.replay.answers import read_questions
from tt_compute.replay.play import Course, Policy, play
from tt_compute.replay.recording import Recording
from tt_compute.stopping import parse_stop_rule
from tt_compute.verify.math_process import MathProcess

QUESTIONS = Questions.stated(0.6, 2.0, 0.4)
LENGTHS = Lengths(mean=100, p95=250)


def votes() -> tuple[Trial, ...]:
    rule = parse_stop_rule("beta")
    return vote_trials(QUESTIONS, 0.1, LENGTHS, rule=rule, budget=12, wave=4, trials=300, seed=3)


def contests() -> tuple[Trial, ...]:
    return contest_trials(QUESTIONS.rates(), LENGTHS, 12, 4, trials=300, seed=3)


@pytest.mark.parametrize("draw", [votes, contests])
def test_samples_add_up_to_their_trial(draw: Callable[[], tuple[Trial, ...]]) -> None:
    trials = draw()
    assert len(trials) == 300
    for trial in trials:
        assert len(trial.drawn) == trial.samples
        ends: list[float] = []
        for tokens, after in trial.drawn:
            assert after < len(ends)
            ends.append(tokens + (0.0 if after < 0 else ends[after]))
        assert max(ends) == pytest.approx(trial.tokens)
        alive = sum(rows * steps for rows, steps in trial.rows)
        assert sum(tokens for tokens, _ in trial.drawn) == pytest.approx(alive)


@pytest.mark.parametrize("draw", [votes, contests])
def test_equal_seeds_draw_equal_trials(draw: Callable[[], tuple[Trial, ...]]) -> None:
    assert draw() == draw()


@pytest.mark.parametrize("ahead", [1.0, 0.7, 0.3, 0.0])
@pytest.mark.parametrize("rule", ["beta", "beta:0.8"])
@pytest.mark.anyio
async def test_trials_take_what_the_strategy_takes(rule: str, ahead: float) -> None:
    """Samples, tokens and steps of the strategy itself on recordings that the same model made, within 6 %."""
    rng = random.Random(11)
    draw = _lengths(rng)
    policy = Policy(strategy="majority", stop_rule=rule, budget=12, wave=8, ahead=ahead)
    courses: list[Course] = []
    process = MathProcess(installed=False)
    for number, place in enumerate(rng.choices(range(len(KINDS)), QUESTIONS.weights, k=1500)):
        recording = Recording(
            dataset="made",
            question_id=str(number),
            model="m",
            gold="right",
            samples=tuple(_answer(rng, *KINDS[place]) for _ in range(12)),
            tokens=tuple(max(1, round(draw())) for _ in range(12)),
        )
        (question,), _ = await read_questions([recording], "exact", process)
        courses.append(await play(question, range(12), policy))
    trials = vote_trials(
        QUESTIONS,
        0.1,
        LENGTHS,
        rule=parse_stop_rule(rule),
        budget=12,
        wave=8,
        ahead=ahead,
        trials=1500,
        seed=3,
    )
    for mine, theirs in (
        ([trial.samples for trial in trials], [one.samples for one in courses]),
        ([trial.tokens for trial in trials], [one.steps for one in courses]),
        (
            [sum(drawn.tokens for drawn in trial.drawn) for trial in trials],
            [one.output_tokens for one in courses],
        ),
    ):
        assert statistics.fmean(mine) == pytest.approx(statistics.fmean(theirs), rel=0.06)


def _lengths(rng: random.Random) -> Callable[[], float]:
    return lambda: LENGTHS.quantile(rng.random())


def _answer(rng: random.Random, rate: float, agreement: float) -> str | None:
    if rng.random() < rate:
        return "right"
    if rng.random() < 0.1:
        return None
    return "popular" if rng.random() < agreement else str(rng.random())


def test_what_is_needed_does_not_depend_on_what_is_drawn_ahead() -> None:
    """The votes that are counted are those of deficit waves; only more is drawn."""
    rule = parse_stop_rule("beta")
    needed: dict[float, float] = {}
    for ahead in (1.0, 0.3):
        trials = vote_trials(
            QUESTIONS, 0.1, LENGTHS, rule=rule, budget=12, wave=12, ahead=ahead, trials=3000
        )
        assert all(trial.needed <= trial.samples for trial in trials)
        needed[ahead] = statistics.fmean(trial.needed for trial in trials)
        if ahead == 1:
            assert all(trial.needed == trial.samples for trial in trials)
    assert needed[0.3] == pytest.approx(needed[1.0], rel=0.03)
