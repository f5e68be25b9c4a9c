"""What is known of a model on a kind of task: how often one sample is right, and how long samples are."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import msgspec

from tt_compute.planning.estimates import (
    ABILITY_PRIOR_QUESTIONS,
    LENGTH_PRIOR_SAMPLES,
    Estimates,
    blend,
)
from tt_compute.profiles.schema import Ability, Fact, ModelProfile, TaskKind

__all__ = ["Success", "TaskAbility", "ability_of"]

_EDGE = 1e-9
"""Success rates of exactly 0 and 1 have no Beta distribution; this close is the same to any vote."""
_SHARE_STEP = 100
"""Shares of the wrong answers count in whole hundredths, so that similar models share their tables."""


class Success(msgspec.Struct, frozen=True, kw_only=True):
    """The per-question success rate p: Beta(m c, (1 - m) c) over the questions."""

    mean: float
    """m, P(one sample is right) of a question picked at random."""
    concentration: float
    """c > 0; small = each question is either known or not."""

    def moments(self) -> Callable[[int, int], float]:
        """The function (right, rest) -> E[p^right (1 - p)^rest].

        Closed form B(a + right, b + rest) / B(a, b), the beta-binomial's sequence probability.
        """
        mean = min(max(self.mean, _EDGE), 1 - _EDGE)
        a, b = mean * self.concentration, (1 - mean) * self.concentration
        rising_a, rising_b, rising_both = [0.0], [0.0], [0.0]

        def grow(rising: list[float], start: float, count: int) -> None:
            while len(rising) <= count:
                rising.append(rising[-1] + math.log(start + len(rising) - 1))

        def moment(right: int, rest: int) -> float:
            if right + rest >= len(rising_both):
                grow(rising_a, a, right + rest)
                grow(rising_b, b, right + rest)
                grow(rising_both, a + b, right + rest)
            return math.exp(rising_a[right] + rising_b[rest] - rising_both[right + rest])

        return moment

    def pass_at(self, n: int) -> float:
        """P(at least one of n samples is right) = E[1 - (1 - p)^n]."""
        return 1 - self.moments()(0, n)


class TaskAbility(msgspec.Struct, frozen=True, kw_only=True):
    """All that predictions need of one (model, task kind); None is unknown, with the reason."""

    mean: float | None = None
    """P(one sample is right)."""
    greedy_mean: float | None = None
    """P(the sample at temperature 0 is right); None where ``mean`` stands for it too."""
    success: Success | None = None
    wrong_agreement: float | None = None
    abstain_share: float | None = None
    """Share of the samples *that are not right* which hold no answer."""
    tokens_mean: float | None = None
    tokens_p95: float | None = None
    unknown_quality: tuple[str, ...] = ()
    """What of the success of samples and votes is unknown, in words."""
    unknown_lengths: tuple[str, ...] = ()
    """What of the lengths is unknown, in words."""

    def greedy(self) -> TaskAbility:
        """The ability of the sample at temperature 0."""
        if self.greedy_mean is None:
            return self
        success = self.success
        if success is not None:
            success = msgspec.structs.replace(success, mean=self.greedy_mean)
        return msgspec.structs.replace(self, mean=self.greedy_mean, success=success)

    @property
    def votes_known(self) -> bool:
        """Whether the outcome of a vote can be predicted."""
        return None not in (self.success, self.wrong_agreement, self.abstain_share)


def ability_of(model: ModelProfile, task: TaskKind, estimates: Estimates) -> TaskAbility:
    """The profile's ability moved by what was learned.

    The success rate is a conjugate update with the profile's rate worth ``ABILITY_PRIOR_QUESTIONS`` judged
    questions (one, half right, where the profile states none). How success spreads over the questions and
    how wrong answers agree stay as the profile says. Lengths are blended with ``LENGTH_PRIOR_SAMPLES``.
    """
    stated = model.abilities.get(task, Ability())
    mean = _success_rate(stated.success_rate.value, estimates, (model.id, task))
    greedy = stated.greedy_success_rate.value
    concentration = stated.concentration.value
    tokens_mean, tokens_p95 = _lengths(stated, estimates, (model.id, task))
    quality: dict[str, float | None] = {
        "success_rate": mean,
        "concentration": concentration,
        "wrong_agreement": stated.wrong_agreement.value,
        "abstain_rate": stated.abstain_rate.value,
    }
    lengths = {"completion_tokens_mean": tokens_mean, "completion_tokens_p95": tokens_p95}
    return TaskAbility(
        mean=mean,
        greedy_mean=None if greedy is None else _success_rate(greedy, estimates, (model.id, task)),
        success=None
        if mean is None or concentration is None
        else Success(mean=mean, concentration=concentration),
        wrong_agreement=_share(stated.wrong_agreement),
        abstain_share=_abstain_share(stated.abstain_rate.value, mean),
        tokens_mean=tokens_mean,
        tokens_p95=tokens_p95,
        unknown_quality=_unknown(quality, model, task),
        unknown_lengths=_unknown(lengths, model, task),
    )


def _unknown(
    values: Mapping[str, float | None], model: ModelProfile, task: TaskKind
) -> tuple[str, ...]:
    return tuple(
        f"abilities.{task}.{name} of {model.id} is unknown"
        for name, value in values.items()
        if value is None
    )


def _success_rate(stated: float | None, estimates: Estimates, key: tuple[str, str]) -> float | None:
    evidence = estimates.abilities.get(key)
    if evidence is None:
        return stated
    weight, rate = (ABILITY_PRIOR_QUESTIONS, stated) if stated is not None else (1.0, 0.5)
    return (weight * rate + evidence.correct) / (weight + evidence.correct + evidence.wrong)


def _lengths(
    stated: Ability, estimates: Estimates, key: tuple[str, str]
) -> tuple[float | None, float | None]:
    mean, p95 = stated.completion_tokens_mean.value, stated.completion_tokens_p95.value
    evidence = estimates.lengths.get(key)
    if evidence is None:
        return mean, p95
    # A model that always answers with nothing has a length of 0; a token is the least a sample takes.
    mean = blend(mean, max(1.0, evidence.mean), evidence.n, LENGTH_PRIOR_SAMPLES)
    p95 = blend(p95, max(1.0, evidence.p95), evidence.n, LENGTH_PRIOR_SAMPLES)
    return mean, max(mean, p95)


def _abstain_share(rate: float | None, mean: float | None) -> float | None:
    """Abstain rate over all samples -> its share of those that are not right."""
    if rate is None or mean is None:
        return None
    return round(min(1.0, rate / max(1 - mean, _EDGE)) * _SHARE_STEP) / _SHARE_STEP


def _share(fact: Fact) -> float | None:
    return None if fact.value is None else round(fact.value * _SHARE_STEP) / _SHARE_STEP
