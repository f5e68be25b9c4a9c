"""What can be told wrong about a request before any model sees it; shared by the local backends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar, cast

from tt_compute.errors import InvalidRequestError, UnsupportedError
from tt_compute.types import (
    Capabilities,
    GenerateRequest,
    JsonSchemaFormat,
    Message,
    SamplingParams,
)

__all__ = ["MAX_STOP_STRINGS", "check_request"]

MAX_STOP_STRINGS = 16
_MAX_TEMPERATURE = 5.0
_MAX_PENALTY = 2.0
_MAX_SCHEMA_DEPTH = 64
_MAX_SCHEMA_NODES = 10_000

_Number = TypeVar("_Number", int, float)


def check_request(request: GenerateRequest, capabilities: Capabilities) -> None:
    """Refuse what no tokeniser or model needs to judge.

    Raises:
        InvalidRequestError: Empty or unencodable prompt, a value out of range, a schema too large.
        UnsupportedError: The request needs an ability that ``capabilities`` lacks.
    """
    _check_messages(request)
    _check_sampling(request.sampling)
    _check_abilities(request, capabilities)
    if request.response_format is not None:
        _check_schema(request.response_format)


def _check_messages(request: GenerateRequest) -> None:
    if not request.messages:
        raise InvalidRequestError("the prompt has no messages")
    for position, message in enumerate(request.messages):
        _check_encodable(f"message {position}", message.text)
    last = request.messages[-1]
    if request.continue_assistant:
        if last.role != "assistant":
            raise InvalidRequestError(
                f"continue_assistant needs a last message of the assistant, not of {last.role!r}"
            )
    elif not last.text.strip():
        raise InvalidRequestError("the last message is empty")


def _check_encodable(what: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequestError(
            f"{what}: {text[error.start]!r} at {error.start} is half a surrogate pair, not a character",
            hint="decode the source with errors='replace'",
        ) from error


def _check_sampling(sampling: SamplingParams) -> None:
    _check_range("temperature", sampling.temperature, low=0.0, high=_MAX_TEMPERATURE)
    _check_range("top_p", sampling.top_p, low=0.0, high=1.0, above_low=True)
    _check_range("top_k", sampling.top_k, low=1)
    _check_range("max_tokens", sampling.max_tokens, low=1)
    _check_range("logprobs", sampling.logprobs, low=0)
    _check_range(
        "presence_penalty", sampling.presence_penalty, low=-_MAX_PENALTY, high=_MAX_PENALTY
    )
    _check_range(
        "frequency_penalty", sampling.frequency_penalty, low=-_MAX_PENALTY, high=_MAX_PENALTY
    )
    if len(sampling.stop) > MAX_STOP_STRINGS:
        raise InvalidRequestError(f"stop: {len(sampling.stop)} strings, at most {MAX_STOP_STRINGS}")
    for position, text in enumerate(sampling.stop):
        if not text:
            raise InvalidRequestError(f"stop[{position}] is empty")
        _check_encodable(f"stop[{position}]", text)


def _check_range(
    name: str,
    value: _Number | None,
    *,
    low: _Number,
    high: _Number | None = None,
    above_low: bool = False,
) -> None:
    if value is None:
        return
    # Positively phrased, so that NaN fails.
    good = (value > low if above_low else value >= low) and (high is None or value <= high)
    if not good:
        lower = f"{'above' if above_low else 'at least'} {low:g}"
        upper = "" if high is None else f" and at most {high:g}"
        raise InvalidRequestError(f"{name}: {value:g}, must be {lower}{upper}")


def _check_abilities(request: GenerateRequest, capabilities: Capabilities) -> None:
    if request.sampling.logprobs > capabilities.max_logprobs:
        raise UnsupportedError(
            f"logprobs={request.sampling.logprobs}: this backend gives {capabilities.max_logprobs}",
            hint="1 = of the sampled token",
        )
    if request.sampling.stop and not capabilities.stop:
        raise UnsupportedError("this backend has no stop strings")
    if request.response_format is not None and not capabilities.json_schema:
        raise UnsupportedError("this backend has no JSON schema output")
    if request.continue_assistant and not capabilities.continue_assistant:
        raise UnsupportedError("this backend cannot continue an assistant message")
    if not capabilities.tools and (request.tools or any(map(_uses_tools, request.messages))):
        raise UnsupportedError("this backend has no tools")


def _uses_tools(message: Message) -> bool:
    return message.role == "tool" or bool(message.tool_calls) or message.tool_call_id is not None


def _check_schema(wanted: JsonSchemaFormat) -> None:
    """Bound the schema before anything recursive touches it, and refuse what would be ignored."""
    level: list[object] = [wanted.schema]
    nodes = 0
    for _ in range(_MAX_SCHEMA_DEPTH):
        if not level:
            return
        nodes += len(level)
        if nodes > _MAX_SCHEMA_NODES:
            raise InvalidRequestError(f"the JSON schema has over {_MAX_SCHEMA_NODES} nodes")
        for node in level:
            _check_reference(node)
        level = [child for node in level for child in _children(node)]
    raise InvalidRequestError(f"the JSON schema is nested deeper than {_MAX_SCHEMA_DEPTH}")


def _children(node: object) -> list[object]:
    if isinstance(node, dict):
        return list(cast("dict[str, object]", node).values())
    return list(cast("Sequence[object]", node)) if isinstance(node, list | tuple) else []


def _check_reference(node: object) -> None:
    target = cast("dict[str, object]", node).get("$ref") if isinstance(node, dict) else None
    if isinstance(target, str) and target != "#" and not target.startswith("#/"):
        raise InvalidRequestError(
            f"the JSON schema refers to {target!r}, outside itself", hint="put it under '$defs'"
        )
