"""What the servers say: words by seed, or a script; JSON where a schema was asked for."""

from __future__ import annotations

import functools
import hashlib
import random
import re
from typing import Any, Literal

import msgspec

__all__ = ["Limits", "Reply", "Script", "Served", "prompt_tokens", "reply_to", "serve"]

_WORDS = [
    "the",
    "sea",
    "was",
    "calm",
    "and",
    "a",
    "keeper",
    "lit",
    "his",
    "lamp",
    "above",
    "old",
    "rocks",
    "while",
    "gulls",
    "cried",
    "over",
    "grey",
    "water",
    "he",
    "wrote",
    "down",
    "each",
    "ship",
    "that",
    "passed",
    "until",
    "morning",
    "came",
    "with",
    "wind",
    "rain",
    "bread",
    "salt",
    "and",
    "letters",
]
_SPOKEN = [f" {_WORDS[byte % len(_WORDS)]}" for byte in range(256)]
_LONG = 64
"""Tokens of a reply that nothing limits: as many as one digest has bytes."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What an account may use, held by the server: headers count down and 429 is answered at the end of it."""

    requests: int | None = None
    tokens: int | None = None
    requests_window_s: float | None = None
    """None = the service's own: a day at Groq and Cerebras, a minute elsewhere."""
    tokens_window_s: float = 60.0


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """How a server answers; the same for the same seed and number of a request.

    A token is a word with the white space before it.
    """

    texts: tuple[str, ...] = ()
    """Empty = words drawn by the request's own seed, or else by its number."""
    pick: Literal["turn", "seeded"] = "turn"
    """Whether the texts come in turn or are drawn, for each choice of each request."""
    seed: int = 0
    reasoning: str = ""
    tool_calls: tuple[tuple[str, str], ...] = ()
    """Name and arguments of each."""
    finish_reason: str | None = None
    """None = stop, length or tool_calls, as it comes."""
    before_head_s: float = 0.0
    per_token_s: float = 0.0
    cached_share: float = 0.0
    """Part of the prompt that is said to come from the cache."""
    queue_s: float | None = 0.001
    """Groq's may be null."""
    limits: Limits | None = None
    headers: dict[str, str] = {}
    """More headers of every answer."""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """One sample, whole."""

    tokens: tuple[str, ...]
    reasoning: tuple[str, ...] = ()
    tool_calls: tuple[tuple[str, str], ...] = ()
    finish_reason: str = "stop"

    @property
    def text(self) -> str:
        return "".join(self.tokens)

    @property
    def count(self) -> int:
        """Completion tokens that are billed."""
        return len(self.tokens) + len(self.reasoning) + 8 * len(self.tool_calls)


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """A request with all that is said to it: what a service's shape is put around."""

    number: int
    body: dict[str, Any]
    replies: tuple[Reply, ...]
    prompt_tokens: int
    cached_tokens: int = 0
    queue_s: float | None = 0.001

    @property
    def count(self) -> int:
        return sum(reply.count for reply in self.replies)


def serve(body: dict[str, Any], script: Script, number: int) -> Served:
    """All the choices of one request."""
    prompt = prompt_tokens(body)
    return Served(
        number=number,
        body=body,
        replies=tuple(
            reply_to(body, script, number, choice) for choice in range(int(body.get("n") or 1))
        ),
        prompt_tokens=prompt,
        cached_tokens=int(prompt * script.cached_share),
        queue_s=script.queue_s,
    )


def prompt_tokens(body: dict[str, Any]) -> int:
    """A word is a token, and a message costs four more."""
    messages = body["messages"]
    return 4 * len(messages) + sum(
        len(str(message.get("content", "")).split()) for message in messages
    )


def reply_to(body: dict[str, Any], script: Script, number: int, choice: int) -> Reply:
    """What sample ``choice`` of request ``number`` says."""
    limit = body.get("max_completion_tokens", body.get("max_tokens"))
    reasoning = _split(script.reasoning)
    tokens = _tokens(body, script, number, choice)
    if body.get("stop"):
        tokens = tuple(_stop(tokens, body["stop"]))
    finish = "stop"
    if limit is not None and len(reasoning) + len(tokens) > limit:
        finish, reasoning = "length", reasoning[:limit]
        tokens = tokens[: limit - len(reasoning)]
    if script.tool_calls:
        finish = "tool_calls"
    return Reply(
        tokens=tokens,
        reasoning=reasoning,
        tool_calls=script.tool_calls,
        finish_reason=script.finish_reason or finish,
    )


def _tokens(body: dict[str, Any], script: Script, number: int, choice: int) -> tuple[str, ...]:
    if script.tool_calls:
        return ()
    if script.texts:
        return _split(script.texts[_which(script, number, choice)])
    wanted: dict[str, Any] = body.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        document = _document(wanted["json_schema"]["schema"])
        return _split(msgspec.json.encode(document).decode())
    last = body["messages"][-1]
    seed = body.get("seed", f"{script.seed}/{number}")
    key = f"{seed}:{choice}:{last.get('content')}"
    spoken = [_SPOKEN[byte] for byte in hashlib.blake2b(key.encode(), digest_size=_LONG).digest()]
    if last.get("role") != "assistant":
        spoken[0] = spoken[0].lstrip()
    return tuple(spoken)


def _which(script: Script, number: int, choice: int) -> int:
    if script.pick == "turn":
        return number % len(script.texts)
    return random.Random(f"{script.seed}:{number}:{choice}").randrange(len(script.texts))


@functools.lru_cache(maxsize=256)
def _split(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\s*\S+|\s+", text))


def _stop(tokens: tuple[str, ...], stops: Any) -> list[str]:
    text = "".join(tokens)
    ends = [text.find(stop) for stop in ([stops] if isinstance(stops, str) else stops)]
    end = min((at for at in ends if at >= 0), default=len(text))
    kept: list[str] = []
    for token in tokens:
        if end <= 0:
            break
        kept.append(token[:end])
        end -= len(token)
    return kept


def _document(schema: dict[str, Any]) -> Any:
    """The simplest document that satisfies a simple schema."""
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type")
    if kind == "object" or "properties" in schema:
        return {name: _document(part) for name, part in schema.get("properties", {}).items()}
    simple: dict[str, Any] = {
        "integer": 42,
        "number": 4.2,
        "boolean": True,
        "array": [],
        "null": None,
    }
    return simple.get(str(kind), "word")
