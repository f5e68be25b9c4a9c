"""A request as the body of ``POST chat/completions``."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from tt_compute.errors import UnsupportedError
from tt_compute.types import GenerateRequest, Message, SamplingParams, Tool, sample_seed
from tt_compute_backends.wire.services import Service

__all__ = ["Body", "build", "encode", "one_sample"]

Body = dict[str, Any]


def build(
    request: GenerateRequest, service: Service, *, model: str, max_tokens: int | None
) -> Body:
    """All that the samples of one prompt have in common.

    Args:
        request: Checked against the service's capabilities.
        service: Whose wire.
        model: The name the service knows it by.
        max_tokens: Of one sample; None = the service's default.

    Raises:
        UnsupportedError: More stop strings than the service takes.
    """
    body: Body = {"model": model, "messages": [_message(message) for message in request.messages]}
    if max_tokens is not None:
        body[service.max_tokens] = max_tokens
    _add_sampling(body, request.sampling, service)
    if request.response_format is not None:
        wanted = request.response_format
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": wanted.name, "schema": wanted.schema, "strict": True},
        }
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
        if request.tool_choice is not None:
            body["tool_choice"] = _tool_choice(request.tool_choice)
    if service.cache_key:
        body["prompt_cache_key"] = _cache_key(request)
    if request.continue_assistant:
        body |= service.continue_fields or {}
    return body


def one_sample(body: Body, sampling: SamplingParams, service: Service, index: int, n: int) -> Body:
    """The body for the samples ``index``, ``index + 1``, ... of which one answer shall hold ``n``."""
    made = dict(body)
    if n > 1:
        made["n"] = n
    if sampling.seed is not None and "seed" in service.parameters:
        made["seed"] = sample_seed(sampling.seed, index)
    return made


def _cache_key(request: GenerateRequest) -> str:
    """The same for all samples of a prompt, and for the turns of a conversation, which begin alike."""
    first = request.messages[0]
    return hashlib.sha256(f"{first.role}:{first.text}".encode()).hexdigest()[:32]


def encode(body: Body) -> bytes:
    return msgspec.json.encode(body)


def _add_sampling(body: Body, sampling: SamplingParams, service: Service) -> None:
    for name in ("temperature", "top_p"):
        if getattr(sampling, name) is not None:
            body[name] = getattr(sampling, name)
    for name in ("top_k", "presence_penalty", "frequency_penalty"):
        if getattr(sampling, name) is not None and name in service.parameters:
            body[name] = getattr(sampling, name)
    if sampling.stop:
        if service.max_stops is not None and len(sampling.stop) > service.max_stops:
            raise UnsupportedError(
                f"{len(sampling.stop)} stop strings: this service takes {service.max_stops}"
            )
        body["stop"] = list(sampling.stop)
    if sampling.logprobs:
        body["logprobs"] = True
        if sampling.logprobs > 1:
            body["top_logprobs"] = sampling.logprobs


def _message(message: Message) -> Body:
    made: Body = {"role": message.role, "content": message.text}
    if message.tool_calls:
        made["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        made["tool_call_id"] = message.tool_call_id
    return made


def _tool(tool: Tool) -> Body:
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters or {"type": "object", "properties": {}},
    }
    return {"type": "function", "function": function}


def _tool_choice(choice: str) -> Any:
    if choice in ("auto", "none", "required"):
        return choice
    return {"type": "function", "function": {"name": choice}}
