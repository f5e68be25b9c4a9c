"""What was learned, beside what the profiles say: the planner's own figures, laid open."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import cast

import msgspec

from tt_compute.planning.ability import TaskAbility, ability_of
from tt_compute.planning.estimates import Estimates, History, Import, LeftOut, SpeedEvidence
from tt_compute.planning.logprobs import judged_answers, logprob_effect
from tt_compute.planning.observations import Observation
from tt_compute.planning.performance import Pace
from tt_compute.planning.roofline import UnknownFact
from tt_compute.profiles.schema import Ability, DeploymentSpec, ModelProfile, TaskKind

__all__ = ["AbilityLearned", "Learned", "LogprobsLearned", "Moved", "SpeedLearned", "learned"]


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """A figure as the profile has it and as plans take it now; None is unknown."""

    stated: float | None
    learned: float | None


class LogprobsLearned(msgspec.Struct, frozen=True, kw_only=True):
    """How the confidence in an answer depends on the mean log-probability of the samples that gave it."""

    answers: int
    """Judged ones whose log-probability is known."""
    centre: float | None
    """Mean log-probability per token that changes nothing; None with ``slope``."""
    slope: float | None
    """Change of the log-odds per nat; None = too few answers, and confidence rests on votes alone."""


class AbilityLearned(msgspec.Struct, frozen=True, kw_only=True):
    """Of one model and kind of task."""

    model: str
    task: str
    questions: int
    """Observed with varied samples, imported ones included."""
    questions_weight: float
    """What they count for, older and unjudged ones less."""
    greedy_questions: int
    """Observed at temperature 0."""
    greedy_questions_weight: float
    success_rate: Moved
    """P(one sample is right)."""
    greedy_success_rate: Moved
    """P(the sample at temperature 0 is right); unknown where ``success_rate`` stands for it."""
    wrong_agreement: Moved
    """Share of the popular one among the wrong answers."""
    abstain_share: Moved
    """Share of the samples that are not right which hold no answer."""
    logprobs: LogprobsLearned
    """Of varied samples, what their log-probabilities tell of an answer."""
    greedy_logprobs: LogprobsLearned
    samples_weight: float
    """What the samples count for whose lengths were seen."""
    completion_tokens_mean: Moved
    completion_tokens_p95: Moved


class SpeedLearned(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens per second, over all samples of a wave, of one deployment, kind of task and wave width."""

    deployment: str
    task: str
    wave: int
    samples_weight: float
    predicted: float | None
    """By the profile or the roofline; None where neither tells, or the deployment is not configured."""
    observed: float
    learned: float | None
    """As plans take it."""


class Learned(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that past runs taught."""

    abilities: tuple[AbilityLearned, ...]
    speeds: tuple[SpeedLearned, ...]
    left_out: tuple[LeftOut, ...]
    forgotten: int
    """Runs that teach nothing any more, because the user said so."""
    imports: tuple[Import, ...]


def learned(
    estimates: Estimates,
    history: History,
    models: Mapping[str, ModelProfile],
    deployments: Sequence[DeploymentSpec],
) -> Learned:
    """Lay the evidence out.

    Args:
        estimates: The evidence.
        history: Where it is from.
        models: Profiles by id; of others nothing is stated.
        deployments: Those whose speed can be predicted.
    """
    specs = {spec.id: spec for spec in deployments}
    keys = sorted({*estimates.observations, *estimates.greedy, *estimates.lengths})
    return Learned(
        abilities=tuple(
            _ability(models.get(model) or ModelProfile(id=model), cast("TaskKind", task), estimates)
            for model, task in keys
        ),
        speeds=tuple(
            one
            for (deployment, task), seen in sorted(estimates.speeds.items())
            for one in _speeds(deployment, task, seen, specs.get(deployment))
        ),
        left_out=history.left_out,
        forgotten=history.forgotten,
        imports=history.imports,
    )


def _ability(model: ModelProfile, task: TaskKind, estimates: Estimates) -> AbilityLearned:
    key = (model.id, task)
    stated = ability_of(model, task, Estimates())
    now = ability_of(model, task, estimates)
    varied, greedy = estimates.observations.get(key, ()), estimates.greedy.get(key, ())
    profile = model.abilities.get(task, Ability())
    agreement = profile.wrong_agreement.value
    return AbilityLearned(
        model=model.id,
        task=task,
        questions=len(varied),
        questions_weight=_weight(varied),
        greedy_questions=len(greedy),
        greedy_questions_weight=_weight(greedy),
        success_rate=Moved(stated=stated.mean, learned=now.mean),
        greedy_success_rate=Moved(stated=stated.greedy_mean, learned=now.greedy_mean),
        wrong_agreement=Moved(
            stated=agreement,
            learned=agreement if now.questions is None else now.questions.agreement,
        ),
        abstain_share=Moved(stated=stated.abstain_share, learned=now.abstain_share),
        logprobs=_logprobs(now, varied),
        greedy_logprobs=_logprobs(now.greedy(), greedy),
        samples_weight=math.fsum(one.n for one in estimates.lengths.get(key, ())),
        completion_tokens_mean=Moved(stated=stated.tokens_mean, learned=now.tokens_mean),
        completion_tokens_p95=Moved(stated=stated.tokens_p95, learned=now.tokens_p95),
    )


def _logprobs(ability: TaskAbility, observations: tuple[Observation, ...]) -> LogprobsLearned:
    effect = logprob_effect(ability, observations)
    return LogprobsLearned(
        answers=judged_answers(observations),
        centre=None if effect is None else effect.centre,
        slope=None if effect is None else effect.slope,
    )


def _weight(observations: Iterable[Observation]) -> float:
    return math.fsum(one.weight for one in observations)


def _speeds(
    deployment: str, task: str, seen: Sequence[SpeedEvidence], spec: DeploymentSpec | None
) -> Iterator[SpeedLearned]:
    before = None if spec is None else Pace(spec, None)
    now = None if spec is None else Pace(spec, None, seen)
    for one in seen:
        yield SpeedLearned(
            deployment=deployment,
            task=task,
            wave=one.wave,
            samples_weight=one.n,
            predicted=_rate(before, one.wave),
            observed=one.tokens_per_s,
            learned=_rate(now, one.wave),
        )


def _rate(pace: Pace | None, wave: int) -> float | None:
    try:
        return None if pace is None else pace.tokens_per_s(wave)
    except UnknownFact:
        return None
