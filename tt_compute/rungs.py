"""Where a run may draw samples: the plan's deployments, or those that its strategy names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from tt_compute.errors import ContextLengthError, InvalidRequestError, UnsupportedError
from tt_compute.openings import Rung
from tt_compute.planning.panels import predict_panel
from tt_compute.planning.request import PlanRequest
from tt_compute.planning.types import Candidate, Objective, Plan, Prediction
from tt_compute.setup import Setup
from tt_compute.strategies.base import Strategy
from tt_compute.strategies.panel import Panel
from tt_compute.types import DeploymentSpec, SamplingParams
from tt_compute.weights import parse_weight

__all__ = ["Rungs", "foreseen", "is_free", "is_mock", "members"]


async def members(
    setup: Setup, deployments: Sequence[str], request: PlanRequest, objective: Objective
) -> tuple[DeploymentSpec, ...]:
    """The deployments that a strategy names.

    Raises:
        UnknownNameError: One does not exist.
        InvalidRequestError: One is not local, and prompts must stay so.
        UnsupportedError: One lacks what the request needs.
        ContextLengthError: The prompt does not fit into one.
        BackendError: A backend cannot be made.
    """
    specs = tuple(map(setup.spec, deployments))
    for spec in specs:
        if objective.locality == "local" and not spec.hardware.local:
            raise InvalidRequestError(
                f"the strategy asks {spec.id!r}, which is not local, and locality is 'local'",
                hint="name local deployments, or allow locality 'any'",
            )
        missing = request.missing(await setup.capabilities(spec))
        if missing:
            raise UnsupportedError(
                f"{spec.id} is not known to offer {', '.join(missing)}", hint="name another one"
            )
        context = spec.max_context_tokens
        if context is not None and request.input_tokens >= context:
            raise ContextLengthError(
                f"a prompt of about {request.input_tokens} tokens does not fit into the context of {spec.id}, "
                f"{context} tokens",
                hint="shorten the prompt, or name another one",
            )
    return specs


async def foreseen(
    setup: Setup, strategy: Strategy | None, request: PlanRequest, objective: Objective
) -> Prediction | None:
    """What a strategy over several deployments is expected to do, by what is known of each; None = nobody knows.

    Nor of a panel that asks one model twice, whose samples have more in common than those of two models.

    Raises:
        TTComputeError: As ``Planner.plan``.
    """
    if not isinstance(strategy, Panel):
        return None
    asked = strategy.deployments[: objective.max_samples]
    if len({setup.spec(name).model.id for name in asked}) < len(asked):
        return None
    singles: list[Prediction] = []
    for name in asked:
        planner = await setup.planner(name)
        alone = msgspec.structs.replace(request, deployment=name, strategy="single")
        chosen = planner.plan(alone, Objective(locality=objective.locality)).chosen
        assert chosen is not None
        singles.append(chosen.predicted)
    return predict_panel(singles, strategy.agree)


class Rungs(NamedTuple):
    """What the rungs of one run are made of.

    Args:
        setup: What the client knows.
        plan: Decided.
        seed: Of the run.
        unfit: The plan's deployments that can stand in for no other.
        members: Those that the strategy names; empty = it leaves them to the plan.
    """

    setup: Setup
    plan: Plan
    seed: int
    unfit: frozenset[str]
    members: tuple[DeploymentSpec, ...]

    async def all(self, chosen: Candidate) -> tuple[Rung, ...]:
        """Of the plan's chosen candidate.

        Raises:
            UnknownNameError: One of its deployments does not exist.
            BackendError: A backend cannot be made.
        """
        if self.members:
            # None stands in for another: a vote of one would be counted as that of two.
            return tuple(
                [await self._rung(spec, _within(spec, chosen.sampling)) for spec in self.members]
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


def _within(spec: DeploymentSpec, sampling: SamplingParams) -> SamplingParams:
    """The sampling of the plan's deployment, as far as another one allows."""
    limit, wanted = spec.deployment.limits.max_output_tokens, sampling.max_tokens
    if limit is None or wanted is None or wanted <= limit:
        return sampling
    return msgspec.structs.replace(sampling, max_tokens=limit)
