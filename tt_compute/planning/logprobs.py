"""What a model's log-probabilities say of its answers, beyond how the samples voted.

A model that is surer of its tokens is more often right; how much more differs from model to model and from one
kind of task to another, so that it is learned from answers that were judged. The log-odds that an answer is right
move by

    slope x (l - centre),

l being the mean, over the samples that gave the answer, of their mean log-probability per token, and ``centre``
the mean of l over the judged answers. The votes' own confidence is where the log-odds start from. Samples of one
question are alike, so that their log-probabilities are averaged: multiplied as if each were news of its own, they
make confidence far too extreme.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import msgspec

from tt_compute.planning.ability import TaskAbility
from tt_compute.planning.confidence import vote_confidence
from tt_compute.planning.observations import Observation
from tt_compute.planning.similarity import similarity

__all__ = ["LEAST_ANSWERS", "LogprobEffect", "judged_answers", "logprob_effect"]

LEAST_ANSWERS = 20
"""Judged answers below which nothing is made of log-probabilities."""
_PRECISION = 1.0
"""Of the slope's prior, a normal distribution around 0, where l is in units of its standard deviation."""
_CAUTION = 1.0
"""Posterior standard deviations that are taken off the slope: what it is at least. Taken as it is, few answers of
a model whose log-probabilities tell nothing made confidence worse on recorded samples."""
_STEEPEST = 10.0
"""Change of the log-odds per standard deviation that no slope exceeds."""
_LEAST_SPREAD = 1e-6
"""Standard deviation in nats: less is how single precision, and a mean over more or fewer tokens, rounds."""
_HALVINGS = 40
_LARGEST_ODDS = 500.0
"""``math.exp`` overflows beyond 709."""


class LogprobEffect(msgspec.Struct, frozen=True, kw_only=True):
    """How confidence depends on an answer's mean log-probability."""

    answers: int
    """Judged answers that it was learned from."""
    centre: float
    """Mean log-probability at which confidence stays what the votes make it."""
    slope: float
    """Change of the log-odds per nat, at least 0: that a model is less often right where it is surer is no
    effect to count on."""
    lowest: float
    highest: float
    """What was seen; what lies beyond counts as much as these."""

    def moved(self, confidence: float, logprob: float) -> float:
        """The votes' confidence, given the mean log-probability of the samples that gave the answer."""
        if not 0 < confidence < 1:
            return confidence
        within = min(max(logprob, self.lowest), self.highest)
        return _chance(_log_odds(confidence) + self.slope * (within - self.centre))


class _Judged(NamedTuple):
    """An answer of which somebody knows whether it is right."""

    right: bool
    log_odds: float
    """Of what the votes say."""
    logprob: float
    weight: float


@lru_cache(maxsize=64)
def logprob_effect(
    ability: TaskAbility,
    observations: tuple[Observation, ...],
    prompt_tokens: int | None = None,
) -> LogprobEffect | None:
    """Logistic regression on the log-probability, the votes' log-odds given, with a slope that it is at least.

    Args:
        ability: By which votes are judged.
        observations: Of samples drawn in the same way, varied or greedy.
        prompt_tokens: Of the question, as for ``ability_of``: those about as long count more.

    Returns:
        None below ``LEAST_ANSWERS`` answers with known log-probabilities, where all of these are the same but for rounding,
        and where the ability is not known.
    """
    judged = [one for seen in observations for one in _judged(ability, seen, prompt_tokens)]
    if len(judged) < LEAST_ANSWERS:
        return None
    logprobs = [one.logprob for one in judged]
    weights = [one.weight for one in judged]
    centre = statistics.fmean(logprobs, weights)
    spread = math.sqrt(statistics.fmean([(one - centre) ** 2 for one in logprobs], weights))
    if spread < _LEAST_SPREAD:
        return None
    return LogprobEffect(
        answers=len(judged),
        centre=centre,
        slope=_slope(judged, centre, spread) / spread,
        lowest=min(logprobs),
        highest=max(logprobs),
    )


def judged_answers(observations: Sequence[Observation]) -> int:
    """How many have a known log-probability."""
    return sum(
        known is not None
        for one in observations
        for known in (one.right_logprob, one.wrong_logprob)
    )


def _judged(ability: TaskAbility, one: Observation, prompt_tokens: int | None) -> Iterator[_Judged]:
    """Of a question that a verifier judged each sample stands alone; its samples count as one question."""
    weight = one.weight * similarity(one.prompt_tokens, prompt_tokens)
    alone = one.refused > 0
    share = one.right / (one.right + one.refused) if alone else 1.0
    cases = (
        (True, one.right_logprob, (one.right, *one.wrong), share),
        (False, one.wrong_logprob, (*one.wrong, *one.unsure), 1 - share if alone else 1.0),
    )
    for right, logprob, votes, part in cases:
        if logprob is None:
            continue
        confidence = _of_votes(ability, *(((1,), 0) if alone else (votes, one.abstained)))
        if confidence is not None and 0 < confidence < 1:
            yield _Judged(right, _log_odds(confidence), logprob, weight * part)


@lru_cache(maxsize=4096)
def _of_votes(ability: TaskAbility, votes: tuple[int, ...], abstained: int) -> float | None:
    return vote_confidence(ability, votes, abstained)


def _slope(judged: Sequence[_Judged], centre: float, spread: float) -> float:
    """Per standard deviation: the maximum a posteriori, less ``_CAUTION``; never below 0."""
    places = [(one, (one.logprob - centre) / spread) for one in judged]

    def rises(slope: float) -> bool:
        """Whether the posterior does, whose derivative falls throughout."""
        gradient = math.fsum(
            one.weight * place * (one.right - _chance(one.log_odds + slope * place))
            for one, place in places
        )
        return gradient > _PRECISION * slope

    low, high = 0.0, _STEEPEST
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if rises(middle) else (low, middle)
    return max(0.0, low - _CAUTION / math.sqrt(_curvature(places, low)))


def _curvature(places: Sequence[tuple[_Judged, float]], slope: float) -> float:
    """Of the posterior's logarithm: one over the variance of the normal distribution that touches it."""
    chances = ((one, place, _chance(one.log_odds + slope * place)) for one, place in places)
    return _PRECISION + math.fsum(
        one.weight * place * place * chance * (1 - chance) for one, place, chance in chances
    )


def _log_odds(chance: float) -> float:
    return math.log(chance / (1 - chance))


def _chance(log_odds: float) -> float:
    return 1 / (1 + math.exp(-min(max(log_odds, -_LARGEST_ODDS), _LARGEST_ODDS)))
