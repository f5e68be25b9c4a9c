"""Where each kind of request may go: the plan's choice first, then the plan's best elsewhere that is as good."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

from tt_compute.errors import (
    BackendUnavailable,
    ContextLengthError,
    InfeasibleError,
    UnknownNameError,
    UnsupportedError,
)
from tt_compute.planning.choice import QUALITY_SLACK
from tt_compute.planning.estimates import Estimates
from tt_compute.planning.menu import Offer
from tt_compute.planning.planner import Planner, PlanRequest
from tt_compute.planning.roofline import UnknownFact
from tt_compute.planning.types import Candidate, Objective
from tt_compute.profiles.schema import Ability, DeploymentSpec, Fact, TaskKind
from tt_compute.simulation.courses import STRATEGIES, Courses, courses_of
from tt_compute.simulation.machine import Machine, assumed_capabilities, machine_of
from tt_compute.simulation.workload import Kind
from tt_compute.types import Clock

__all__ = ["Asked", "Planned", "Route", "Router"]

_RARE = 1e-4
"""Samples that more rarely are so long are not asked whether they fit into memory."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What every request of a simulation wants."""

    objective: Objective = Objective()
    strategy: str | None = None
    """``best_of_n`` takes a verifier for granted that never errs."""
    stop_rule: str | None = None
    output_tokens: int | None = None
    """Mean length of a sample in the place of the profiles'; their spread stays, without one all are equal."""
    seed: int = 0


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """A plan for a kind of request on one deployment."""

    machine: Machine
    candidate: Candidate
    courses: Courses
    latency_s: float
    """Predicted p50 on an idle machine; infinite when unknown."""


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """Where a kind of request may go, the plan's choice first."""

    kind: Kind
    routes: tuple[Route, ...] = ()
    reasons: tuple[str, ...] = ()
    """Why deployments were left out, or the request cannot be served at all."""


class Router:
    """Plans the kinds of a workload.

    Args:
        specs: The fleet.
        asked: What requests want.
        clock: For the planner's own timing.
    """

    def __init__(self, specs: Sequence[DeploymentSpec], asked: Asked, clock: Clock) -> None:
        self._specs = specs
        self._asked = asked
        self._clock = clock
        self._machines: dict[str, Machine] = {}
        self.unusable: dict[str, str] = {}
        for spec in specs:
            try:
                self._machines[spec.id] = machine_of(spec, assumed_capabilities(spec))
            except UnknownFact as unknown:
                self.unusable[spec.id] = unknown.reason
        self._planners: dict[tuple[object, ...], Planner] = {}
        self._courses: dict[tuple[object, ...], Courses | None] = {}

    @property
    def machines(self) -> Mapping[str, Machine]:
        """Of the deployments whose speed is known."""
        return self._machines

    def plan(self, kind: Kind) -> Planned:
        """Ask the planner, again without each deployment that turns out not to be playable.

        Raises:
            UsageError: The strategy, the stop rule or the objective is wrong.
        """
        left_out = dict(self.unusable)
        while True:
            usable = tuple(spec.id for spec in self._specs if spec.id not in left_out)
            if not usable:
                return Planned(kind=kind, reasons=_listed(left_out))
            planner = self._planner(kind, usable)
            request = self._request(kind)
            try:
                chosen = planner.plan(request, self._asked.objective).chosen
            except (
                BackendUnavailable,
                ContextLengthError,
                InfeasibleError,
                UnsupportedError,
            ) as exc:
                return Planned(kind=kind, reasons=(*_listed(left_out), exc.message))
            assert chosen is not None
            found = self._route(kind, planner, request, chosen)
            if isinstance(found, Route):
                routes = (found, *self._others(kind, planner, request, chosen, usable))
                return Planned(kind=kind, routes=routes, reasons=_listed(left_out))
            left_out[chosen.deployment] = found

    def _others(
        self,
        kind: Kind,
        planner: Planner,
        request: PlanRequest,
        chosen: Candidate,
        usable: Sequence[str],
    ) -> list[Route]:
        """The best plan on each other deployment, where it meets the objective and is as good but for the slack."""
        if not chosen.feasible:
            return []
        objective = self._asked.objective
        floor = (chosen.predicted.quality or 0.0) - QUALITY_SLACK
        if floor > (objective.quality or 0.0):
            objective = msgspec.structs.replace(objective, quality=floor)
        routes: list[Route] = []
        for deployment in usable:
            if deployment == chosen.deployment:
                continue
            pinned = msgspec.structs.replace(request, deployment=deployment)
            try:
                other = planner.plan(pinned, objective).chosen
            except (BackendUnavailable, ContextLengthError, InfeasibleError, UnsupportedError):
                continue
            if other is not None and other.feasible:
                found = self._route(kind, planner, request, other)
                routes += [found] if isinstance(found, Route) else []
        return routes

    def _route(
        self, kind: Kind, planner: Planner, request: PlanRequest, candidate: Candidate
    ) -> Route | str:
        """The route, or why the plan cannot be played through."""
        offer = planner.offers(request, self._asked.objective)[candidate.deployment]
        if offer.lengths is None:
            return "; ".join(offer.ability.unknown_lengths)
        machine = self._machines[candidate.deployment]
        longest = kind.input_tokens + offer.lengths.quantile(1 - _RARE)
        if machine.kv_tokens is not None and longest > machine.kv_tokens:
            return (
                f"keys and values of {longest:.0f} tokens do not fit into its memory, "
                f"which holds those of {machine.kv_tokens:.0f}"
            )
        courses = self._drawn(offer, candidate)
        if courses is None:
            return "; ".join(offer.unknown["quality"])
        p50 = candidate.predicted.latency_p50_s
        return Route(
            machine=machine,
            candidate=candidate,
            courses=courses,
            latency_s=math.inf if p50 is None else p50,
        )

    def _drawn(self, offer: Offer, candidate: Candidate) -> Courses | None:
        ability, lengths = offer.ability, offer.lengths
        assert lengths is not None
        key = (
            candidate.strategy,
            candidate.stop_rule,
            candidate.max_samples,
            candidate.wave,
            candidate.ahead,
            ability,
            lengths,
        )
        if key not in self._courses:
            self._courses[key] = courses_of(
                candidate.strategy,
                ability,
                lengths,
                stop_rule=candidate.stop_rule,
                budget=candidate.max_samples,
                wave=candidate.wave,
                ahead=candidate.ahead,
                seed=self._asked.seed,
            )
        return self._courses[key]

    def _request(self, kind: Kind) -> PlanRequest:
        return PlanRequest(
            task=kind.task,
            input_tokens=kind.input_tokens,
            strategy=_played(self._asked.strategy),
            one_deployment=True,
            stop_rule=self._asked.stop_rule,
            has_verifier=self._asked.strategy == "best_of_n",
        )

    def _planner(self, kind: Kind, usable: Sequence[str]) -> Planner:
        key = (kind.task, kind.output_tokens, usable)
        if key not in self._planners:
            specs = [self._as_asked(spec, kind) for spec in self._specs if spec.id in usable]
            capabilities = {name: self._machines[name].capabilities for name in usable}
            self._planners[key] = Planner(specs, capabilities, {}, Estimates(), self._clock)
        return self._planners[key]

    def _as_asked(self, spec: DeploymentSpec, kind: Kind) -> DeploymentSpec:
        if kind.output_tokens is not None:
            return _with_lengths(spec, kind.task, kind.output_tokens, kind.output_tokens)
        mean = self._asked.output_tokens
        if mean is None:
            return spec
        stated = spec.model.abilities.get(kind.task, Ability())
        known, p95 = stated.completion_tokens_mean.value, stated.completion_tokens_p95.value
        spread = 1.0 if known is None or p95 is None else p95 / known
        return _with_lengths(spec, kind.task, mean, mean * spread)


def _with_lengths(spec: DeploymentSpec, task: TaskKind, mean: float, p95: float) -> DeploymentSpec:
    stated = spec.model.abilities.get(task, Ability())
    ability = msgspec.structs.replace(
        stated, completion_tokens_mean=Fact(value=mean), completion_tokens_p95=Fact(value=p95)
    )
    model = msgspec.structs.replace(spec.model, abilities={**spec.model.abilities, task: ability})
    return msgspec.structs.replace(spec, model=model)


def _listed(reasons: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(f"{deployment}: {reason}" for deployment, reason in reasons.items())


def _played(strategy: str | None) -> str | None:
    """The pinned strategy.

    Raises:
        UnknownNameError: It is none that can be played through.
    """
    if strategy is not None and strategy not in STRATEGIES:
        raise UnknownNameError(
            f"there is no simulation of the strategy {strategy!r}",
            hint=f"simulated are {', '.join(STRATEGIES)}",
        )
    return strategy
