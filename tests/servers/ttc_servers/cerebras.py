"""Cerebras: cerebras-cloud-sdk 1.91.0's types; errors and headers as users quote them.

Error bodies stand bare, without an ``error`` around them: nminaya/grammar-nazi-bot issues 958 (429) and 967 (402).
"""

from __future__ import annotations

from typing import ClassVar

from ttc_servers.script import Served
from ttc_servers.shapes import CREATED, Body, Refusal, Shape, logprobs_of, timing

__all__ = ["Cerebras"]


class Cerebras(Shape, frozen=True, kw_only=True):
    """Timing in ``time_info``, beside ``usage``, on the last event that ends a choice."""

    name: ClassVar[str] = "cerebras"
    base: ClassVar[str] = "/v1"
    public: ClassVar[str] = "/public/v1/models"
    refused: ClassVar[frozenset[str]] = frozenset({"top_k"})
    windows: ClassVar[tuple[str, str]] = ("requests-day", "tokens-minute")
    requests_window_s: ClassVar[float] = 86_400.0
    in_each_piece: ClassVar[Body] = {"type": "function"}
    """Its SDK cannot make a piece without it."""
    reserved_tokens: ClassVar[int] = 16_384
    """Also the most that is ever taken for one answer: dcdpr/jp pull request 1085."""
    refusals: ClassVar[dict[int, Refusal]] = {
        # 402 and 429 are quoted; the codes of the others are not known for certain.
        400: Refusal(
            "bad request", "invalid_request_error", "wrong_api_format", "validation_error"
        ),
        401: Refusal("Wrong API Key", "invalid_request_error", "wrong_api_key", "api_key"),
        402: Refusal(
            "Payment required to access this resource. Visit your billing tab.",
            "payment_required_error",
            "payment_required",
            "quota",
        ),
        404: Refusal("no such path", "not_found_error", "not_found", "path"),
        429: Refusal(
            "Requests per minute limit exceeded - too many requests sent.",
            "too_many_requests_error",
            "request_quota_exceeded",
            "quota",
        ),
        500: Refusal("Internal server error", "server_error", "internal_server_error", ""),
        503: Refusal("Service unavailable", "server_error", "service_unavailable", ""),
    }

    def beside_answer(self, served: Served) -> Body:
        return {"time_info": timing(served) | {"created": float(CREATED)}}

    def beside_last(self, served: Served) -> Body:
        return {"usage": self.usage(served), **self.beside_answer(served)}

    def has_usage_chunk(self, body: Body) -> bool:
        del body
        return False

    def logprobs(self, tokens: tuple[str, ...], thoughts: tuple[str, ...], body: Body) -> Body:
        made: Body = {"logprobs": logprobs_of(tokens, body)}
        if thoughts:
            made["reasoning_logprobs"] = logprobs_of(thoughts, body)
        return made

    def wrapped(self, refusal: Refusal) -> Body:
        return {
            "message": refusal.message,
            "type": refusal.type,
            "param": refusal.param or "",
            "code": refusal.code,
        }

    def error_event(self, status: int, message: str) -> Body:
        """As the SDK's ``ErrorChunkResponse`` has it."""
        return {"error": self.refusal(status, message), "status_code": status}

    def over_limit(self, which: str, wait_s: float) -> Refusal:
        del wait_s
        if which == "requests":
            return self.refusals[429]
        message = "Tokens per minute limit exceeded - too many tokens processed."
        return Refusal(message, "too_many_tokens_error", "token_quota_exceeded", "quota")

    def duration(self, seconds: float) -> str:
        return repr(float(seconds))

    def public_model(self, name: str) -> Body:
        """As the SDK's ``PublicModel`` has it: prices are text, USD per token."""
        return Shape.model(self, name) | {
            "name": name,
            "description": "",
            "architecture": {"modality": "text", "tokenizer": "Other", "instruct_type": None},
            "capabilities": {"streaming": True, "reasoning": True, "tools": True, "vision": False},
            "limits": {
                "max_context_length": 131_072,
                "max_completion_tokens": 40_960,
                "requests_per_minute": 1000,
                "tokens_per_minute": 1_000_000,
            },
            "pricing": {"prompt": "0.00000035", "completion": "0.00000075"},
            "supported_parameters": {"temperature": True, "top_p": True, "seed": True},
            "datacenter_locations": ["US"],
            "hugging_face_id": None,
            "quantization": "FP16",
            "deprecated": False,
            "preview": False,
        }
