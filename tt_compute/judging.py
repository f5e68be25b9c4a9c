"""Asking a deployment of the client for a verdict on a sample."""

from __future__ import annotations

from tt_compute.dispatch.ledger import Ledger
from tt_compute.errors import BackendError, InvalidRequestError
from tt_compute.planning.types import Objective
from tt_compute.setup import Setup
from tt_compute.types import Failed, GenerateRequest, Message, Sample, SamplingParams
from tt_compute.verify.judge import Ask

__all__ = ["asker"]

MAX_TOKENS = 2048
"""Of a verdict with the reasons for it."""


def asker(setup: Setup, deployment: str, objective: Objective, ledger: Ledger) -> Ask:
    """How a deployment is asked to judge; all that it takes is booked in ``ledger``.

    Raises:
        UnknownNameError: There is no such deployment.
        InvalidRequestError: It is not local, and prompts must stay so.
    """
    spec = setup.spec(deployment)
    if objective.locality == "local" and not spec.hardware.local:
        raise InvalidRequestError(
            f"the judge {deployment!r} is not local, and locality is 'local'",
            hint="judge by a local deployment, or allow locality 'any'",
        )

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
