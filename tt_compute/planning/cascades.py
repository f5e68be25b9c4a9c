"""Cascades worth weighing: a cheaper model first, a better one for what it cannot settle.

Only models that nothing beats in quality, cost and time at once are paired, and of many such models only the
best and the cheapest: a fleet of a hundred deployments gives a few dozen cascades, not ten thousand.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import msgspec

from tt_compute.planning.ability import TaskAbility
from tt_compute.planning.alone import Alone, few, undominated
from tt_compute.planning.escalation import Escalation, by_verifier, by_vote
from tt_compute.planning.figures import Figures
from tt_compute.planning.menu import Offer, Option, Then, Wanted
from tt_compute.planning.runs import (
    P50,
    P95,
    Judged,
    Load,
    RunShape,
    best_of_n_run,
    load_of,
    majority_run,
    near,
    scaled,
    single_run,
)
from tt_compute.planning.trials import Trial, contest_trials, single_trials, vote_trials
from tt_compute.stopping import GATE, gate_of, parse_stop_rule
from tt_compute.types import Reliability

__all__ = ["cascades"]

FIRST_BUDGETS = (2, 4, 8)
"""Of the first model."""
SECOND_BUDGETS = (1, 8)
"""Of the second: one sample, or a vote."""
MOST_HANDED_ON = 0.75
"""Where more of the questions go on, what is saved is within the error of its prediction."""
_SECOND_RULE = "beta"
_MODELS = 3
"""Of the best, and as many of the cheapest."""
_STRIDE = 67
"""Shares no factor with the number of trials, so that pairs are spread over all of them."""


def cascades(offers: Sequence[Offer], wanted: Wanted) -> Iterator[tuple[int, Option]]:
    """(position of the first model's offer, option) of each cascade."""
    able = [_Model(place, offer, wanted) for place, offer in enumerate(offers) if _known(offer)]
    for second, first in combinations(few(undominated(able), _MODELS), 2):
        if first.quality < second.quality:
            for option in _Pair(first, second, wanted):
                yield first.place, option


def _known(offer: Offer) -> bool:
    return (
        offer.ability.votes_known
        and offer.lengths is not None
        and offer.lengths.p95 is not None
        and offer.meter.step(1) is not None
    )


class _Model(Alone):
    """One of the two models."""

    def seconds_of(self, trial: Trial) -> float:
        """Of a run, about: its prefills at the median and its steps."""
        context = self.tokens + (self.offer.tokens_mean or 0.0) / 2
        total = trial.waves * self.ttft[0]
        for rows, steps in trial.rows:
            step = self.offer.meter.step(rows)
            total += math.inf if step is None else steps * step.at(context)
        return total


class _Course(NamedTuple):
    """One run of a cascade."""

    seconds: float
    first: Trial
    second: Trial | None
    """None = the first model settled it."""


class _Pair:
    """The cascades of two models."""

    def __init__(self, first: _Model, second: _Model, wanted: Wanted) -> None:
        self._first = first
        self._second = second
        self._wanted = wanted

    def __iter__(self) -> Iterator[Option]:
        most = self._wanted.max_samples
        for budget in (one for one in FIRST_BUDGETS if one < most):
            for gate in self._gates():
                if not self._can_settle(gate, budget):
                    continue
                for more in (one for one in SECOND_BUDGETS if one <= most - budget):
                    after = self._after(gate, budget, more)
                    if after.share <= MOST_HANDED_ON:
                        yield self._option(gate, budget, after, more)

    def _gates(self) -> tuple[str | None, ...]:
        """None = the verifier."""
        if self._wanted.judged:
            return (None,)
        return tuple(gate_of(rule) for rule in self._wanted.stop_rules if rule is not None)

    @staticmethod
    def _can_settle(gate: str | None, budget: int) -> bool:
        """Whether samples that all agree are enough for the rule."""
        return gate is None or parse_stop_rule(gate).settled((budget,))

    def _after(self, gate: str | None, budget: int, more: int) -> Escalation:
        ability, questions = self._first.offer.ability, self._second_ability(more).questions
        assert questions is not None
        if gate is not None:
            return by_vote(ability, questions, gate, budget)
        wave = self._width(self._first, budget)
        return by_verifier(ability, questions, self._reliability, budget, wave)

    @property
    def _reliability(self) -> Reliability:
        return self._wanted.reliability or Reliability()

    def _option(self, gate: str | None, budget: int, after: Escalation, more: int) -> Option:
        wave, width = self._width(self._first, budget), self._width(self._second, more)
        second = self._second_run(after, more, width)
        later = self._trials(
            self._second, self._later(after, more), None if more == 1 else _SECOND_RULE, more
        )
        ability = self._first.offer.ability
        courses = self._courses(self._trials(self._first, ability, gate, budget), later)
        loads = [_loads(near(courses, level)) for level in (P50, P95)]
        figures = self._first_figures(courses, after, loads)
        assert second.quality is not None
        assert second.samples_mean is not None
        return Option(
            strategy="cascade",
            stop_rule=None if gate is None else gate.removeprefix(GATE),
            max_samples=budget + more,
            wave=wave,
            quality=after.kept_right + after.share * second.quality,
            samples_mean=after.samples_mean + after.share * second.samples_mean,
            figures=figures,
            p50=loads[0][0],
            p95=loads[1][0],
            then=Then(
                offer=self._second.place,
                share=after.share,
                option=Option(
                    strategy=self._stage(more),
                    stop_rule=_SECOND_RULE if self._stage(more) == "majority" else None,
                    max_samples=more,
                    wave=width,
                    quality=second.quality,
                    samples_mean=second.samples_mean,
                    figures=self._second_figures(second, after, loads),
                    p50=loads[0][1],
                    p95=loads[1][1],
                ),
            ),
        )

    def _stage(self, more: int) -> str:
        if self._wanted.judged:
            return "best_of_n"
        return "single" if more == 1 else "majority"

    def _width(self, model: _Model, budget: int) -> int:
        return min(budget, model.offer.widest)

    def _second_ability(self, more: int) -> TaskAbility:
        """A lone sample is drawn at temperature 0."""
        alone = more == 1 and not self._wanted.judged
        return self._second.ability if alone else self._second.offer.ability

    def _later(self, after: Escalation, more: int) -> TaskAbility:
        """The second model's ability, on what is handed on to it."""
        return self._second_ability(more).on(after.questions)

    def _second_run(self, after: Escalation, more: int, width: int) -> RunShape:
        ability, lengths = self._later(after, more), self._second.offer.lengths
        if self._wanted.judged:
            return best_of_n_run(ability, lengths, more, width, self._reliability)
        if more == 1:
            return single_run(ability, lengths)
        return majority_run(ability, lengths, _SECOND_RULE, more, width)

    def _courses(self, firsts: Sequence[Trial], seconds: Sequence[Trial]) -> list[_Course]:
        """In the order of their time; runs that go on are paired with runs of the second model."""
        courses: list[_Course] = []
        gone_on = 0
        for trial in firsts:
            own = self._first.seconds_of(trial)
            if trial.settled:
                courses.append(_Course(own, trial, None))
                continue
            other = seconds[gone_on * _STRIDE % len(seconds)]
            gone_on += 1
            courses.append(_Course(own + self._second.seconds_of(other), trial, other))
        return sorted(courses, key=lambda course: course.seconds)

    def _trials(
        self, model: _Model, ability: TaskAbility, rule: str | None, budget: int
    ) -> Sequence[Trial]:
        questions, lengths = ability.questions, model.offer.lengths
        assert questions is not None
        assert lengths is not None
        assert ability.abstain_share is not None
        wave = self._width(model, budget)
        if self._wanted.judged:
            kinds = (Judged.of(rate, share, self._reliability) for rate, share in questions.rates())
            chances = [(kind.accepted, kind.share) for kind in kinds]
            return contest_trials(chances, lengths, budget, wave)
        if rule is None:
            return single_trials(lengths)
        stop = parse_stop_rule(rule)
        share = ability.abstain_share
        return vote_trials(questions, share, lengths, rule=stop, budget=budget, wave=wave)

    def _first_figures(
        self,
        courses: Sequence[_Course],
        after: Escalation,
        loads: Sequence[tuple[Load, Load, float]],
    ) -> Figures:
        offer = self._first.offer
        mean = load_of([course.first for course in courses])
        scale = after.samples_mean / mean.samples
        tokens = sum(rows * steps for course in courses for rows, steps in course.first.rows) / len(
            courses
        )
        shape = RunShape(
            quality=None,
            samples_mean=after.samples_mean,
            tokens_mean=tokens * scale,
            mean=scaled(mean, scale),
            p50=loads[0][0],
            p95=loads[1][0],
        )
        return offer.meter.figures(shape, offer.tokens_mean)

    def _second_figures(
        self, second: RunShape, after: Escalation, loads: Sequence[tuple[Load, Load, float]]
    ) -> Figures:
        offer = self._second.offer
        shape = msgspec.structs.replace(second, p50=loads[0][1], p95=loads[1][1])
        # One slow first token a run is enough: the first model's.
        alone = offer.meter.figures(shape, offer.tokens_mean, slow_start=False)
        return alone._replace(
            cost_usd=alone.cost_usd.times(after.share), energy_j=alone.energy_j.times(after.share)
        )


def _loads(courses: Sequence[_Course]) -> tuple[Load, Load, float]:
    """Of the first model and of the second, as means over all, and the share that went on."""
    gone_on = [course.second for course in courses if course.second is not None]
    share = len(gone_on) / len(courses)
    nothing = Load(waves=0, samples=0, steps=())
    second = scaled(load_of(gone_on), share) if gone_on else nothing
    return load_of([course.first for course in courses]), second, share
