"""What a server saw, and what it would bill for it."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from ttc_servers.faults import Fault

__all__ = ["Bill", "Ended", "Received", "Seen"]

Ended = Literal["live", "answered", "left_before_head", "left_mid_stream", "broken"]
"""Broken = by the server itself, as a fault asks."""


class Received(msgspec.Struct, kw_only=True):
    """One request of any kind, and what became of it."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    """Decoded; None where there was none, or no JSON."""
    at: float
    status: int = 200
    """0 = it was never given one."""
    ended: Ended = "live"
    ended_at: float | None = None


class Seen(Received, kw_only=True):
    """A request for a completion."""

    number: int
    """Among those for completions."""
    body: dict[str, Any]
    fault: Fault | None = None
    prompt_tokens: int = 0
    """0 as well where it was refused, which costs nothing."""
    cached_tokens: int = 0
    output_tokens: int = 0
    """Written so far: what would be billed."""


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """The truth about one request, whatever usage its answer states."""

    number: int
    model: str
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int

    @classmethod
    def of(cls, seen: Seen) -> Bill:
        return cls(
            number=seen.number,
            model=str(seen.body.get("model")),
            prompt_tokens=seen.prompt_tokens,
            cached_tokens=seen.cached_tokens,
            completion_tokens=seen.output_tokens,
        )
