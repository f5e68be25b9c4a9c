"""What is known of a model on a kind of task: how often samples are right, how wrong ones agree, how long they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from tt_compute.planning.estimates import (
    ABILITY_PRIOR_QUESTIONS,
    LENGTH_PRIOR_SAMPLES,
    Estimates,
    LengthEvidence,
    blend,
)
from tt_compute.planning.observations import (
    Observation,
    abstain_share_learned,
    questions_learned,
)
from tt_compute.planning.questions import Questions
from tt_compute.planning.similarity import similarity
from tt_compute.profiles.schema import Ability, ModelProfile, TaskKind

__all__ = ["TaskAbility", "ability_of"]

_EDGE = 1e-9
_SHARE_STEP = 20
"""Shares of samples without an answer count in whole twentieths, so that similar models share their tables."""
_UNSTATED = Questions.stated(mean=0.5, concentration=1.0, agreement=0.4)
"""Where evidence starts that no profile's word goes before; it counts as one question."""


class TaskAbility(msgspec.Struct, frozen=True, kw_only=True):
    """All that predictions need of one (model, task kind); None is unknown, with the reason."""

    mean: float | None = None
    """P(one sample is right)."""
    greedy_mean: float | None = None
    """P(the sample at temperature 0 is right); None where ``mean`` stands for it too."""
    questions: Questions | None = None
    """How the success rate, and how wrong answers agree, differ between questions."""
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
        questions = self.questions
        if questions is not None:
            questions = questions.with_success_rate(self.greedy_mean)
        return msgspec.structs.replace(self, mean=self.greedy_mean, questions=questions)

    def on(self, questions: Questions) -> TaskAbility:
        """The ability on a part of the questions."""
        return msgspec.structs.replace(
            self, mean=questions.success_rate, questions=questions, greedy_mean=None
        )

    @property
    def votes_known(self) -> bool:
        """Whether the outcome of a vote can be predicted."""
        return self.questions is not None and self.abstain_share is not None


def ability_of(
    model: ModelProfile, task: TaskKind, estimates: Estimates, prompt_tokens: int | None = None
) -> TaskAbility:
    """The profile's ability moved by what was learned.

    The profile's word counts as ``ABILITY_PRIOR_QUESTIONS`` observed questions. Where it has none, evidence
    starts from one question of which half the samples are right. Lengths are blended with
    ``LENGTH_PRIOR_SAMPLES``. What was seen of prompts about as long counts more (``planning.similarity``).

    Args:
        model: The model.
        task: The kind of task.
        estimates: What was seen.
        prompt_tokens: Of the question; None = of any.
    """
    key = (model.id, task)
    stated = model.abilities.get(task, Ability())
    varied, greedy = (
        tuple(_weighed(one, prompt_tokens) for one in found)
        for found in _observations(stated, estimates, key)
    )
    ability = _quality(stated, varied)
    tokens_mean, tokens_p95 = _lengths(stated, estimates.lengths.get(key, ()), prompt_tokens)
    quality: dict[str, object] = {
        "success_rate": ability.mean,
        "concentration": ability.questions or stated.concentration.value,
        "wrong_agreement": ability.questions or stated.wrong_agreement.value,
        "abstain_rate": ability.questions or stated.abstain_rate.value,
    }
    lengths = {"completion_tokens_mean": tokens_mean, "completion_tokens_p95": tokens_p95}
    return msgspec.structs.replace(
        ability,
        greedy_mean=_greedy_rate(stated, ability.mean, greedy),
        tokens_mean=tokens_mean,
        tokens_p95=tokens_p95,
        unknown_quality=_unknown(quality, model, task),
        unknown_lengths=_unknown(lengths, model, task),
    )


def _weighed(one: Observation, prompt_tokens: int | None) -> Observation:
    weight = one.weight * similarity(one.prompt_tokens, prompt_tokens)
    return msgspec.structs.replace(one, weight=weight, prompt_tokens=None)


def _observations(
    stated: Ability, estimates: Estimates, key: tuple[str, str]
) -> tuple[tuple[Observation, ...], tuple[Observation, ...]]:
    """Of varied samples and of those at temperature 0, which stand for the others where nothing else does."""
    varied, greedy = estimates.observations.get(key, ()), estimates.greedy.get(key, ())
    if not varied and stated.success_rate.value is None:
        return greedy, greedy
    return varied, greedy


def _quality(stated: Ability, observations: tuple[Observation, ...]) -> TaskAbility:
    mean = stated.success_rate.value
    concentration, agreement = stated.concentration.value, stated.wrong_agreement.value
    abstain_share = _abstain_share(stated.abstain_rate.value, mean)
    if mean is None or concentration is None or agreement is None:
        prior = _UNSTATED if mean is None else _UNSTATED.with_success_rate(mean)
        if not any(map(_tells, observations)):
            return TaskAbility(mean=mean, abstain_share=abstain_share)
    else:
        prior = Questions.stated(mean, concentration, agreement)
    weight = 1.0 if mean is None else ABILITY_PRIOR_QUESTIONS
    questions = questions_learned(prior, weight, observations)
    learned = questions.success_rate
    if observations:
        known, weight = (0.0, 1e-6) if abstain_share is None else (abstain_share, weight)
        abstain_share = abstain_share_learned(known, learned, weight, observations)
    return TaskAbility(
        mean=learned if observations else mean,
        questions=questions,
        abstain_share=None if abstain_share is None else _stepped(abstain_share),
    )


def _tells(one: Observation) -> bool:
    """Whether something is known to be right or wrong: agreement alone starts no estimate."""
    return bool(one.samples and not one.unsure) or bool(one.wrong)


def _greedy_rate(
    stated: Ability, mean: float | None, observations: tuple[Observation, ...]
) -> float | None:
    """A conjugate update of the rate; None where that of varied samples stands for it."""
    rate = stated.greedy_success_rate.value
    judged = [one for one in observations if _tells(one)]
    if rate is None and (mean is None or not judged):
        return None
    rights = sum(one.weight for one in judged if one.right)
    total = sum(one.weight for one in judged)
    prior = mean if rate is None else rate
    assert prior is not None
    return (ABILITY_PRIOR_QUESTIONS * prior + rights) / (ABILITY_PRIOR_QUESTIONS + total)


def _unknown(values: Mapping[str, object], model: ModelProfile, task: TaskKind) -> tuple[str, ...]:
    return tuple(
        f"abilities.{task}.{name} of {model.id} is unknown"
        for name, value in values.items()
        if value is None
    )


def _lengths(
    stated: Ability, evidence: Sequence[LengthEvidence], prompt_tokens: int | None
) -> tuple[float | None, float | None]:
    mean, p95 = stated.completion_tokens_mean.value, stated.completion_tokens_p95.value
    weighed = [(one, one.n * similarity(one.prompt_tokens, prompt_tokens)) for one in evidence]
    n = sum(weight for _, weight in weighed)
    if not n:
        return mean, p95
    seen_mean = sum(one.mean * weight for one, weight in weighed) / n
    seen_p95 = sum(one.p95 * weight for one, weight in weighed) / n
    # A model that always answers with nothing has a length of 0; a token is the least a sample takes.
    mean = blend(mean, max(1.0, seen_mean), n, LENGTH_PRIOR_SAMPLES)
    p95 = blend(p95, max(1.0, seen_p95), n, LENGTH_PRIOR_SAMPLES)
    return mean, max(mean, p95)


def _abstain_share(rate: float | None, mean: float | None) -> float | None:
    """Abstain rate over all samples -> its share of those that are not right."""
    if rate is None or mean is None:
        return None
    return min(1.0, rate / max(1 - mean, _EDGE))


def _stepped(share: float) -> float:
    return round(share * _SHARE_STEP) / _SHARE_STEP
