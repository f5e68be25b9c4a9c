"""The shapes of each service: answers, streams, errors, headers, as their SDKs' types have them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from ttc_servers.model import Reply, Script

__all__ = ["SHAPES", "Shape"]

Body = dict[str, Any]
Name = Literal["groq", "cerebras", "openai"]
_TOKEN_S = 0.002
"""What a server says a token took it."""


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """One service."""

    name: Name
    base: str
    """Path before ``/chat/completions``."""
    reasoning_field: str
    max_n: int | None
    refused: tuple[str, ...]
    """Parameters that are answered with 400."""
    limit_headers: tuple[str, str]
    """Suffixes of the limits of requests and tokens."""

    # --- whole answers ---------------------------------------------------------------------------

    def answer(
        self, body: Body, replies: list[Reply], script: Script, number: int, prompt: int
    ) -> Body:
        made: Body = {
            **self._top(body, number, "chat.completion"),
            "choices": [
                self._choice(at, reply, "message", self._message(reply), body, reply.tokens)
                | {"finish_reason": reply.finish_reason}
                for at, reply in enumerate(replies)
            ],
            "usage": self._usage(replies, script, prompt),
        }
        if self.name == "cerebras":
            made["time_info"] = self._times(replies, script, prompt)
        if self.name == "groq":
            made["x_groq"] = {"id": f"req_{number:08x}", "seed": body.get("seed")}
        return made

    def _message(self, reply: Reply) -> Body:
        made: Body = {"role": "assistant", "content": reply.text}
        if reply.reasoning:
            made[self.reasoning_field] = "".join(reply.reasoning)
        if reply.tool_calls:
            made["content"] = None
            made["tool_calls"] = [
                _call(at, name, arguments) for at, (name, arguments) in enumerate(reply.tool_calls)
            ]
        return made

    # --- streams ---------------------------------------------------------------------------------

    def chunks(
        self, body: Body, replies: list[Reply], script: Script, number: int, prompt: int
    ) -> Iterator[tuple[Body, int]]:
        """Each event with the number of tokens that it carries."""
        top = self._top(body, number, "chat.completion.chunk")
        named: Body = {"x_groq": {"id": f"req_{number:08x}"}} if self.name == "groq" else {}
        for at, reply in enumerate(replies):
            first = self._choice(at, reply, "delta", {"role": "assistant", "content": ""}, body, ())
            yield {**top, **named, "choices": [first]}, 0
        for at, reply in enumerate(replies):
            for piece, tokens, cost in _pieces(reply, self.reasoning_field):
                choice = self._choice(at, reply, "delta", piece, body, tokens)
                yield {**top, "choices": [choice]}, cost
        stream_options: Body = body.get("stream_options") or {}
        wants_usage = bool(stream_options.get("include_usage"))
        for at, reply in enumerate(replies):
            last = self._choice(at, reply, "delta", {}, body, ()) | {
                "finish_reason": reply.finish_reason
            }
            final = at == len(replies) - 1
            yield (
                {
                    **top,
                    **(self._final(replies, script, number, prompt) if final else {}),
                    "choices": [last],
                },
                0,
            )
        if wants_usage and self.name != "cerebras":
            yield {**top, "choices": [], "usage": self._usage(replies, script, prompt)}, 0

    def _final(self, replies: list[Reply], script: Script, number: int, prompt: int) -> Body:
        usage = self._usage(replies, script, prompt)
        if self.name == "groq":
            return {"x_groq": {"id": f"req_{number:08x}", "usage": usage}}
        if self.name == "cerebras":
            return {"usage": usage, "time_info": self._times(replies, script, prompt)}
        return {}

    # --- errors and headers ----------------------------------------------------------------------

    def error(self, status: int, message: str, code: str) -> Body:
        kind = "tokens" if status == 429 else "invalid_request_error"
        if self.name == "cerebras":
            return {
                "message": message,
                "type": kind,
                "param": "",
                "code": code,
                "status_code": status,
            }
        return {"error": {"message": message, "type": kind, "code": code}}

    def limits(self, requests_left: int, tokens_left: int) -> dict[str, str]:
        requests, tokens = self.limit_headers
        first, second = (
            ("2m59.56s", "7.66s") if self.name != "cerebras" else ("33011.382867097855", "0.5")
        )
        return {
            f"x-ratelimit-limit-{requests}": "14400",
            f"x-ratelimit-remaining-{requests}": str(requests_left),
            f"x-ratelimit-reset-{requests}": first,
            f"x-ratelimit-limit-{tokens}": "250000",
            f"x-ratelimit-remaining-{tokens}": str(tokens_left),
            f"x-ratelimit-reset-{tokens}": second,
        }

    # --- parts -----------------------------------------------------------------------------------

    def _top(self, body: Body, number: int, kind: str) -> Body:
        return {
            "id": f"chatcmpl-{number:08x}",
            "object": kind,
            "created": 1_790_000_000,
            "model": body["model"],
            "system_fingerprint": "fp_local",
        }

    def _choice(
        self, at: int, reply: Reply, field: str, value: Body, body: Body, tokens: tuple[str, ...]
    ) -> Body:
        made: Body = {"index": at, field: value, "finish_reason": None}
        if body.get("logprobs") and tokens and not reply.tool_calls:
            made["logprobs"] = {
                "content": [_logprob(token, body.get("top_logprobs", 0)) for token in tokens]
            }
        return made

    def _usage(self, replies: list[Reply], script: Script, prompt: int) -> Body:
        made = sum(reply.count for reply in replies)
        thought = sum(len(reply.reasoning) for reply in replies)
        usage: Body = {
            "prompt_tokens": prompt,
            "completion_tokens": made,
            "total_tokens": prompt + made,
            "prompt_tokens_details": {"cached_tokens": int(prompt * script.cached_share)},
            "completion_tokens_details": {"reasoning_tokens": thought},
        }
        if self.name == "groq":
            usage |= self._times(replies, script, prompt)
        return usage

    def _times(self, replies: list[Reply], script: Script, prompt: int) -> Body:
        took = sum(reply.count for reply in replies) * _TOKEN_S
        return {
            "queue_time": script.queue_s,
            "prompt_time": prompt * _TOKEN_S / 10,
            "completion_time": took,
            "total_time": took + prompt * _TOKEN_S / 10,
        }


def _pieces(reply: Reply, reasoning_field: str) -> Iterator[tuple[Body, tuple[str, ...], int]]:
    for token in reply.reasoning:
        yield {reasoning_field: token}, (), 1
    for at, (name, arguments) in enumerate(reply.tool_calls):
        whole = _call(at, name, "")
        yield {"tool_calls": [whole]}, (), 4
        for half in (arguments[: len(arguments) // 2], arguments[len(arguments) // 2 :]):
            yield {"tool_calls": [{"index": at, "function": {"arguments": half}}]}, (), 2
    if not reply.tool_calls:
        for token in reply.tokens:
            yield {"content": token}, (token,), 1


def _call(at: int, name: str, arguments: str) -> Body:
    function = {"name": name, "arguments": arguments}
    return {"index": at, "id": f"call_{at}", "type": "function", "function": function}


def _logprob(token: str, top: int) -> Body:
    logprob = -0.05 - len(token) / 100
    others = [{"token": token, "logprob": logprob, "bytes": None}]
    others += [
        {"token": f"{token}{k}", "logprob": logprob - k, "bytes": None} for k in range(1, top)
    ]
    return {"token": token, "logprob": logprob, "bytes": None, "top_logprobs": others[:top]}


SHAPES = {
    "groq": Shape(
        name="groq",
        base="/openai/v1",
        reasoning_field="reasoning",
        max_n=1,
        refused=("logprobs", "top_logprobs", "logit_bias", "top_k"),
        limit_headers=("requests", "tokens"),
    ),
    "cerebras": Shape(
        name="cerebras",
        base="/v1",
        reasoning_field="reasoning",
        max_n=None,
        refused=("top_k",),
        limit_headers=("requests-day", "tokens-minute"),
    ),
    "openai": Shape(
        name="openai",
        base="/v1",
        reasoning_field="reasoning_content",
        max_n=None,
        refused=(),
        limit_headers=("requests", "tokens"),
    ),
}
