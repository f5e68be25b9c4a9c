"""Groq: groq 1.7.0's types, console.groq.com/docs, and errors as users quote them."""

from __future__ import annotations

from typing import ClassVar

from ttc_servers.script import Served
from ttc_servers.shapes import Body, Refusal, Shape, go_duration, timing

__all__ = ["Groq"]


class Groq(Shape, frozen=True, kw_only=True):
    """Timing inside ``usage``, and what is its own under ``x_groq``."""

    name: ClassVar[str] = "groq"
    base: ClassVar[str] = "/openai/v1"
    max_n: ClassVar[int | None] = 1
    refused: ClassVar[frozenset[str]] = frozenset({"logprobs", "top_logprobs", "logit_bias"})
    known: ClassVar[frozenset[str] | None] = frozenset(
        [
            "citation_options",
            "compound_custom",
            "disable_tool_validation",
            "documents",
            "exclude_domains",
            "frequency_penalty",
            "function_call",
            "functions",
            "include_domains",
            "include_reasoning",
            "logit_bias",
            "logprobs",
            "max_completion_tokens",
            "max_tokens",
            "messages",
            "metadata",
            "model",
            "n",
            "parallel_tool_calls",
            "presence_penalty",
            "reasoning_effort",
            "reasoning_format",
            "response_format",
            "search_settings",
            "seed",
            "service_tier",
            "stop",
            "store",
            "stream",
            "stream_options",
            "temperature",
            "tool_choice",
            "tools",
            "top_logprobs",
            "top_p",
            "user",
        ]
    )
    """The SDK's parameters, and ``stream_options``, which it lacks and the service takes."""
    requests_window_s: ClassVar[float] = 86_400.0
    counts_cached: ClassVar[bool] = False
    too_large_status: ClassVar[int] = 413
    refusals: ClassVar[dict[int, Refusal]] = {
        400: Refusal("bad request", "invalid_request_error"),
        401: Refusal("Invalid API Key", "invalid_request_error", "invalid_api_key"),
        404: Refusal("Unknown request URL", "invalid_request_error", "unknown_url"),
        413: Refusal("Request too large", "tokens", "rate_limit_exceeded"),
        429: Refusal("Rate limit reached", "tokens", "rate_limit_exceeded"),
        # The code is documented, the rest of this body is a guess.
        498: Refusal(
            "Flex tier capacity exceeded", "flex_tier_capacity_exceeded", "capacity_exceeded"
        ),
        500: Refusal("Internal Server Error", "internal_server_error"),
        503: Refusal("Service Unavailable", "internal_server_error"),
    }

    def beside_answer(self, served: Served) -> Body:
        return {"x_groq": {"id": _request_id(served), "seed": served.body.get("seed")}}

    def usage(self, served: Served) -> Body:
        return Shape.usage(self, served) | timing(served)

    def beside_first(self, served: Served) -> Body:
        return {"x_groq": {"id": _request_id(served)}}

    def beside_last(self, served: Served) -> Body:
        return {"x_groq": {"id": _request_id(served), "usage": self.usage(served)}}

    def over_limit(self, which: str, wait_s: float) -> Refusal:
        per = "tokens per minute (TPM)" if which == "tokens" else "requests per day (RPD)"
        message = (
            f"Rate limit reached for model `model-a` in organization `org_local` service tier `on_demand` "
            f"on {per}. Please try again in {go_duration(wait_s)}."
        )
        return Refusal(message, which, "rate_limit_exceeded")

    def model(self, name: str) -> Body:
        more = {"active": True, "context_window": 131_072, "max_completion_tokens": 65_536}
        return Shape.model(self, name) | more | {"public_apps": None}


def _request_id(served: Served) -> str:
    return f"req_{served.number:08x}"
