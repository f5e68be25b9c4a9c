"""What ``ttc mock serve`` says: answers, pieces of streams, errors, headers, as OpenAI's API has them.

https://platform.openai.com/docs/api-reference/chat; errors have the statuses that the services use.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tt_compute.errors import (
    AuthenticationError,
    BackendError,
    BackendUnavailable,
    ContextLengthError,
    ModelLoadError,
    ModelNotFound,
    OutOfMemory,
    PaymentRequired,
    RateLimitError,
    RequestRefused,
    TTComputeError,
    UnknownNameError,
    UsageError,
)
from tt_compute.types import Delta, RateLimit, Sample, TokenLogprob, Usage

__all__ = ["Body", "Refusal", "answer", "limit_headers", "models", "piece", "refusal", "usage_of"]

Body = dict[str, Any]
_CREATED = 1_790_000_000
"""The same for all, so that answers can be compared."""
_STATUSES: tuple[tuple[type[TTComputeError], int, str, str], ...] = (
    (ContextLengthError, 400, "invalid_request_error", "context_length_exceeded"),
    (UnknownNameError, 404, "invalid_request_error", "model_not_found"),
    (UsageError, 400, "invalid_request_error", "invalid_request"),
    (RateLimitError, 429, "rate_limit_error", "rate_limit_exceeded"),
    (AuthenticationError, 401, "authentication_error", "invalid_api_key"),
    (PaymentRequired, 402, "insufficient_quota", "insufficient_quota"),
    (RequestRefused, 400, "invalid_request_error", "invalid_request"),
    (ModelNotFound, 404, "invalid_request_error", "model_not_found"),
    (ModelLoadError, 503, "server_error", "model_unavailable"),
    (BackendUnavailable, 503, "server_error", "unavailable"),
    (OutOfMemory, 503, "server_error", "out_of_memory"),
    (TTComputeError, 500, "server_error", "server_error"),
)


class Refusal(NamedTuple):
    """An error as HTTP."""

    status: int
    body: Body
    headers: dict[str, str]


def refusal(error: TTComputeError) -> Refusal:
    """The status, body and headers of an error."""
    found = next(entry for entry in _STATUSES if isinstance(error, entry[0]))
    _, status, kind, code = found
    wait_s = error.retry_after_s if isinstance(error, BackendError) else None
    message = error.message if error.hint is None else f"{error.message} ({error.hint})"
    body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return Refusal(status, body, {} if wait_s is None else _come_back(wait_s))


def _come_back(wait_s: float) -> dict[str, str]:
    """Whole seconds, as RFC 9110 (10.2.3) wants them, and OpenAI's own header for the rest."""
    return {"retry-after": str(math.ceil(wait_s)), "retry-after-ms": f"{wait_s * 1000:.0f}"}


def limit_headers(limits: Sequence[RateLimit]) -> dict[str, str]:
    """What is left of the limits, as services tell it."""
    windows = {60.0: "minute", 86_400.0: "day"}
    headers: dict[str, str] = {}
    for limit in limits:
        name = f"{limit.axis}-{windows[limit.window_s]}"
        stated = (("limit", limit.limit), ("remaining", limit.remaining), ("reset", limit.reset_s))
        for part, value in stated:
            if value is not None:
                headers[f"x-ratelimit-{part}-{name}"] = f"{value:.12g}"
    return headers


def models(names: Sequence[str]) -> Body:
    """The list of models."""
    return {
        "object": "list",
        "data": [
            {"id": name, "object": "model", "created": _CREATED, "owned_by": "mock"}
            for name in names
        ],
    }


def answer(number: int, model: str, samples: Sequence[Sample]) -> Body:
    """All choices of a request, whole."""
    choices = [
        {
            "index": sample.index,
            "message": {"role": "assistant", "content": sample.text, "refusal": None},
            "logprobs": _logprobs(sample.logprobs),
            "finish_reason": sample.finish_reason,
        }
        for sample in samples
    ]
    top = _top(number, model, "chat.completion")
    usage = usage_of(samples)
    return {**top, "choices": choices} | ({} if usage is None else {"usage": usage})


def piece(number: int, model: str, said: Delta | Sample | None, **beside: Any) -> Body:
    """One event of a stream: a piece of a choice, its end, or one without a choice."""
    choices: list[Body] = []
    if isinstance(said, Delta):
        choices = [_choice(said.index, {"content": said.text}, said.logprobs, None)]
    elif isinstance(said, Sample):
        choices = [_choice(said.index, {}, (), said.finish_reason)]
    return {**_top(number, model, "chat.completion.chunk"), "choices": choices, **beside}


def usage_of(samples: Sequence[Sample]) -> Body | None:
    """Tokens of all choices; None where one of them is not counted."""
    if any(sample.usage.estimated or sample.usage == Usage() for sample in samples):
        return None
    total = sum((sample.usage for sample in samples), Usage())
    return {
        "prompt_tokens": total.input_tokens,
        "completion_tokens": total.output_tokens,
        "total_tokens": total.input_tokens + total.output_tokens,
        "prompt_tokens_details": {"cached_tokens": total.cached_tokens},
    }


def _top(number: int, model: str, kind: str) -> Body:
    return {"id": f"chatcmpl-{number:08x}", "object": kind, "created": _CREATED, "model": model}


def _choice(
    index: int, delta: Mapping[str, str], logprobs: Sequence[TokenLogprob], finish: str | None
) -> Body:
    return {
        "index": index,
        "delta": dict(delta),
        "logprobs": _logprobs(logprobs),
        "finish_reason": finish,
    }


def _logprobs(tokens: Sequence[TokenLogprob]) -> Body | None:
    if not tokens:
        return None
    return {
        "content": [
            {
                **_token(token.token, token.logprob),
                "top_logprobs": [_token(*other) for other in token.top],
            }
            for token in tokens
        ]
    }


def _token(token: str, logprob: float) -> Body:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode())}
