"""Running a plan that was made before: whether it still holds here, and what may be said beside it."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from tt_compute.errors import (
    ContextLengthError,
    InvalidRequestError,
    PlanError,
    TTComputeError,
    UnknownNameError,
    UnsupportedError,
)
from tt_compute.options import SolveOptions
from tt_compute.planning.plan_file import PLAN_AGAIN, check_plan
from tt_compute.planning.premises import changes, premise_of
from tt_compute.planning.request import PlanRequest
from tt_compute.planning.types import Candidate, Plan, Stage
from tt_compute.setup import Setup
from tt_compute.strategies import asks_no_verifier, built_in
from tt_compute.strategies.base import Strategy, needs_of
from tt_compute.types import DeploymentSpec
from tt_compute.weights import parse_weight

__all__ = ["Replay", "check_beside", "replay"]

_OF_THE_REQUEST = frozenset({"plan", "system", "equal", "verifier", "response_format", "seed"})
"""Options that a plan leaves open."""


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """A plan that holds."""

    plan: Plan
    unfit: frozenset[str] = frozenset()
    """Its other deployments that cannot stand in for the chosen one any more."""


def check_beside(plan: Plan, options: SolveOptions) -> None:
    """Refuse options that a plan has decided, and a verifier that it does not ask or that it misses.

    Raises:
        InvalidRequestError: There is one.
        PlanError: The plan is none that could be run.
    """
    chosen = _chosen(plan)
    own, known = options.get("strategy"), _built_in(chosen.strategy)
    if own is not None and not isinstance(own, str) and own.name == chosen.strategy:
        options = {**options, "strategy": None}
    elif known is None:
        raise PlanError(
            f"the plan's strategy {chosen.strategy!r} is not a built-in one",
            hint="pass the same strategy again",
        )
    # False is `strict` not asked for; 0 is a temperature.
    given = {name for name, value in options.items() if value is not None and value is not False}
    decided = sorted(given - _OF_THE_REQUEST)
    if decided:
        raise InvalidRequestError(
            f"{', '.join(decided)} cannot be given beside a plan, which has decided it",
            hint=f"leave it out, or {PLAN_AGAIN}",
        )
    seed = chosen.sampling.seed
    if seed is not None and options.get("seed") is not None:
        raise InvalidRequestError(
            f"the plan has a seed, {seed}, and another is given", hint="leave it out"
        )
    judged = options.get("verifier") is not None
    weighs = chosen.weight is not None and parse_weight(chosen.weight).judged
    if (weighs or needs_of(known).verifier) and not judged:
        raise InvalidRequestError(
            f"the plan's strategy {chosen.strategy!r} needs a verifier, and a plan holds none",
            hint="pass the verifier again",
        )
    if judged and not weighs and asks_no_verifier(chosen.strategy):
        raise InvalidRequestError(
            f"a verifier was given, and the plan's strategy {chosen.strategy!r} asks none",
            hint=f"leave it out, or {PLAN_AGAIN}",
        )
    _check_members(chosen, known if own is None or isinstance(own, str) else own)


def _built_in(name: str) -> Strategy | None:
    try:
        return built_in(name)
    except InvalidRequestError as error:
        raise PlanError(f"the plan's strategy: {error.message}", hint=PLAN_AGAIN) from error


def _check_members(chosen: Candidate, strategy: Strategy | None) -> None:
    """Refuse a plan of other deployments than its strategy asks: what it holds of them would be of others."""
    named = needs_of(strategy).deployments
    planned = tuple(one.deployment for one in chosen.members)
    if planned != tuple(named) or planned[:1] not in ((), (chosen.deployment,)):
        raise PlanError(
            f"the plan's strategy {chosen.strategy!r} asks {', '.join(named) or 'no deployments of its own'}, "
            f"and the plan is of {', '.join(planned) or chosen.deployment}",
            hint=PLAN_AGAIN,
        )


async def replay(setup: Setup, plan: Plan, request: PlanRequest) -> Replay:
    """Hold a plan against the deployments of now.

    Args:
        setup: What the client knows.
        plan: Made before, perhaps elsewhere.
        request: What is asked of it.

    Raises:
        PlanError: Its deployment is gone, became another one, or may not be used.
        ContextLengthError: The prompt and the plan's answer do not fit.
        UnsupportedError: The deployment lacks what the request needs.
        BackendError: The backend cannot be made.
    """
    chosen = _chosen(plan)
    warnings = [
        f"the plan's deployment {chosen.deployment} has changed: {change}"
        for change in await _examine(setup, plan, _own(chosen), request)
    ]
    further = {one.deployment: one for one in (*chosen.members, chosen.then) if one is not None}
    further.pop(chosen.deployment, None)
    for stage in further.values():
        later = _as_candidate(chosen, stage)
        warnings += [
            f"the plan's deployment {later.deployment} has changed: {change}"
            for change in await _examine(setup, plan, later, request)
        ]
    others = {one.deployment: one for one in plan.candidates if one.deployment != chosen.deployment}
    unfit: set[str] = set()
    for name, other in others.items():
        stand_in = msgspec.structs.replace(other, sampling=chosen.sampling)
        try:
            await _examine(setup, plan, stand_in, request)
        except TTComputeError as error:
            unfit.add(name)
            warnings.append(f"{name} cannot stand in for {chosen.deployment}: {error.message}")
    held = msgspec.structs.replace(plan, warnings=tuple(warnings))
    return Replay(plan=held, unfit=frozenset(unfit))


def _chosen(plan: Plan) -> Candidate:
    """The candidate that runs, checked; the others only stand in with their deployments."""
    chosen = plan.chosen
    check_plan(msgspec.structs.replace(plan, candidates=() if chosen is None else (chosen,)))
    assert chosen is not None
    return chosen


def _own(chosen: Candidate) -> Candidate:
    """What its own deployment does: of a strategy that names several, one sample."""
    return _as_candidate(chosen, chosen.members[0]) if chosen.members else chosen


def _as_candidate(chosen: Candidate, stage: Stage) -> Candidate:
    """A further deployment of the plan, to be held against what there is now."""
    return msgspec.structs.replace(
        chosen,
        deployment=stage.deployment,
        backend=stage.backend,
        model=stage.model,
        max_samples=stage.max_samples,
        wave=stage.wave,
        sampling=stage.sampling,
        then=None,
        members=(),
    )


async def _examine(
    setup: Setup, plan: Plan, candidate: Candidate, request: PlanRequest
) -> tuple[str, ...]:
    """Refuse what can no longer be run as planned; tell the rest of what has changed."""
    spec = _spec(setup, candidate)
    local = "local" in (plan.objective.locality, setup.config.objective.locality)
    if local and not spec.hardware.local:
        raise PlanError(
            f"the plan's prompts would leave this machine ({spec.hardware.id} is not local), "
            "and the objective is local",
            hint=PLAN_AGAIN,
        )
    found = tuple(_changes(setup, plan, spec))
    _check_room(spec, candidate, request)
    missing = request.missing(await setup.capabilities(spec))
    if missing:
        raise UnsupportedError(
            f"{spec.id} is not known to offer {', '.join(missing)}", hint=PLAN_AGAIN
        )
    return (*found, *_narrower(spec, candidate))


def _spec(setup: Setup, candidate: Candidate) -> DeploymentSpec:
    name = candidate.deployment
    try:
        spec = setup.spec(name)
    except UnknownNameError as error:
        raise PlanError(
            f"the plan's deployment {name!r} does not exist any more",
            hint=f"{PLAN_AGAIN} ({error.hint})",
        ) from error
    was, now = (candidate.backend, candidate.model), (spec.backend, spec.model.id)
    for what, before, after in zip(("backend", "model"), was, now, strict=True):
        if before != after:
            raise _became_another(name, what, before, after)
    return spec


def _changes(setup: Setup, plan: Plan, spec: DeploymentSpec) -> Iterator[str]:
    """What has changed and leaves the plan as it is; a plan made in code may know of nothing before.

    Raises:
        PlanError: The weights are others.
    """
    before = next((one for one in plan.premises if one.deployment == spec.id), None)
    if before is None:
        return
    now = premise_of(spec, setup.version(spec), plan.task)
    if before.weights != now.weights:
        raise _became_another(spec.id, "weights", before.weights, now.weights)
    yield from changes(before, now)


def _became_another(name: str, what: str, before: str | None, after: str | None) -> PlanError:
    return PlanError(
        f"the plan's deployment {name!r} has changed: its {what} {before!r} became {after!r}",
        hint=PLAN_AGAIN,
    )


def _check_room(spec: DeploymentSpec, candidate: Candidate, request: PlanRequest) -> None:
    answer, limit = candidate.sampling.max_tokens or 0, spec.deployment.limits.max_output_tokens
    if limit is not None and answer > limit:
        raise PlanError(
            f"the plan's samples may have {answer} tokens, and {spec.id} allows {limit} now",
            hint=PLAN_AGAIN,
        )
    context = spec.max_context_tokens
    if context is not None and request.input_tokens + answer > context:
        raise ContextLengthError(
            f"a prompt of about {request.input_tokens} tokens and the plan's answer of up to {answer} "
            f"do not fit into the context of {spec.id}, {context} tokens",
            hint=f"shorten the prompt, or {PLAN_AGAIN}",
        )


def _narrower(spec: DeploymentSpec, candidate: Candidate) -> Iterator[str]:
    limits = {
        "limits.max_concurrency": spec.deployment.limits.max_concurrency,
        "placement.max_sequences": spec.deployment.placement.max_sequences,
    }
    for name, limit in limits.items():
        if limit is not None and candidate.wave > limit:
            yield f"{name} is {limit}, so that samples of a wave of {candidate.wave} wait"
