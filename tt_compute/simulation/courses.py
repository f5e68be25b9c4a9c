"""How a run goes, told in tokens: its samples, how long each is, which one follows on the end of which.

Drawn as the planner draws its own trials (``planning.trials``), more of them and from the simulation's seed. All
rows of a batch advance together, so that a course is the same on an idle machine and on a busy one; only the
seconds differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tt_compute.planning.ability import TaskAbility
from tt_compute.planning.lengths import Lengths
from tt_compute.planning.trials import Drawn, contest_trials, vote_trials
from tt_compute.stopping import parse_stop_rule

__all__ = ["STRATEGIES", "Course", "Courses", "courses_of"]

STRATEGIES = ("single", "majority", "best_of_n")
"""Those that can be played through."""
_POOL = 2048
"""Courses that the runs of a plan are drawn from."""


class Course(NamedTuple):
    """One run."""

    begin: tuple[int, ...]
    """Samples that are drawn at its start."""
    tokens: tuple[float, ...]
    """Of each sample, up to where it was cancelled."""
    then: tuple[tuple[int, ...], ...]
    """By sample: those that are drawn at its end."""
    total: float
    """Tokens of all samples."""
    waves: int
    """Samples that followed each other."""
    longest: float
    """Tokens from the start of the run to its end."""


class Courses(NamedTuple):
    """The courses of a plan, and their means."""

    pool: tuple[Course, ...]
    samples: float
    tokens: float
    """Of a run."""
    longest: float
    square: float
    """Of the tokens of each sample, added up over a run."""

    @property
    def row_tokens(self) -> float:
        """Of one sample."""
        return self.tokens / self.samples

    @property
    def live_row_tokens(self) -> float:
        """Whole length of a sample that is met at a random moment: long ones are met more often."""
        return self.square / self.tokens

    @property
    def rows_alive(self) -> float:
        """Of a run, mean over its time."""
        return self.tokens / self.longest


def courses_of(
    strategy: str,
    ability: TaskAbility,
    lengths: Lengths,
    *,
    stop_rule: str | None,
    budget: int,
    wave: int,
    ahead: float,
    seed: int,
) -> Courses | None:
    """The courses of a plan; None where too little is known of the samples for a course to be drawn."""
    if strategy == "single":
        levels = ((place + 0.5) / _POOL for place in range(_POOL))
        return _courses(_course(1, [Drawn(lengths.quantile(level), -1)]) for level in levels)
    if ability.questions is None:
        return None
    if strategy == "best_of_n":
        chances = ability.questions.rates()
        trials = contest_trials(chances, lengths, budget, wave, trials=_POOL, seed=seed)
    elif ability.abstain_share is None:
        return None
    else:
        trials = vote_trials(
            ability.questions,
            ability.abstain_share,
            lengths,
            rule=None if stop_rule is None else parse_stop_rule(stop_rule),
            budget=budget,
            wave=wave,
            ahead=ahead,
            trials=_POOL,
            seed=seed,
        )
    return _courses(_course(trial.waves, trial.drawn) for trial in trials)


def _course(waves: int, drawn: Sequence[Drawn]) -> Course:
    then: list[list[int]] = [[] for _ in drawn]
    begin: list[int] = []
    ends: list[float] = []
    for place, (tokens, after) in enumerate(drawn):
        (begin if after < 0 else then[after]).append(place)
        ends.append(tokens + (0.0 if after < 0 else ends[after]))
    lengths = tuple(max(1.0, tokens) for tokens, _ in drawn)
    return Course(
        begin=tuple(begin),
        tokens=lengths,
        then=tuple(map(tuple, then)),
        total=sum(lengths),
        waves=waves,
        longest=max(ends),
    )


def _courses(pool: Iterable[Course]) -> Courses:
    kept = tuple(pool)
    n = len(kept)
    return Courses(
        pool=kept,
        samples=sum(len(course.tokens) for course in kept) / n,
        tokens=sum(course.total for course in kept) / n,
        longest=sum(course.longest for course in kept) / n,
        square=sum(tokens**2 for course in kept for tokens in course.tokens) / n,
    )
