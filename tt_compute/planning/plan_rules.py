"""What no plan that could be run says; the planner never does, a file or a caller may."""

from __future__ import annotations

import math
from collections.abc import Iterator

import msgspec

from tt_compute.errors import UsageError
from tt_compute.planning.types import MAX_SAMPLES, Candidate, Plan, Prediction, Stage
from tt_compute.sampling import check_sampling
from tt_compute.stopping import is_score_rule, parse_score_rule, parse_stop_rule
from tt_compute.weights import check_weighted_rule, parse_weight

__all__ = ["faults"]

_ROUNDING = 1e-9
"""What sums of probabilities may pass 1 by."""


def faults(plan: Plan) -> Iterator[tuple[str, str]]:
    """Pairs of a path in the plan and what is wrong there."""
    chosen, most = plan.chosen, plan.objective.max_samples
    if chosen is None:
        yield "chosen", "nothing was chosen, so that there is nothing to run"
        return
    yield from _within("chosen", _of_candidate(chosen, most))
    for place, candidate in enumerate(plan.candidates):
        yield from _within(f"candidates[{place}]", _of_candidate(candidate, most))
    if chosen not in plan.candidates:
        yield "chosen", "is none of the candidates"
    for name in ("elapsed_us", "setup_us"):
        value: float = getattr(plan, name)
        if not (math.isfinite(value) and value >= 0):
            yield name, f"expected a number of at least 0, got {value}"


def _within(path: str, found: Iterator[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    return ((f"{path}.{inside}", message) for inside, message in found)


def _of_candidate(candidate: Candidate, most: int) -> Iterator[tuple[str, str]]:
    yield from _of_budget(candidate, most)
    yield from _of_strategy(candidate)
    yield from _of_sampling(candidate)
    if candidate.then is not None:
        yield from _within("then", _of_stage(candidate.then, candidate.max_samples))
    for place, member in enumerate(candidate.members):
        yield from _within(f"members[{place}]", _of_member(member))
    if candidate.feasible == bool(candidate.violates):
        yield "feasible", "does not go with `violates`"
    for name, value in msgspec.structs.asdict(candidate.predicted).items():
        highest = 1 + _ROUNDING if name == "quality" else math.inf
        if value is not None and not (math.isfinite(value) and 0 <= value <= highest):
            yield f"predicted.{name}", f"no {name} is {value}"


def _of_budget(candidate: Candidate, most: int) -> Iterator[tuple[str, str]]:
    budget = candidate.max_samples
    if not 1 <= budget <= MAX_SAMPLES:
        yield "max_samples", f"expected 1 to {MAX_SAMPLES}, got {budget}"
    elif budget > most:
        yield "max_samples", f"{budget} is more than the objective's {most}"
    own = candidate.first_samples
    if own >= 1 and not 1 <= candidate.wave <= own:
        yield "wave", f"expected 1 to max_samples, which is {own}, got {candidate.wave}"


def _of_strategy(candidate: Candidate) -> Iterator[tuple[str, str]]:
    strategy, rule = candidate.strategy, candidate.stop_rule
    if strategy == "single" and candidate.max_samples > 1:
        yield "max_samples", f"the strategy 'single' draws 1 sample, not {candidate.max_samples}"
    elif strategy == "majority" and rule is None and candidate.weight is None:
        yield "stop_rule", "a vote needs one"
    elif (strategy == "cascade") != (candidate.then is not None):
        yield "then", "belongs to a cascade, and a cascade needs it"
    elif strategy == "single" and rule is not None:
        yield "stop_rule", f"the strategy 'single' draws nothing that {rule!r} could end"
    elif rule is not None and is_score_rule(rule) != (strategy == "best_of_n"):
        yield "stop_rule", f"the strategy {strategy!r} holds no vote that {rule!r} could end"
    if rule is not None:
        parse = parse_score_rule if is_score_rule(rule) else parse_stop_rule
        try:
            parse(rule)
        except UsageError as error:
            yield "stop_rule", error.message
    if candidate.weight is not None:
        yield from _of_weight(candidate, candidate.weight)
    yield from _of_ahead(candidate)


def _of_weight(candidate: Candidate, weight: str) -> Iterator[tuple[str, str]]:
    if candidate.strategy != "majority":
        yield "weight", f"the strategy {candidate.strategy!r} holds no vote that could weigh"
    try:
        check_weighted_rule(candidate.stop_rule, parse_weight(weight))
    except UsageError as error:
        yield "weight", error.message


def _of_ahead(candidate: Candidate) -> Iterator[tuple[str, str]]:
    plain = candidate.strategy == "majority" and candidate.weight is None
    if not 0 <= candidate.ahead <= 1:
        yield "ahead", f"expected 0 to 1, got {candidate.ahead}"
    elif candidate.ahead < 1 and not plain:
        yield "ahead", "only a vote in which all count alike draws ahead of need"


def _of_stage(then: Stage, most: int) -> Iterator[tuple[str, str]]:
    """A further deployment stands alone, as far as its own samples go."""
    if then.strategy not in ("single", "majority", "best_of_n"):
        yield "strategy", f"expected single, majority or best_of_n, got {then.strategy!r}"
        return
    if then.max_samples >= most:
        yield "max_samples", f"{then.max_samples} leaves none of the {most} to the first deployment"
    yield from _of_candidate(_alone(then), most)


def _of_member(member: Stage) -> Iterator[tuple[str, str]]:
    """One sample of it."""
    if member.strategy != "single":
        yield "strategy", f"expected single, got {member.strategy!r}"
        return
    yield from _of_candidate(_alone(member), 1)


def _alone(stage: Stage) -> Candidate:
    return Candidate(
        deployment=stage.deployment,
        backend=stage.backend,
        model=stage.model,
        strategy=stage.strategy,
        stop_rule=stage.stop_rule,
        max_samples=stage.max_samples,
        wave=stage.wave,
        feasible=True,
        violates=(),
        predicted=Prediction(),
        sampling=stage.sampling,
    )


def _of_sampling(candidate: Candidate) -> Iterator[tuple[str, str]]:
    sampling = candidate.sampling
    try:
        check_sampling(sampling)
    except UsageError as error:
        yield "sampling", error.message
    for name in ("temperature", "max_tokens"):
        if getattr(sampling, name) is None:
            yield f"sampling.{name}", "is not stated, and a decided plan states it"
    if sampling.temperature == 0 and candidate.strategy == "majority":
        yield (
            "sampling.temperature",
            "at 0 all samples are the same, and there is nothing to vote on",
        )
