"""What every chat-completions service has in common: answers, streams, errors and headers around what is served.

The services' own files say where each differs. Field places are those of the SDKs' types; texts of errors are those
that users quote. What stands on neither is marked so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import msgspec

from ttc_servers.script import Reply, Served

__all__ = ["CREATED", "Body", "Refusal", "Shape", "State", "go_duration", "logprobs_of", "timing"]

Body = dict[str, Any]
TOKEN_S = 0.002
"""What a server says a token took it."""
CREATED = 1_790_000_000


class Refusal(msgspec.Struct, frozen=True):
    """What an error says of itself."""

    message: str
    type: str
    code: str | None = None
    param: str | None = None


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Of one limit of the account."""

    limit: int
    remaining: int
    reset_s: float


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """One service."""

    name: ClassVar[str]
    base: ClassVar[str]
    """Path before ``/chat/completions``."""
    reasoning_field: ClassVar[str] = "reasoning"
    max_n: ClassVar[int | None] = None
    refused: ClassVar[frozenset[str]] = frozenset()
    """Parameters that are answered with 400."""
    known: ClassVar[frozenset[str] | None] = None
    """All that it takes; None = it ignores what it does not know."""
    windows: ClassVar[tuple[str, str]] = ("requests", "tokens")
    """How its headers name the limits of requests and of tokens."""
    requests_window_s: ClassVar[float] = 60.0
    reserved_tokens: ClassVar[int] = 0
    """Taken from the limit for an answer whose length the request does not limit."""
    counts_cached: ClassVar[bool] = True
    """Whether tokens of the prompt that come from its cache count to the limit."""
    too_large_status: ClassVar[int] = 429
    """Of a request that no waiting would let through."""
    in_each_piece: ClassVar[Body] = {}
    """What a further piece of a call has besides its index and its arguments."""
    refusals: ClassVar[dict[int, Refusal]] = {}
    public: ClassVar[str] = ""
    """Path of a list of models that takes no key and has the figures; empty = it has none."""
    open_lists: ClassVar[bool] = False
    """Whether its list of models is answered without a key."""

    # --- whole answers ---------------------------------------------------------------------------

    def answer(self, served: Served) -> Body:
        return {
            **self._top(served, "chat.completion"),
            "choices": [
                self._choice(at, reply, served.body) for at, reply in enumerate(served.replies)
            ],
            "usage": self.usage(served),
            **self.beside_answer(served),
        }

    def beside_answer(self, served: Served) -> Body:
        """What the service puts at the top of an answer besides."""
        del served
        return {}

    def usage(self, served: Served) -> Body:
        thought = sum(len(reply.reasoning) for reply in served.replies)
        return {
            "prompt_tokens": served.prompt_tokens,
            "completion_tokens": served.count,
            "total_tokens": served.prompt_tokens + served.count,
            "prompt_tokens_details": {"cached_tokens": served.cached_tokens},
            "completion_tokens_details": {"reasoning_tokens": thought},
        }

    def logprobs(self, tokens: tuple[str, ...], thoughts: tuple[str, ...], body: Body) -> Body:
        """The fields of a choice that hold them."""
        del thoughts
        return {"logprobs": logprobs_of(tokens, body)}

    def _choice(self, at: int, reply: Reply, body: Body) -> Body:
        return {
            "index": at,
            "message": self._message(reply),
            **self.logprobs(reply.tokens, reply.reasoning, body),
            "finish_reason": reply.finish_reason,
        }

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

    def chunks(self, served: Served) -> Iterator[tuple[Body, int]]:
        """Each event with the number of tokens that it carries."""
        top = self._top(served, "chat.completion.chunk")
        for at in range(len(served.replies)):
            first = self._delta(at, {"role": "assistant", "content": ""})
            yield {**top, "choices": [first], **self.beside_first(served)}, 0
        for at, reply in enumerate(served.replies):
            for delta, tokens, thoughts, cost in self._pieces(reply):
                said = self.logprobs(tokens, thoughts, served.body)
                yield {**top, "choices": [self._delta(at, delta) | said]}, cost
        last_at = len(served.replies) - 1
        for at, reply in enumerate(served.replies):
            last = self._delta(at, {}) | {"finish_reason": reply.finish_reason}
            beside = self.beside_last(served) if at == last_at else {}
            yield {**top, "choices": [last], **beside}, 0
        if self.has_usage_chunk(served.body):
            yield {**top, "choices": [], "usage": self.usage(served)}, 0

    def beside_first(self, served: Served) -> Body:
        """What the service puts at the top of the first event of each choice."""
        del served
        return {}

    def beside_last(self, served: Served) -> Body:
        """What it puts at the top of the event that ends the last choice."""
        del served
        return {}

    def has_usage_chunk(self, body: Body) -> bool:
        """Whether an event without choices comes after all others."""
        options: Body = body.get("stream_options") or {}
        return bool(options.get("include_usage"))

    def _delta(self, at: int, delta: Body) -> Body:
        return {"index": at, "delta": delta, "logprobs": None, "finish_reason": None}

    def _pieces(self, reply: Reply) -> Iterator[tuple[Body, tuple[str, ...], tuple[str, ...], int]]:
        """Each delta with its tokens of text, those of reasoning, and how many are billed."""
        for token in reply.reasoning:
            yield {self.reasoning_field: token}, (), (token,), 1
        for at, (name, arguments) in enumerate(reply.tool_calls):
            yield {"tool_calls": [_call(at, name, "") | {"index": at}]}, (), (), 4
            middle = len(arguments) // 2
            for half in (arguments[:middle], arguments[middle:]):
                piece = {"index": at, "function": {"arguments": half}}
                yield {"tool_calls": [piece | self.in_each_piece]}, (), (), 2
        for token in reply.tokens:
            yield {"content": token}, (token,), (), 1

    def _top(self, served: Served, kind: str) -> Body:
        return {
            "id": f"chatcmpl-{served.number:08x}",
            "object": kind,
            "created": CREATED,
            "model": served.body["model"],
            "system_fingerprint": "fp_local",
        }

    # --- errors, headers, models -----------------------------------------------------------------

    def refusal(self, status: int, message: str | None = None) -> Body:
        """The body of an error, in the service's own words unless others are given."""
        found = self.refusals.get(status) or Refusal(f"error {status}", "server_error")
        return self.wrapped(
            found if message is None else msgspec.structs.replace(found, message=message)
        )

    def error_event(self, status: int, message: str) -> Body:
        """An event of a stream that gave up."""
        return self.refusal(status, message)

    def wrapped(self, refusal: Refusal) -> Body:
        error: Body = {"message": refusal.message, "type": refusal.type}
        return {"error": error if refusal.code is None else error | {"code": refusal.code}}

    def over_limit(self, which: str, wait_s: float) -> Refusal:
        """Of a 429; ``which`` is requests or tokens."""
        message = f"Rate limit reached on {which}. Please try again in {self.duration(wait_s)}."
        return Refusal(message, which, "rate_limit_exceeded")

    def duration(self, seconds: float) -> str:
        """As the service's headers write one: as Go does, unless it has its own way."""
        return go_duration(seconds)

    def limits(self, requests: State, tokens: State) -> dict[str, str]:
        return {
            f"x-ratelimit-{what}-{name}": value
            for name, state in zip(self.windows, (requests, tokens), strict=True)
            for what, value in (
                ("limit", str(state.limit)),
                ("remaining", str(state.remaining)),
                ("reset", self.duration(state.reset_s)),
            )
        }

    def model(self, name: str) -> Body:
        """One of the list of models."""
        return {"id": name, "object": "model", "created": CREATED, "owned_by": "local"}

    def public_model(self, name: str) -> Body:
        """One of the public list."""
        return self.model(name)


def timing(served: Served) -> Body:
    """Seconds; the total leaves out the queue."""
    prompt_s, took_s = served.prompt_tokens * TOKEN_S / 10, served.count * TOKEN_S
    return {
        "queue_time": served.queue_s,
        "prompt_time": prompt_s,
        "completion_time": took_s,
        "total_time": prompt_s + took_s,
    }


def go_duration(seconds: float) -> str:
    """As Go's ``time.Duration`` prints: 577.5ms, 7.66s, 2m59.56s, 1h2m3s."""
    if seconds < 1:
        return f"{seconds * 1000:.6g}ms" if seconds > 0 else "0s"
    minutes, rest = divmod(round(seconds, 6), 60)
    hours, minutes = divmod(int(minutes), 60)
    shown = f"{rest:.9g}s"
    if hours:
        return f"{hours}h{minutes}m{shown}"
    return f"{minutes}m{shown}" if minutes else shown


def _call(at: int, name: str, arguments: str) -> Body:
    function = {"name": name, "arguments": arguments}
    return {"id": f"call_{at}", "type": "function", "function": function}


def logprobs_of(tokens: tuple[str, ...], body: Body) -> Body | None:
    if not body.get("logprobs") or not tokens:
        return None
    return {"content": [_logprob(token, body.get("top_logprobs") or 0) for token in tokens]}


def _logprob(token: str, top: int) -> Body:
    logprob = -0.05 - len(token) / 100
    others = [_one(token, logprob)]
    others += [_one(f"{token}{k}", logprob - k) for k in range(1, top)]
    return _one(token, logprob) | {"top_logprobs": others[:top]}


def _one(token: str, logprob: float) -> Body:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode())}
