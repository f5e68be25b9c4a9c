"""Where a run may draw samples: the plan's deployments, or those that its strategy names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import anyio.to_thread
import msgspec

from tt_compute.errors import InvalidRequestError
from tt_compute.openings import Rung
from tt_compute.planning.request import PlanRequest
from tt_compute.planning.types import Candidate, Objective, Plan, Stage
from tt_compute.setup import Setup
from tt_compute.types import DeploymentSpec, SamplingParams
from tt_compute.weights import parse_weight

__all__ = ["Member", "Rungs", "is_free", "is_mock", "members", "naming_members"]


class Member(NamedTuple):
    """A deployment that a strategy names."""

    spec: DeploymentSpec
    alone: Candidate
    """A lone sample of it."""


async def members(
    setup: Setup, deployments: Sequence[str], request: PlanRequest, objective: Objective
) -> tuple[Member, ...]:
    """The deployments that a strategy names, and what is known of each.

    Raises:
        UnknownNameError: One does not exist.
        InvalidRequestError: One is not local, and prompts must stay so.
        BackendUnavailable, UnsupportedError, ContextLengthError: One cannot serve the request.
    """
    specs = {name: _permitted(setup, name, objective) for name in deployments}
    known = {name: Member(spec, await _alone(setup, spec, request)) for name, spec in specs.items()}
    return tuple(known[name] for name in deployments)


def _permitted(setup: Setup, deployment: str, objective: Objective) -> DeploymentSpec:
    spec = setup.spec(deployment)
    if objective.locality == "local" and not spec.hardware.local:
        raise InvalidRequestError(
            f"the strategy asks {spec.id!r}, which is not local, and locality is 'local'",
            hint="name local deployments, or allow locality 'any'",
        )
    return spec


async def _alone(setup: Setup, spec: DeploymentSpec, request: PlanRequest) -> Candidate:
    planner = await setup.planner(spec.id)
    alone = msgspec.structs.replace(request, deployment=spec.id, strategy="single")
    if not planner.prepared(alone, Objective()):
        # Elsewhere, so that whatever else the loop carries goes on.
        await anyio.to_thread.run_sync(planner.prepare, alone, Objective())
    chosen = planner.plan(alone, Objective()).chosen
    assert chosen is not None
    return chosen


def naming_members(plan: Plan, named: Sequence[Member]) -> Plan:
    """The plan with a sample of each member in it: drawn as the plan has it, and as long as that deployment needs."""

    def with_them(candidate: Candidate) -> Candidate:
        return msgspec.structs.replace(
            candidate, members=tuple(_stage(one.alone, candidate.sampling) for one in named)
        )

    return msgspec.structs.replace(
        plan,
        chosen=None if plan.chosen is None else with_them(plan.chosen),
        candidates=tuple(map(with_them, plan.candidates)),
    )


def _stage(alone: Candidate, sampling: SamplingParams) -> Stage:
    return Stage(
        deployment=alone.deployment,
        backend=alone.backend,
        model=alone.model,
        strategy=alone.strategy,
        stop_rule=None,
        max_samples=1,
        wave=1,
        sampling=msgspec.structs.replace(sampling, max_tokens=alone.sampling.max_tokens),
    )


class Rungs(NamedTuple):
    """What the rungs of one run are made of.

    Args:
        setup: What the client knows.
        plan: Decided.
        seed: Of the run.
        unfit: The plan's deployments that can stand in for no other.
    """

    setup: Setup
    plan: Plan
    seed: int
    unfit: frozenset[str]

    async def all(self, chosen: Candidate) -> tuple[Rung, ...]:
        """Of the plan's chosen candidate.

        Raises:
            UnknownNameError: One of its deployments does not exist.
            BackendError: A backend cannot be made.
        """
        if chosen.members:
            # None stands in for another: a vote of one would be counted as that of two.
            return tuple(
                [
                    await self._rung(self.setup.spec(one.deployment), one.sampling)
                    for one in chosen.members
                ]
            )
        spec = self.setup.spec(chosen.deployment)
        first = await self._rung(spec, chosen.sampling, chosen.weight)
        first = msgspec.structs.replace(first, alternates=self._alternates(spec))
        if chosen.then is None:
            return (first,)
        second = self.setup.spec(chosen.then.deployment)
        later = await self._rung(second, chosen.then.sampling)
        # The first one has had its say.
        others = tuple(other for other in self._alternates(second) if other is not spec)
        return (first, msgspec.structs.replace(later, alternates=others))

    async def _rung(
        self, spec: DeploymentSpec, sampling: SamplingParams, weight: str | None = None
    ) -> Rung:
        """The plan's sampling with the seed, and logprobs where they cost nothing to ask for."""
        wanted = 1 if weight is None else max(1, parse_weight(weight).most_logprobs)
        most = (await self.setup.capabilities(spec)).max_logprobs
        logprobs = max(sampling.logprobs, min(wanted, most))
        sampling = msgspec.structs.replace(sampling, seed=self.seed, logprobs=logprobs)
        return Rung(spec=spec, sampling=sampling)

    def _alternates(self, spec: DeploymentSpec) -> tuple[DeploymentSpec, ...]:
        """The plan's other deployments, as it ranks them; a mock stands in for nothing real."""
        plan = self.plan
        names = dict.fromkeys(one.deployment for one in plan.candidates if one.feasible)
        names |= dict.fromkeys(one.deployment for one in plan.candidates)
        names |= dict.fromkeys(plan.resting)
        names = {name: None for name in names if name != spec.id and name not in self.unfit}
        others = map(self.setup.spec, names)
        return tuple(other for other in others if is_mock(other) == is_mock(spec))


def is_free(spec: DeploymentSpec) -> bool:
    """Whether samples are known to cost nothing there."""
    per_mtok = spec.deployment.price.usd_per_mtok
    if per_mtok is None:
        return spec.usd_per_hour == 0
    return per_mtok.input.value == per_mtok.output.value == 0


def is_mock(spec: DeploymentSpec) -> bool:
    """Whether samples are made up: a mock that borrows a real model's name teaches nothing about it."""
    return spec.backend == "mock" or spec.hardware.device == "mock"
