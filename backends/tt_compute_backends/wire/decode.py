"""The bytes of an answer as values: one set of structs for every service of this wire."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from tt_compute.errors import ServerError
from tt_compute.types import TokenLogprob, Usage

__all__ = ["Answer", "Choice", "Piece", "XGroq", "decode_answer", "token_logprobs", "usage_of"]

_Text = str | list[dict[str, Any]] | None
"""Some servers send the content in parts."""


class CallPiece(msgspec.Struct, frozen=True, gc=False):
    """Of a call of a tool: whole in an answer, in pieces in a stream."""

    class Function(msgspec.Struct, frozen=True, gc=False):
        name: str | None = None
        arguments: str | None = None

    index: int | None = None
    """In a stream; a whole answer has its calls in order and no index."""
    id: str | None = None
    function: Function = Function()


class Piece(msgspec.Struct, frozen=True, gc=False):
    """A whole message, or the next piece of one."""

    content: _Text = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    """The same from vLLM, SGLang, llama.cpp and DeepSeek."""
    tool_calls: list[CallPiece] | None = None
    refusal: str | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, str):
            return self.content
        parts = (
            str(part.get("text", "")) for part in self.content or () if part.get("type") == "text"
        )
        return "".join(parts) or self.refusal or ""

    @property
    def thought(self) -> str:
        return self.reasoning or self.reasoning_content or ""


class _Alternative(msgspec.Struct, frozen=True, gc=False):
    token: str
    logprob: float


class _Logprob(msgspec.Struct, frozen=True, gc=False):
    token: str
    logprob: float
    top_logprobs: list[_Alternative] | None = None


class _Logprobs(msgspec.Struct, frozen=True, gc=False):
    content: list[_Logprob] | None = None


class Choice(msgspec.Struct, frozen=True, gc=False):
    """One sample of an answer, or the next piece of it."""

    index: int = 0
    message: Piece | None = None
    delta: Piece | None = None
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _PromptDetails(msgspec.Struct, frozen=True, gc=False):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct, frozen=True, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None
    prompt_cache_hit_tokens: int | None = None
    """The cached ones as DeepSeek counts them."""
    queue_time: float | None = None
    prompt_time: float | None = None
    completion_time: float | None = None


class _TimeInfo(msgspec.Struct, frozen=True, gc=False):
    queue_time: float | None = None
    prompt_time: float | None = None
    completion_time: float | None = None


class XGroq(msgspec.Struct, frozen=True, gc=False):
    """What Groq alone says."""

    id: str | None = None
    usage: _Usage | None = None
    error: str | None = None


class Answer(msgspec.Struct, frozen=True, gc=False):
    """A whole answer, or one event of a stream."""

    id: str | None = None
    choices: list[Choice] | None = None
    usage: _Usage | None = None
    x_groq: XGroq | None = None
    time_info: _TimeInfo | None = None
    error: Any = None
    status_code: int | None = None
    """Of an error in a stream, beside it (Cerebras)."""

    @property
    def counts(self) -> _Usage | None:
        """Tokens, from wherever this service puts them; Groq's ``x_groq.usage`` may hold timing alone."""
        if self.usage is not None and self.usage.completion_tokens is not None:
            return self.usage
        extra = None if self.x_groq is None else self.x_groq.usage
        return extra if extra is not None and extra.completion_tokens is not None else self.usage

    @property
    def times(self) -> _Usage | _TimeInfo | None:
        """The service's own seconds, from wherever it puts them."""
        if self.time_info is not None:
            return self.time_info
        for usage in (self.usage, None if self.x_groq is None else self.x_groq.usage):
            if usage is not None and usage.completion_time is not None:
                return usage
        return None

    @property
    def request_id(self) -> str | None:
        return self.x_groq.id if self.x_groq is not None and self.x_groq.id else self.id


_DECODER: Final = msgspec.json.Decoder(Answer)


def decode_answer(data: bytes) -> Answer:
    """One JSON document of the wire.

    Raises:
        ServerError: It is none, or a field has the wrong type; the message shows where, not the document.
    """
    try:
        return _DECODER.decode(data)
    except msgspec.ValidationError as error:
        raise ServerError(f"the answer is not of the expected shape: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        kind = "HTML" if data.lstrip()[:1] == b"<" else "no JSON"
        raise ServerError(
            f"the answer is {kind} ({len(data)} bytes): {error}",
            hint="check endpoint.base_url of the deployment",
        ) from error


def token_logprobs(choice: Choice) -> tuple[TokenLogprob, ...]:
    if choice.logprobs is None or not choice.logprobs.content:
        return ()
    return tuple(
        TokenLogprob(
            token=one.token,
            logprob=one.logprob,
            top=tuple((other.token, other.logprob) for other in one.top_logprobs or ()),
        )
        for one in choice.logprobs.content
    )


def usage_of(answer: Answer) -> Usage | None:
    """None when the answer does not say what it took."""
    counts = answer.counts
    if counts is None or counts.completion_tokens is None:
        return None
    details = counts.prompt_tokens_details
    cached = counts.prompt_cache_hit_tokens if details is None else details.cached_tokens
    prompt = counts.prompt_tokens or 0
    return Usage(
        input_tokens=prompt,
        cached_tokens=min(cached or 0, prompt),
        output_tokens=counts.completion_tokens,
    )
