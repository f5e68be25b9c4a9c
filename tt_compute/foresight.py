"""What a run over several deployments that its strategy names is expected to take, and what it takes at most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import anyio.to_thread
import msgspec

from tt_compute.errors import ContextLengthError
from tt_compute.planning.batches import predict_batches
from tt_compute.planning.panels import predict_panel
from tt_compute.planning.request import PlanRequest
from tt_compute.planning.types import Candidate, Objective, Prediction
from tt_compute.prompts import estimate_tokens
from tt_compute.rungs import Member
from tt_compute.setup import Setup
from tt_compute.strategies import built_in
from tt_compute.strategies.base import Strategy
from tt_compute.strategies.mixture import Mixture, frame
from tt_compute.strategies.panel import Panel
from tt_compute.types import DeploymentSpec, Message, SamplingParams

__all__ = ["Drawn", "foreseen", "most_drawn"]


class Drawn(NamedTuple):
    """Samples that a run may draw at one deployment."""

    deployment: str
    sampling: SamplingParams
    number: int
    input_tokens: int


def most_drawn(candidate: Candidate, input_tokens: int) -> list[Drawn]:
    """All that a plan may draw, where each may be drawn, with prompts as long as they may get."""
    then = candidate.then
    if candidate.members:
        strategy = built_in(candidate.strategy)
        if isinstance(strategy, Mixture):
            return _most_of_mixture(strategy, candidate, input_tokens)
        return [Drawn(one.deployment, one.sampling, 1, input_tokens) for one in candidate.members]
    first = Drawn(candidate.deployment, candidate.sampling, candidate.first_samples, input_tokens)
    if then is None:
        return [first]
    return [first, Drawn(then.deployment, then.sampling, then.max_samples, input_tokens)]


def _most_of_mixture(strategy: Mixture, candidate: Candidate, input_tokens: int) -> list[Drawn]:
    *proposers, last = candidate.members
    drawn: list[Drawn] = []
    shown = 0
    for shares in strategy.asked(candidate.max_samples):
        asked = [
            Drawn(one.deployment, one.sampling, share, input_tokens + shown)
            for one, share in zip(proposers, shares, strict=True)
            if share
        ]
        shown = _frame_tokens(sum(shares)) + sum(
            one.number * (one.sampling.max_tokens or 0) for one in asked
        )
        drawn += asked
    return [*drawn, Drawn(last.deployment, last.sampling, 1, input_tokens + shown)]


async def foreseen(
    setup: Setup,
    strategy: Strategy | None,
    named: Sequence[Member],
    request: PlanRequest,
    objective: Objective,
    *,
    wave: int,
) -> Prediction | None:
    """What a strategy over several deployments is expected to do, by what is known of each; None = nobody knows.

    Nor of a panel that asks one model twice, whose samples have more in common than those of two models.

    Args:
        setup: What the client knows.
        strategy: What runs.
        named: The deployments that it names.
        request: What is asked.
        objective: Its ``max_samples`` is the budget.
        wave: Most samples in flight, as the plan has it.
    """
    if isinstance(strategy, Panel):
        asked = named[: objective.max_samples]
        different = len({member.spec.model.id for member in asked}) == len(asked)
        singles = [member.alone.predicted for member in asked]
        return predict_panel(singles, strategy.agree) if different else None
    if isinstance(strategy, Mixture) and named:
        try:
            return await _Mixing(setup, named, request, wave).foreseen(
                strategy.asked(objective.max_samples)
            )
        except ContextLengthError:
            # The proposals may leave no room for an answer, and then nobody knows what comes of it.
            return None
    return None


class _Mixing:
    """A mixture: layers of proposals, each in sight of the one before, and an answer in sight of the last.

    How long prompts get is an expectation: the mean length of the proposals, all of them counted as shown.
    """

    def __init__(
        self, setup: Setup, named: Sequence[Member], request: PlanRequest, wave: int
    ) -> None:
        self._setup = setup
        self._named = named
        self._request = request
        self._wave = max(wave, len(named) - 1)

    async def foreseen(self, layers: Sequence[Sequence[int]]) -> Prediction:
        *proposers, last = self._named
        batches: list[list[Prediction]] = []
        shown: float | None = 0.0
        for shares in layers:
            asked = [
                (member.spec, share)
                for member, share in zip(proposers, shares, strict=True)
                if share
            ]
            batches.append([await self._drawing(spec, share, shown) for spec, share in asked])
            lengths = [(await self._tokens(spec), share) for spec, share in asked]
            known = [tokens * share for tokens, share in lengths if tokens is not None]
            shown = _frame_tokens(sum(shares)) + sum(known) if len(known) == len(asked) else None
        batches.append([await self._drawing(last.spec, 1, shown)])
        found = predict_batches(batches)
        if any(sum(shares) > self._wave for shares in layers):
            # Some of a layer wait until others have ended, and which is not predicted.
            return msgspec.structs.replace(found, latency_p50_s=None, latency_p95_s=None)
        return found

    async def _drawing(self, spec: DeploymentSpec, number: int, shown: float | None) -> Prediction:
        """So many samples of one deployment, in sight of so much more than the request."""
        if shown is None:
            return Prediction(samples_mean=float(number))
        planner = await self._setup.planner(spec.id)
        request = self._alone(spec, number, round(shown))
        objective = Objective(max_samples=number)
        if not planner.prepared(request, objective):
            # Elsewhere, so that whatever else the loop carries goes on.
            await anyio.to_thread.run_sync(planner.prepare, request, objective)
        (candidate,) = planner.plan(request, objective).candidates
        return candidate.predicted

    async def _tokens(self, spec: DeploymentSpec) -> float | None:
        """Mean length of one sample of it; None where it is unknown."""
        planner = await self._setup.planner(spec.id)
        offers = planner.offers(self._alone(spec, 1, 0), Objective(max_samples=1))
        return offers[spec.id].tokens_mean

    def _alone(self, spec: DeploymentSpec, number: int, shown: int) -> PlanRequest:
        request = self._request
        return msgspec.structs.replace(
            request,
            deployment=spec.id,
            strategy="single" if number == 1 else request.strategy,
            draws_all=number > 1,
            input_tokens=request.input_tokens + shown,
        )


def _frame_tokens(proposals: int) -> int:
    shown, nothing = (
        estimate_tokens([Message(role="user", content=text)]) for text in (frame(proposals), "")
    )
    return shown - nothing
