"""Servers that speak OpenAI's wire; reasoning is where vLLM and DeepSeek have it."""

from __future__ import annotations

from typing import ClassVar

from ttc_servers.shapes import Body, Refusal, Shape

__all__ = ["OpenAI"]


class OpenAI(Shape, frozen=True, kw_only=True):
    """Nothing beside the common fields."""

    name: ClassVar[str] = "openai"
    base: ClassVar[str] = "/v1"
    reasoning_field: ClassVar[str] = "reasoning_content"
    refusals: ClassVar[dict[int, Refusal]] = {
        400: Refusal("bad request", "invalid_request_error"),
        401: Refusal("Incorrect API key provided", "invalid_request_error", "invalid_api_key"),
        404: Refusal("Invalid URL", "invalid_request_error"),
        429: Refusal("Rate limit reached", "requests", "rate_limit_exceeded"),
        500: Refusal("The server had an error processing your request", "server_error"),
        503: Refusal("The engine is currently overloaded", "server_error"),
    }

    def wrapped(self, refusal: Refusal) -> Body:
        return {
            "error": {
                "message": refusal.message,
                "type": refusal.type,
                "param": refusal.param,
                "code": refusal.code,
            }
        }
