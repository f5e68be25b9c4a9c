"""Estimated P(the answer is right) of a finished run, by what is known of the models that gave it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from tt_compute.planning.ability import TaskAbility, ability_of
from tt_compute.planning.confidence import vote_confidence
from tt_compute.planning.escalation import by_vote
from tt_compute.planning.estimates import Estimates
from tt_compute.planning.panels import agreement_confidence
from tt_compute.planning.types import Candidate
from tt_compute.profiles.schema import DeploymentSpec, TaskKind
from tt_compute.stopping import gate_of
from tt_compute.strategies.base import Outcome, Strategy
from tt_compute.strategies.collecting import finished
from tt_compute.strategies.panel import Panel

__all__ = ["Asked", "Confidence", "confidence_in"]

Confidence = Callable[[Outcome], float | None]


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What abilities are looked up for."""

    task: TaskKind
    prompt_tokens: int
    estimates: Estimates


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
    abilities = [_ability(asked, spec, greedy=greedy) for spec in specs]
    if isinstance(strategy, Panel):
        return _of_panel([one.mean for one in abilities], [spec.model.id for spec in specs])
    if chosen.then is not None:
        alone = _ability(asked, specs[1], greedy=chosen.then.sampling.temperature == 0)
        abilities[1:] = [_later(abilities[0], alone, chosen)]
    return lambda outcome: _confidence(abilities, outcome)


def _of_panel(rates: Sequence[float | None], models: Sequence[str]) -> Confidence:
    """Of one that asks a model twice nothing is known."""
    known = [rate for rate in rates if rate is not None]
    if len(known) < len(rates) or len({*models}) < len(models):
        return lambda _: None
    return lambda outcome: agreement_confidence(known, outcome.by_rung)


def _ability(asked: Asked, spec: DeploymentSpec, *, greedy: bool) -> TaskAbility:
    ability = ability_of(spec.model, asked.task, asked.estimates, asked.prompt_tokens)
    return ability.greedy() if greedy else ability


def _later(first: TaskAbility, second: TaskAbility, chosen: Candidate) -> TaskAbility:
    """The second model's ability on questions that the first one's vote left open: they are harder."""
    if second.questions is None or not first.votes_known or chosen.stop_rule is None:
        return second
    rule = gate_of(chosen.stop_rule)
    return second.on(by_vote(first, second.questions, rule, chosen.first_samples).questions)


def _confidence(abilities: list[TaskAbility], outcome: Outcome) -> float | None:
    """What the votes say of the answer; None for answers that something else picked, not a vote."""
    if outcome.stop_reason == "verifier" or any(one.score is not None for one in outcome.ended):
        return None
    if len(abilities) > 1 and outcome.stage == 0 and outcome.own_votes is not None:
        return None
    if not outcome.votes and len(outcome.ended) > 1:
        return None
    abstentions = sum(finished(one) and one.answer is None for one in outcome.ended)
    votes = [count for _, count in outcome.votes] or [1]
    return vote_confidence(abilities[outcome.stage], votes, abstentions)
