"""Asking a deployment of the client about samples: for a verdict, a score, or a vector."""

from __future__ import annotations

from collections.abc import Sequence

from tt_compute.backend import Embedder, ProcessScorer, Scorer
from tt_compute.dispatch.ledger import Ledger
from tt_compute.errors import BackendError, InvalidRequestError, UnsupportedError
from tt_compute.planning.types import Objective
from tt_compute.setup import Setup
from tt_compute.types import (
    DeploymentSpec,
    Failed,
    GenerateRequest,
    Message,
    Sample,
    SamplingParams,
)
from tt_compute.verify.equality import Embed
from tt_compute.verify.judge import Ask
from tt_compute.verify.scorer import Score
from tt_compute.verify.steps import ScoreSteps

__all__ = ["asker", "embedder", "scorer", "step_scorer", "unable"]

MAX_TOKENS = 2048
"""Of a verdict with the reasons for it."""


def asker(setup: Setup, deployment: str, objective: Objective, ledger: Ledger) -> Ask:
    """How a deployment is asked to judge; all that it takes is booked in ``ledger``.

    Raises:
        UnknownNameError: There is no such deployment.
        InvalidRequestError: It is not local, and prompts must stay so.
    """
    spec = _permitted(setup, deployment, objective)

    async def ask(messages: tuple[Message, ...]) -> Sample:
        request = GenerateRequest(
            messages=messages, sampling=SamplingParams(temperature=0, max_tokens=MAX_TOKENS)
        )
        async with setup.dispatcher.open(spec, request, ledger) as generation:
            generation.draw(1)
            async for event in generation:
                if isinstance(event, Failed):
                    raise event.error
                if isinstance(event, Sample):
                    return event
        raise BackendError(f"{deployment} gave no sample", deployment=deployment)

    return ask


def scorer(setup: Setup, deployment: str, objective: Objective) -> Score:
    """How a deployment scores completions; what that takes is not counted.

    Raises:
        UnknownNameError, InvalidRequestError: As ``asker``.
    """
    spec = _permitted(setup, deployment, objective)

    async def score(messages: Sequence[Message], texts: Sequence[str]) -> Sequence[float]:
        backend = await setup.backend(spec)
        if not isinstance(backend, Scorer):
            raise unable(spec, "score completions")
        return await backend.score(messages, texts)

    return score


def step_scorer(setup: Setup, deployment: str, objective: Objective) -> ScoreSteps:
    """How a deployment scores the steps of completions; what that takes is not counted.

    Raises:
        UnknownNameError, InvalidRequestError: As ``asker``.
    """
    spec = _permitted(setup, deployment, objective)

    async def score_steps(
        messages: Sequence[Message], steps: Sequence[Sequence[str]]
    ) -> Sequence[Sequence[float]]:
        backend = await setup.backend(spec)
        if not isinstance(backend, ProcessScorer):
            raise unable(spec, "score steps")
        return await backend.score_steps(messages, steps)

    return score_steps


def embedder(setup: Setup, deployment: str, objective: Objective) -> Embed:
    """How a deployment embeds texts; what that takes is not counted.

    Raises:
        UnknownNameError, InvalidRequestError: As ``asker``.
    """
    spec = _permitted(setup, deployment, objective)

    async def embed(texts: Sequence[str]) -> Sequence[Sequence[float]]:
        backend = await setup.backend(spec)
        if not isinstance(backend, Embedder):
            raise unable(spec, "embed texts")
        return await backend.embed(texts)

    return embed


def _permitted(setup: Setup, deployment: str, objective: Objective) -> DeploymentSpec:
    spec = setup.spec(deployment)
    if objective.locality == "local" and not spec.hardware.local:
        raise InvalidRequestError(
            f"the judge {deployment!r} is not local, and locality is 'local'",
            hint="judge by a local deployment, or allow locality 'any'",
        )
    return spec


def unable(spec: DeploymentSpec, what: str) -> UnsupportedError:
    """What to raise where a deployment's backend lacks an ability."""
    return UnsupportedError(
        f"the backend {spec.backend!r} of {spec.id!r} does not {what}",
        hint="name a deployment whose backend does",
    )
