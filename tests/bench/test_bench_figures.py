"""Figures of waves whose times are known."""

from __future__ import annotations

import pytest

from tt_compute.bench.figures import Wave, wave_figures
from tt_compute.bench.report import Spread
from tt_compute.types import Sample, Timing, Usage


def sample(index: int, first_s: float | None, total_s: float, tokens: int) -> Sample:
    return Sample(
        index=index,
        text="",
        finish_reason="length",
        usage=Usage(input_tokens=10 * (index == 0), output_tokens=tokens),
        timing=Timing(first_token_s=first_s, total_s=total_s),
    )


def wave(*samples: Sample, took_s: float, joules: float | None = None) -> Wave:
    return Wave(samples=samples, took_s=took_s, joules=joules, memory_bytes=None)


def test_tokens_are_those_that_were_made_over_the_whole_time() -> None:
    """A sample that ended early counts with what it made."""
    figures = wave_figures(
        2, [wave(sample(0, 1.0, 3.0, 21), sample(1, 1.0, 2.0, 11), took_s=4.0)], None
    )
    assert figures.tokens_per_s.median == 8
    assert figures.mean_tokens == 16


def test_decode_is_the_pace_of_the_samples_while_they_ran() -> None:
    """Ten tokens a second each, whoever ended first; the prefill is no part of it."""
    figures = wave_figures(
        2, [wave(sample(0, 1.0, 3.0, 21), sample(1, 1.0, 2.0, 11), took_s=4.0)], None
    )
    assert figures.decode_tokens_per_s == Spread(median=20, low=20, high=20)
    assert figures.token_s == Spread(median=0.1, low=0.1, high=0.1)


def test_samples_that_wait_for_others_are_not_counted_as_running_at_once() -> None:
    queued = wave(
        sample(0, 1.0, 3.0, 21), sample(1, 1.1, 3.1, 21), sample(2, 3.2, 5.2, 21), took_s=5.2
    )
    figures = wave_figures(3, [queued], None)
    assert figures.at_once == 2
    assert figures.decode_tokens_per_s is not None
    assert figures.decode_tokens_per_s.median == pytest.approx(20)


def test_rounds_give_a_median_and_what_it_lies_between() -> None:
    rounds = [wave(sample(0, 1.0, 2.0, 10), took_s=seconds) for seconds in (2.0, 10.0, 5.0)]
    assert wave_figures(1, rounds, None).tokens_per_s == Spread(median=2, low=1, high=5)


def test_idle_energy_is_shown_apart() -> None:
    """100 J in 5 s of which the machine takes 4 W anyway."""
    figures = wave_figures(1, [wave(sample(0, 1.0, 5.0, 10), took_s=5.0, joules=100.0)], 4.0)
    assert figures.j_per_token == 10
    assert figures.j_per_token_above_idle == 8


@pytest.mark.parametrize(
    ("joules", "idle_w", "known"),
    [([None, 5.0], 1.0, False), ([5.0, 5.0], None, True), ([5.0, 5.0], 6.0, True)],
    ids=["a round was not metered", "no idle power", "less than idle"],
)
def test_energy_that_cannot_be_told_is_unknown(
    joules: list[float | None], idle_w: float | None, *, known: bool
) -> None:
    rounds = [wave(sample(0, 0.5, 1.0, 10), took_s=1.0, joules=each) for each in joules]
    figures = wave_figures(1, rounds, idle_w)
    assert (figures.j_per_token is not None) == known
    assert figures.j_per_token_above_idle is None


def test_samples_without_times_leave_latency_unknown() -> None:
    figures = wave_figures(1, [wave(sample(0, None, 1.0, 10), took_s=1.0)], None)
    assert (figures.at_once, figures.first_token_s, figures.token_s) == (None, None, None)
    assert figures.decode_tokens_per_s is None


def test_a_prompts_length_is_the_same_whether_it_is_booked_once_or_on_each_sample() -> None:
    shared = wave(sample(0, 1.0, 2.0, 2), sample(1, 1.0, 2.0, 2), took_s=2.0)
    each = wave(sample(0, 1.0, 2.0, 2), sample(0, 1.0, 2.0, 2), took_s=2.0)
    assert shared.prompt_tokens == each.prompt_tokens == 10
