"""What answered questions teach about all questions: Bayes for each of them, then for their distribution.

Each observation is weighed against every kind of question (``planning.questions``); the weights of the kinds
are those under which the observations and the prior are likeliest together. That is the maximum a posteriori
of a mixture's weights under a Dirichlet prior, found by expectation-maximisation (Dempster, Laird and Rubin
1977): each step sets a kind's weight to the prior's questions of that kind plus the observed ones' share.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache

import msgspec

from tt_compute.planning.questions import AGREEMENTS, KINDS, RATES, Questions

__all__ = [
    "LARGEST_LOGPROB",
    "Observation",
    "abstain_share_learned",
    "questions_learned",
    "wrong_votes",
]

LARGEST_LOGPROB = 100.0
"""Nats per token, and no mean over a drawn text is as far from 0: services put such numbers, and infinities, in the
place of what they left out."""
_STEPS = 30
_OPEN_AGREEMENTS = 0.05
_OPEN_KINDS = 0.002
"""Of the prior, spread over all agreements and over all kinds, so that evidence can move one that rules them out."""
_REPEAT = 0.01
"""Stands for the chance that wrong answers which are not the popular one are the same; the grid has none."""
_LEAST_SHARE = 1e-3
"""A share that a profile puts at 0 may still occur; a posterior must not be certain of the contrary."""


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """One question and what its samples came to."""

    right: int = 0
    """Samples known to be right."""
    wrong: tuple[int, ...] = ()
    """Samples known to be wrong, by the answer that they gave."""
    unsure: tuple[int, ...] = ()
    """Samples of which nobody knows, by the answer that they gave: at most one of these answers is right."""
    refused: int = 0
    """Samples known to be wrong, whatever they gave."""
    abstained: int = 0
    """Samples without an answer."""
    weight: float = 1.0
    """Of this question among all."""
    prompt_tokens: int | None = None
    """Length of its prompt; None = unknown."""
    right_logprob: float | None = None
    """Mean log-probability per token of the samples known to be right; None = unknown."""
    wrong_logprob: float | None = None
    """That of the samples which gave the answer known to be wrong, of refused ones where a verifier judged."""

    @property
    def samples(self) -> int:
        return self.right + sum(self.wrong) + sum(self.unsure) + self.refused + self.abstained


@lru_cache(maxsize=512)
def questions_learned(
    prior: Questions, prior_questions: float, observations: tuple[Observation, ...]
) -> Questions:
    """The distribution of questions after some were seen.

    Args:
        prior: What was stated.
        prior_questions: Observations that it counts for.
        observations: What was seen; their weights count.
    """
    seen = [(one.weight, _likelihoods(one)) for one in observations if one.samples]
    if not seen:
        return prior
    base = [prior_questions * weight for weight in _opened(prior).weights]
    weights = [weight / prior_questions for weight in base]
    for _ in range(_STEPS):
        weights = _step(base, weights, seen)
    return Questions(tuple(weights))


def abstain_share_learned(
    share: float, success_rate: float, prior_questions: float, observations: Iterable[Observation]
) -> float:
    """Share of the samples that are not right which hold no answer, each question counting alike.

    Args:
        share: What was stated.
        success_rate: With the observations taken in.
        prior_questions: Observations that the stated share counts for.
        observations: What was seen.
    """
    seen = [(one.weight, one.abstained / one.samples) for one in observations if one.samples]
    abstained = math.fsum(weight * part for weight, part in seen)
    not_right = (1 - success_rate) * (prior_questions + math.fsum(weight for weight, _ in seen))
    if not_right <= 0:
        return share
    return min(1.0, (share * (1 - success_rate) * prior_questions + abstained) / not_right)


def _step(
    base: Sequence[float],
    weights: Sequence[float],
    seen: Iterable[tuple[float, Sequence[float]]],
) -> list[float]:
    """One step of expectation-maximisation."""
    totals = list(base)
    for weight, likelihoods in seen:
        joint = [
            chance * likelihood for chance, likelihood in zip(weights, likelihoods, strict=True)
        ]
        scale = sum(joint)
        if scale > 0:
            scale = weight / scale
            totals = [total + scale * part for total, part in zip(totals, joint, strict=True)]
    whole = math.fsum(totals)
    return [total / whole for total in totals]


def _opened(prior: Questions) -> Questions:
    """The prior with a little of each rate's weight in every agreement, and a little in every rate."""
    width, rows = len(RATES), len(AGREEMENTS)
    columns = [math.fsum(prior.weights[place::width]) for place in range(width)]
    return Questions(
        tuple(
            (1 - _OPEN_AGREEMENTS - _OPEN_KINDS) * weight
            + _OPEN_AGREEMENTS * columns[place % width] / rows
            + _OPEN_KINDS / (width * rows)
            for place, weight in enumerate(prior.weights)
        )
    )


@lru_cache(maxsize=4096)
def _likelihoods_of(
    right: int, wrong: tuple[int, ...], unsure: tuple[int, ...], others: int
) -> tuple[float, ...]:
    """P(the votes | kind), up to a factor that all kinds share."""
    total = right + sum(wrong) + sum(unsure) + others
    cases = [(right, (*wrong, *unsure))]
    if not right:
        cases += [
            (count, (*wrong, *unsure[:place], *unsure[place + 1 :]))
            for place, count in enumerate(unsure)
        ]
    by_agreement = {
        agreement: [(count, wrong_votes(rest, agreement, 1 - agreement)) for count, rest in cases]
        for agreement in AGREEMENTS
    }
    return tuple(
        sum(
            rate**count * (1 - rate) ** (total - count) * chance
            for count, chance in by_agreement[agreement]
        )
        for rate, agreement in KINDS
    )


def _likelihoods(one: Observation) -> tuple[float, ...]:
    return _likelihoods_of(one.right, one.wrong, one.unsure, one.refused + one.abstained)


def wrong_votes(votes: Sequence[int], popular: float, own: float) -> float:
    """P(these votes | all are wrong), for shares of the popular wrong answer and of answers of their own.

    A second wrong answer that several samples share, which the model rules out, is taken as rare.
    """
    if not votes:
        return 1.0
    popular, own = max(popular, _LEAST_SHARE), max(own, _LEAST_SHARE)
    groups, largest = len(votes), max(votes)
    if largest == 1:
        # Any one of them, or none, may be the popular answer.
        return float(own**groups + groups * popular * own ** (groups - 1))
    repeats = sum(votes) - largest - (groups - 1)
    return float(popular**largest * own ** (groups - 1) * _REPEAT**repeats)
