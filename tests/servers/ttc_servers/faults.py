"""Everything that goes wrong between a client and a service, by name; and who chooses it."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any

import msgspec

__all__ = ["Choose", "Fault", "Kind", "by_model", "by_rate", "closed_port", "scripted"]


class Kind(StrEnum):
    """F1 to F16, and a few more."""

    RESET_BEFORE_HEAD = "reset_before_head"
    RESET_AFTER_HEAD = "reset_after_head"
    SILENT = "silent"
    SLOW_HEAD = "slow_head"
    DRIP = "drip"
    STALL = "stall"
    CUT = "cut"
    NO_DONE = "no_done"
    NO_FINISH = "no_finish"
    MALFORMED = "malformed"
    ERROR_IN_200 = "error_in_200"
    EMPTY_OBJECT = "empty_object"
    STATUS = "status"
    HTML = "html"
    WRONG_USAGE = "wrong_usage"
    NO_USAGE = "no_usage"
    DUPLICATE = "duplicate"
    ENDLESS_LINE = "endless_line"
    GZIP = "gzip"
    REDIRECT = "redirect"
    ERROR_EVENT = "error_event"


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One fault; which fields count depends on the kind."""

    kind: Kind
    after_tokens: int = 3
    """Of a stream: tokens sent before it happens."""
    seconds: float = 0.0
    """Of SLOW_HEAD, and between two bytes of DRIP."""
    status: int = 500
    headers: dict[str, str] = {}
    """Of STATUS, such as ``retry-after``."""
    target: str = "http://127.0.0.1:9/"
    """Of REDIRECT."""


Choose = Callable[[int, dict[str, Any]], Fault | None]
"""Given the number of a request and its body, its fault."""


def scripted(faults: Sequence[Fault | None]) -> Choose:
    """By number; none after the last."""
    return lambda number, _body: faults[number] if number < len(faults) else None


def by_rate(fault: Fault, rate: float, seed: int) -> Choose:
    """A share of the requests, the same ones for the same seed."""
    return lambda number, _body: (
        fault if random.Random(f"{seed}:{number}").random() < rate else None
    )


def by_model(faults: dict[str, Fault]) -> Choose:
    """By the name of the model that was asked for."""
    return lambda _number, body: faults.get(body["model"])


def closed_port() -> int:
    """A port of 127.0.0.1 where nobody listens: connections are refused (F1)."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port
