"""Rules about requests that must be refused when they are opened, before they can harm an engine."""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec

from tt_compute.testing.subject import (
    NotApplicable,
    Subject,
    ask,
    broken,
    capabilities,
    model,
    one_good_sample,
)
from tt_compute.types import (
    ContextLengthError,
    GenerateRequest,
    InvalidRequestError,
    JsonSchemaFormat,
    Message,
    SamplingParams,
    Tool,
    UnsupportedError,
)

__all__ = [
    "refuses_abilities_it_lacks",
    "refuses_bad_sampling",
    "refuses_prompts_that_are_no_prompts",
    "refuses_what_exceeds_the_context",
]

BAD_SAMPLING = (
    SamplingParams(temperature=-1.0),
    SamplingParams(temperature=math.nan),
    SamplingParams(temperature=math.inf),
    SamplingParams(top_p=0.0),
    SamplingParams(top_p=1.5),
    SamplingParams(top_k=0),
    SamplingParams(max_tokens=0),
    SamplingParams(max_tokens=-1),
    SamplingParams(logprobs=-1),
    SamplingParams(presence_penalty=math.nan),
    SamplingParams(stop=("",)),
)


async def refuses_prompts_that_are_no_prompts(subject: Subject) -> None:
    """No messages, no text, or text that is not valid Unicode: ``InvalidRequestError``."""
    prompts = (
        (),
        (Message(role="user", content=""),),
        (Message(role="user", content=" \n"),),
        (Message(role="user", content="half a surrogate pair: \ud800"),),
    )
    good = ask(subject)
    bad = [msgspec.structs.replace(good, messages=messages) for messages in prompts]
    await _all_refused(subject, bad, InvalidRequestError)


async def refuses_bad_sampling(subject: Subject) -> None:
    """Sampling parameters out of range or not numbers: ``InvalidRequestError``."""
    bad = [msgspec.structs.replace(ask(subject), sampling=sampling) for sampling in BAD_SAMPLING]
    await _all_refused(subject, bad, (InvalidRequestError, UnsupportedError))


async def refuses_what_exceeds_the_context(subject: Subject) -> None:
    """A prompt that leaves no room in the context for ``max_tokens``: ``ContextLengthError``."""
    await one_good_sample(subject, "before anything else")
    context = (await model(subject)).max_context_tokens
    if context is None:
        raise NotApplicable("the context length is unknown")
    long = Message(role="user", content="word " * (context + 1))
    bad = [
        ask(subject, tokens=context),
        msgspec.structs.replace(ask(subject), messages=(long,)),
    ]
    await _all_refused(subject, bad, ContextLengthError)


async def refuses_abilities_it_lacks(subject: Subject) -> None:
    """What the capabilities do not claim is refused with ``UnsupportedError``, not ignored."""
    claimed = await capabilities(subject)
    good = ask(subject)
    needs: list[tuple[bool, GenerateRequest]] = [
        (
            claimed.json_schema,
            msgspec.structs.replace(good, response_format=JsonSchemaFormat(schema={})),
        ),
        (claimed.tools, msgspec.structs.replace(good, tools=(Tool(name="tool"),))),
        (claimed.stop, ask(subject, sampling=SamplingParams(stop=("x",)))),
        (claimed.continue_assistant, continued(good)),
    ]
    bad = [request for able, request in needs if not able]
    bad.append(ask(subject, sampling=SamplingParams(logprobs=claimed.max_logprobs + 1)))
    await _all_refused(subject, bad, UnsupportedError)


def continued(request: GenerateRequest) -> GenerateRequest:
    """The request with the beginning of the assistant's answer, to go on from."""
    start = Message(role="assistant", content="The")
    return msgspec.structs.replace(
        request, messages=(*request.messages, start), continue_assistant=True
    )


async def _all_refused(
    subject: Subject,
    requests: Iterable[GenerateRequest],
    expected: type[Exception] | tuple[type[Exception], ...],
) -> None:
    for request in requests:
        shown = repr(request)[:200]
        try:
            async with subject.backend.open(request):
                pass
        except expected:
            continue
        except Exception as exc:  # noqa: BLE001 - whatever else it raises is what is reported
            broken(f"{type(exc).__name__} instead of a refusal of {shown}: {exc}")
        broken(f"accepted: {shown}")
    await one_good_sample(subject, "after refused requests")
