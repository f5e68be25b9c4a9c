"""What can be told wrong about a request before any model sees it: for backends, ours and others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from tt_compute.errors import InvalidRequestError, UnsupportedError
from tt_compute.sampling import check_encodable, check_sampling, check_types
from tt_compute.types import Capabilities, GenerateRequest, JsonSchemaFormat, Message

__all__ = ["check_generates", "check_request", "draws_nothing"]

_MAX_SCHEMA_DEPTH = 64
_MAX_SCHEMA_NODES = 10_000


def check_request(request: GenerateRequest, capabilities: Capabilities) -> None:
    """Refuse what no tokeniser or model needs to judge.

    Raises:
        InvalidRequestError: A part of another type than it must have, an empty or unencodable prompt, a value out of range, a schema too large.
        UnsupportedError: The request needs an ability that ``capabilities`` lacks.
    """
    check_types("the request", request, GenerateRequest)
    check_generates(capabilities)
    _check_messages(request)
    check_sampling(request.sampling)
    _check_abilities(request, capabilities)
    if request.response_format is not None:
        _check_schema(request.response_format)


def check_generates(capabilities: Capabilities) -> None:
    """Refuse to draw samples from a model that was not made for it.

    Raises:
        UnsupportedError: It is not.
    """
    if not capabilities.generates:
        raise draws_nothing()


def draws_nothing() -> UnsupportedError:
    """What a deployment whose model does not generate says to whoever wants samples of it."""
    return UnsupportedError(
        "this deployment's model draws no samples: it is a reward model, a process reward model or an embedding model",
        hint="verifier scorer=DEPLOYMENT or steps=DEPLOYMENT or equal semantic=DEPLOYMENT,THRESHOLD ask it; "
        "sample from another",
    )


def _check_messages(request: GenerateRequest) -> None:
    if not request.messages:
        raise InvalidRequestError("the prompt has no messages")
    for position, message in enumerate(request.messages):
        check_encodable(f"message {position}", message.text)
    last = request.messages[-1]
    if request.continue_assistant:
        if last.role != "assistant":
            raise InvalidRequestError(
                f"continue_assistant needs a last message of the assistant, not of {last.role!r}"
            )
    elif not last.text.strip():
        raise InvalidRequestError("the last message is empty")


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
