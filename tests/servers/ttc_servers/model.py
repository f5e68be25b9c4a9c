"""What the servers say: words by seed, or a script; JSON where a schema was asked for."""

from __future__ import annotations

import random
from typing import Any

import msgspec

__all__ = ["Reply", "Script", "reply_to"]

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
_LONG = 64
"""Tokens of a reply that nothing limits."""


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """How a server answers.

    A token is a word with the blank before it.
    """

    texts: tuple[str, ...] = ()
    """Answered in turn; empty = words drawn by the request's seed."""
    reasoning: str = ""
    tool_calls: tuple[tuple[str, str], ...] = ()
    """Name and arguments of each."""
    before_head_s: float = 0.0
    per_token_s: float = 0.0
    cached_share: float = 0.0
    """Part of the prompt that is said to come from the cache."""
    queue_s: float = 0.001
    headers: dict[str, str] = {}
    """More headers of every answer."""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """One sample, whole."""

    tokens: tuple[str, ...]
    reasoning: tuple[str, ...]
    tool_calls: tuple[tuple[str, str], ...]
    finish_reason: str

    @property
    def text(self) -> str:
        return "".join(self.tokens)

    @property
    def count(self) -> int:
        """Completion tokens that are billed."""
        return len(self.tokens) + len(self.reasoning) + 8 * len(self.tool_calls)


def reply_to(body: dict[str, Any], script: Script, number: int, choice: int) -> Reply:
    """What sample ``choice`` of request ``number`` says."""
    wanted: dict[str, Any] = body.get("response_format") or {}
    if script.texts:
        tokens = _split(script.texts[number % len(script.texts)])
    elif wanted.get("type") == "json_schema":
        document = _document(wanted["json_schema"]["schema"])
        tokens = _split(msgspec.json.encode(document).decode())
    else:
        seed = body.get("seed", number)
        rng = random.Random(f"{seed}:{choice}:{body['messages'][-1]['content']}")
        tokens = [f" {rng.choice(_WORDS)}" for _ in range(_LONG)]
        if body["messages"][-1]["role"] != "assistant":
            tokens[0] = tokens[0].lstrip()
    reasoning = _split(script.reasoning)
    limit = body.get("max_completion_tokens", body.get("max_tokens"))
    cut = _stop(tokens, body.get("stop"))
    finish = "stop"
    if limit is not None and len(reasoning) + len(cut) > limit:
        finish, cut = "length", cut[: max(0, limit - len(reasoning))]
    if script.tool_calls:
        finish = "tool_calls"
    return Reply(
        tokens=tuple(cut),
        reasoning=tuple(reasoning),
        tool_calls=script.tool_calls,
        finish_reason=finish,
    )


def _split(text: str) -> list[str]:
    words = text.split(" ")
    return [word if at == 0 else f" {word}" for at, word in enumerate(words)] if text else []


def _stop(tokens: list[str], stops: Any) -> list[str]:
    text = "".join(tokens)
    ends = [text.find(stop) for stop in ([stops] if isinstance(stops, str) else stops or [])]
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
