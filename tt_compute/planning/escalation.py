"""Which questions one model hands on to another: what a cascade's quality rests on.

A question is of a kind for each model (``planning.questions``). How the kinds of two models go together is
taken to be a mixture: on a share ``TOGETHER`` of the questions the models agree on the order of difficulty, so that
the hardest for the one are the hardest for the other (their success rates are comonotone), and on the rest they
have nothing to do with each other. With P(handed on | kind of the first model) from the vote's table, the kinds of the
second model *on the questions that come to it* follow by Bayes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

from tt_compute.planning.ability import TaskAbility
from tt_compute.planning.questions import AGREEMENTS, KINDS, RATES, Questions
from tt_compute.planning.runs import Judged
from tt_compute.planning.votes import Term, hold_vote, vote_table
from tt_compute.types import Reliability

__all__ = ["TOGETHER", "Escalation", "by_verifier", "by_vote"]

TOGETHER = 0.7
"""Covariance of two models' success rates over that of comonotone ones, on half of the questions of eleven kinds of
puzzle and 45 pairs of models, rounded up: 0.66, and 0.24 to 0.81 kind by kind (``benchmarks/cascades.py``)."""
_LEAST = 1e-12


class Escalation(NamedTuple):
    """What becomes of questions at the first model."""

    kept_right: float
    """P(it answers, and is right)."""
    share: float
    """P(it hands the question on)."""
    samples_mean: float
    """That it draws."""
    questions: Questions
    """Kinds, to the second model, of the questions that are handed on."""


@lru_cache(maxsize=4096)
def by_vote(first: TaskAbility, second: Questions, rule: str, budget: int) -> Escalation:
    """Handed on is what a vote of the first model leaves unsettled.

    Args:
        first: The first model's; a vote must be predictable.
        second: Kinds of all questions to the second model.
        rule: A ``gate``.
        budget: Most samples of the first model.
    """
    questions, abstain = first.questions, first.abstain_share
    assert questions is not None
    assert abstain is not None
    handed_on: list[float] = []
    kept_right = 0.0
    for place, agreement in enumerate(AGREEMENTS):
        row = questions.weights[place * len(RATES) : (place + 1) * len(RATES)]
        if not any(row):
            handed_on += [0.0] * len(RATES)
            continue
        table = vote_table(rule, budget, agreement, abstain)
        handed_on += [1 - _chance(table.settled, rate) for rate in RATES]
        kept_right += sum(
            weight * _chance(table.settled_won, rate)
            for weight, rate in zip(row, RATES, strict=True)
            if weight
        )
    vote = hold_vote(questions, abstain, rule, budget)
    share, later = _handed_on(questions, second, handed_on)
    return Escalation(kept_right, share, vote.samples_mean, later)


@lru_cache(maxsize=4096)
def by_verifier(
    first: TaskAbility, second: Questions, reliability: Reliability, budget: int, wave: int
) -> Escalation:
    """Handed on is what a verifier refused ``budget`` times; see ``runs.best_of_n_run`` for the formulas."""
    questions = first.questions
    assert questions is not None
    kept_right, samples = 0.0, float(wave)
    handed_on: list[float] = []
    for (rate, _), weight in zip(KINDS, questions.weights, strict=True):
        kind = Judged.of(rate, weight, reliability)
        refused = (1 - kind.accepted) ** budget
        handed_on.append(refused)
        kept_right += weight * (1 - refused) * kind.right_if_accepted
        samples += weight * sum((1 - kind.accepted) ** i for i in range(1, budget - wave + 1))
    share, later = _handed_on(questions, second, handed_on)
    return Escalation(kept_right, share, samples, later)


def _chance(terms: Sequence[Term], rate: float) -> float:
    return math.fsum(weight * rate**right * (1 - rate) ** rest for right, rest, weight in terms)


def _handed_on(
    first: Questions, second: Questions, chances: Sequence[float]
) -> tuple[float, Questions]:
    """The share that is handed on, and its kinds to the second model.

    Args:
        first: Kinds to the first model.
        second: Kinds to the second.
        chances: P(handed on) by kind of the first.
    """
    asked = _by_rate(first.weights)
    on = _by_rate([weight * chance for weight, chance in zip(first.weights, chances, strict=True)])
    share = math.fsum(on)
    if share < _LEAST:
        return 0.0, second
    chance_at = [part / whole if whole else 0.0 for part, whole in zip(on, asked, strict=True)]
    rates = _by_rate(second.weights)
    ordered = _comonotone(asked, rates, chance_at.__getitem__)
    # P(handed on | rate of the second model), in the mixture.
    factors = [
        TOGETHER * (part / whole if whole else 0.0) + (1 - TOGETHER) * share
        for part, whole in zip(ordered, rates, strict=True)
    ]
    weights = [weight * factors[place % len(RATES)] for place, weight in enumerate(second.weights)]
    total = math.fsum(weights)
    return share, Questions(tuple(weight / total for weight in weights))


def _by_rate(weights: Sequence[float]) -> list[float]:
    return [math.fsum(weights[place :: len(RATES)]) for place in range(len(RATES))]


def _comonotone(
    first: Sequence[float], second: Sequence[float], chance: Callable[[int], float]
) -> list[float]:
    """What each rate of the second model gets when both are laid side by side in their order.

    Args:
        first: Weights by rate of the first model, which ``chance`` thins out.
        second: Weights by rate of the second model.
        chance: Of a rate's place in the first.
    """
    ends, others = list(accumulate(first)), list(accumulate(second))
    found = [0.0] * len(second)
    at, here, there = 0.0, 0, 0
    while here < len(ends) and there < len(others):
        until = min(ends[here], others[there])
        found[there] += max(0.0, until - at) * chance(here)
        at = until
        if ends[here] <= until:
            here += 1
        else:
            there += 1
    return found
