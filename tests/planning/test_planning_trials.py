"""Trials name their samples: played one after the other they come to what the trial says."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tt_compute.planning.lengths import Lengths
from tt_compute.planning.questions import Questions
from tt_compute.planning.trials import Trial, contest_trials, vote_trials
from tt_compute.stopping import parse_stop_rule

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
