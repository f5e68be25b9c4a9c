"""What a program asks of ``ttc mock serve``: the body of ``POST /v1/chat/completions``, checked."""

from __future__ import annotations

from typing import Literal

import msgspec

from tt_compute.errors import InvalidRequestError
from tt_compute.types import (
    GenerateRequest,
    JsonSchemaFormat,
    Message,
    Role,
    SamplingParams,
    TextPart,
    Tool,
)

__all__ = ["Asked", "read_asked"]

_MAX_N = 128


class _Part(msgspec.Struct, frozen=True):
    type: Literal["text"]
    text: str


class _Message(msgspec.Struct, frozen=True):
    role: Role | Literal["developer"]
    content: str | tuple[_Part, ...] | None = None


class _Function(msgspec.Struct, frozen=True):
    name: str


class _Tool(msgspec.Struct, frozen=True):
    function: _Function


class _Schema(msgspec.Struct, frozen=True):
    schema: dict[str, object] = {}


class _Format(msgspec.Struct, frozen=True):
    type: str
    json_schema: _Schema = _Schema()


class _StreamOptions(msgspec.Struct, frozen=True):
    include_usage: bool = False


class _Body(msgspec.Struct, frozen=True):
    """What of the body counts here; the rest is ignored, as services ignore what they do not know."""

    model: str
    messages: tuple[_Message, ...]
    n: int | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stop: str | tuple[str, ...] | None = None
    seed: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    tools: tuple[_Tool, ...] | None = None
    response_format: _Format | None = None


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One request of a program."""

    model: str
    request: GenerateRequest
    n: int
    stream: bool
    include_usage: bool
    """Whether a stream ends with a piece that holds the tokens."""


_DECODER = msgspec.json.Decoder(_Body)


def read_asked(data: bytes, *, seed: int) -> Asked:
    """Check a body.

    Args:
        data: JSON.
        seed: Of a request that has none: without one, services answer differently each time.

    Raises:
        InvalidRequestError: It is no such body.
    """
    try:
        body = _DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise InvalidRequestError(f"the body cannot be used: {exc}") from exc
    n = 1 if body.n is None else body.n
    if not 1 <= n <= _MAX_N:
        raise InvalidRequestError(f"n must be 1 to {_MAX_N}, got {n}")
    request = GenerateRequest(
        messages=tuple(map(_message, body.messages)),
        sampling=_sampling(body, seed),
        response_format=_response_format(body),
        tools=tuple(Tool(name=tool.function.name) for tool in body.tools or ()),
        deltas="logprobs" if body.logprobs else "text",
    )
    options = body.stream_options or _StreamOptions()
    return Asked(
        model=body.model,
        request=request,
        n=n,
        stream=bool(body.stream),
        include_usage=options.include_usage,
    )


def _message(message: _Message) -> Message:
    role: Role = "system" if message.role == "developer" else message.role
    if isinstance(message.content, tuple):
        parts = tuple(TextPart(text=part.text) for part in message.content)
        return Message(role=role, content=parts)
    return Message(role=role, content=message.content or "")


def _sampling(body: _Body, seed: int) -> SamplingParams:
    limit = body.max_completion_tokens
    stop = body.stop or ()
    return SamplingParams(
        temperature=body.temperature,
        top_p=body.top_p,
        max_tokens=body.max_tokens if limit is None else limit,
        stop=(stop,) if isinstance(stop, str) else stop,
        seed=seed if body.seed is None else body.seed,
        logprobs=max(1, body.top_logprobs or 0) if body.logprobs else 0,
        presence_penalty=body.presence_penalty,
        frequency_penalty=body.frequency_penalty,
    )


def _response_format(body: _Body) -> JsonSchemaFormat | None:
    if body.response_format is None or body.response_format.type == "text":
        return None
    return JsonSchemaFormat(schema=body.response_format.json_schema.schema)
