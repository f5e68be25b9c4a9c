"""Estimated P(the answer is right) of a run, by what is known of the models that gave it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence

import msgspec

from tt_compute.planning.ability import TaskAbility, ability_of
from tt_compute.planning.confidence import vote_confidence
from tt_compute.planning.escalation import by_vote
from tt_compute.planning.estimates import Estimates
from tt_compute.planning.logprobs import logprob_effect
from tt_compute.planning.observations import LARGEST_LOGPROB, Observation
from tt_compute.planning.panels import agreement_confidence
from tt_compute.planning.similarity import length_band
from tt_compute.planning.types import Candidate
from tt_compute.profiles.schema import DeploymentSpec, TaskKind
from tt_compute.stopping import gate_of
from tt_compute.strategies.base import Ended, Outcome, Strategy
from tt_compute.strategies.collecting import finished
from tt_compute.strategies.panel import Panel
from tt_compute.types import Sample

__all__ = ["Asked", "Confidence", "confidence_in"]

Confidence = Callable[[Outcome, Mapping[int, str]], float | None]
"""(what was found, deployment of each sample that ended) -> P(the answer is right); None is unknown."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What abilities are looked up for."""

    task: TaskKind
    prompt_tokens: int
    estimates: Estimates


class _Known(msgspec.Struct, frozen=True, kw_only=True):
    """Of one deployment of the plan."""

    deployment: str
    ability: TaskAbility
    observations: tuple[Observation, ...]
    """That samples drawn like the plan's left, for what log-probabilities tell."""
    prompt_tokens: int


def confidence_in(
    strategy: Strategy, chosen: Candidate, asked: Asked, specs: Sequence[DeploymentSpec]
) -> Confidence:
    """How sure to be of what a plan's run finds.

    Args:
        strategy: What runs.
        chosen: The plan's.
        asked: The request.
        specs: The run's deployments, by rung.
    """
    greedy = chosen.sampling.temperature == 0
    known = [_known(asked, spec, greedy=greedy) for spec in specs]
    if isinstance(strategy, Panel):
        rates = [one.ability.mean for one in known]
        return _of_panel(rates, [spec.model.id for spec in specs])
    if chosen.then is not None:
        alone = _known(asked, specs[1], greedy=chosen.then.sampling.temperature == 0)
        harder = _later(known[0].ability, alone.ability, chosen)
        # The judged answers were to all questions, these are to harder ones.
        known[1:] = [msgspec.structs.replace(alone, ability=harder, observations=())]
    return lambda outcome, served_by: _confidence(known, outcome, served_by)


def _of_panel(rates: Sequence[float | None], models: Sequence[str]) -> Confidence:
    """Of one that asks a model twice nothing is known."""
    known = [rate for rate in rates if rate is not None]
    if len(known) < len(rates) or len({*models}) < len(models):
        return lambda _outcome, _served_by: None
    return lambda outcome, _served_by: agreement_confidence(known, outcome.by_rung)


def _known(asked: Asked, spec: DeploymentSpec, *, greedy: bool) -> _Known:
    # As the planner takes it, so that both rest on the same figures, which are made once.
    prompt_tokens = length_band(asked.prompt_tokens)
    ability = ability_of(spec.model, asked.task, asked.estimates, prompt_tokens)
    seen = asked.estimates.greedy if greedy else asked.estimates.observations
    return _Known(
        deployment=spec.id,
        ability=ability.greedy() if greedy else ability,
        observations=seen.get((spec.model.id, asked.task), ()),
        prompt_tokens=prompt_tokens,
    )


def _later(first: TaskAbility, second: TaskAbility, chosen: Candidate) -> TaskAbility:
    """The second model's ability on questions that the first one's vote left open: they are harder."""
    if second.questions is None or not first.votes_known or chosen.stop_rule is None:
        return second
    rule = gate_of(chosen.stop_rule)
    return second.on(by_vote(first, second.questions, rule, chosen.first_samples).questions)


def _confidence(
    known: Sequence[_Known], outcome: Outcome, served_by: Mapping[int, str]
) -> float | None:
    """What votes and log-probabilities say of the answer; None for answers that something else picked."""
    if outcome.stop_reason == "verifier" or any(one.score is not None for one in outcome.ended):
        return None
    if len(known) > 1 and outcome.stage == 0 and outcome.own_votes is not None:
        return None
    if not outcome.votes and len(outcome.ended) > 1:
        return None
    abstentions = sum(one.answer is None for one in _counted(outcome))
    votes = [count for _, count in outcome.votes] or [1]
    own = known[outcome.stage]
    confidence = vote_confidence(own.ability, votes, abstentions)
    logprob = _logprob(own.deployment, outcome, served_by)
    if confidence is None or logprob is None:
        return confidence
    effect = logprob_effect(own.ability, own.observations, own.prompt_tokens)
    return confidence if effect is None else effect.moved(confidence, logprob)


def _logprob(deployment: str, outcome: Outcome, served_by: Mapping[int, str]) -> float | None:
    """Mean over the deployment's samples that gave the answer, as the store takes it."""
    answer = outcome.answer
    found = [
        one.event.mean_logprob
        for one in _counted(outcome)
        if isinstance(one.event, Sample)
        and answer is not None
        and one.answer is not None
        and one.answer.text == answer.text
        and served_by.get(one.index, deployment) == deployment
    ]
    told = [logprob for logprob in found if logprob is not None and abs(logprob) < LARGEST_LOGPROB]
    return statistics.fmean(told) if told else None


def _counted(outcome: Outcome) -> list[Ended]:
    """What came to an end of its own, and was not drawn for nothing."""
    return [one for one in outcome.ended if finished(one) and one.index not in outcome.uncounted]
