"""Everything that goes wrong between a client and a service, by name; and who chooses it."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Mapping, Sequence
from email.utils import formatdate
from enum import StrEnum
from typing import Any

import msgspec

__all__ = [
    "CLOCK_JUMP_S",
    "PLAN",
    "RETRY_AFTER",
    "Choose",
    "Fault",
    "Kind",
    "by_model",
    "by_name",
    "by_rate",
    "closed_port",
    "named",
    "retry_after_date",
    "scripted",
]

CLOCK_JUMP_S = 3600.0
"""The fault that no server can make: a test's own clock leaps by it, either way."""


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
    """One fault; which fields count depends on the kind.

    NO_DONE, DUPLICATE and ERROR_EVENT leave an answer that is not a stream as it is.
    """

    kind: Kind
    after_tokens: int = 3
    """Of a stream: tokens sent before it happens. Of a whole answer nothing: it breaks in the middle."""
    seconds: float = 0.0
    """Of SLOW_HEAD, and between two bytes of DRIP."""
    status: int = 500
    said_status: int | None = None
    """Of STATUS: ``status_code`` of the body, which the Cerebras SDK takes in place of the answer's own."""
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


def by_model(faults: Mapping[str, Fault]) -> Choose:
    """By the name of the model that was asked for."""
    return lambda _number, body: faults.get(str(body.get("model")))


def by_name() -> Choose:
    """By a model that is called after its fault, such as ``fault:cut@3``; see ``named``."""

    def choose(_number: int, body: dict[str, Any]) -> Fault | None:
        prefix, _, name = str(body.get("model")).partition(":")
        return named(name) if prefix == "fault" else None

    return choose


_MEASURES = {
    Kind.SLOW_HEAD: "seconds",
    Kind.DRIP: "seconds",
    Kind.STATUS: "status",
    Kind.HTML: "status",
    Kind.REDIRECT: "target",
}
"""What stands behind the @; of all others it is ``after_tokens``."""


def named(name: str) -> Fault:
    """``kind[@measure][+header=value...]``: ``cut@3``, ``slow_head@0.5``, ``status@429+retry-after=7``.

    Raises:
        ValueError: There is no such fault.
    """
    what, *headers = name.split("+")
    kind_name, _, measure = what.partition("@")
    kind = Kind(kind_name)
    fields: dict[str, Any] = {"kind": kind}
    if measure:
        fields[_MEASURES.get(kind, "after_tokens")] = measure
    elif kind is Kind.DRIP:
        fields["seconds"] = 1.0
    if headers:
        fields["headers"] = dict(header.split("=", 1) for header in headers)
    return msgspec.convert(fields, Fault, strict=False)


def closed_port() -> int:
    """A port of 127.0.0.1 where nobody listens: connections are refused (F1)."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def retry_after_date(wall_s: float) -> Fault:
    """A 429 whose Retry-After is an HTTP date, of seconds since the epoch."""
    return Fault(
        kind=Kind.STATUS, status=429, headers={"retry-after": formatdate(wall_s, usegmt=True)}
    )


RETRY_AFTER = {
    "none": Fault(kind=Kind.STATUS, status=429),
    "seconds": named("status@429+retry-after=7"),
    "date": retry_after_date(2_000_000_000),
    "milliseconds": named("status@429+retry-after-ms=250"),
    "90": named("status@429+retry-after=90"),
    "-1": named("status@429+retry-after=-1"),
    "1e9": named("status@429+retry-after=1e9"),
}
"""F12, by what the header says."""

PLAN = {
    "F2 reset before head": named("reset_before_head"),
    "F2 reset after head": named("reset_after_head"),
    "F3 silent accept": named("silent"),
    "F4 slow head": named("slow_head@5"),
    "F5 drip": named("drip@1"),
    "F6 stall": named("stall@3"),
    "F7 cut": named("cut@3"),
    "F8 no done": named("no_done"),
    "F9 malformed": named("malformed@3"),
    "F10 error in 200": named("error_in_200"),
    "F11 empty object": named("empty_object"),
    **{f"F12 429 {name}": fault for name, fault in RETRY_AFTER.items()},
    **{f"F13 {status}": named(f"status@{status}") for status in (500, 502, 503, 529, 498)},
    "F13 html": named("html@502"),
    "F14 wrong usage": named("wrong_usage"),
    "F15 duplicate": named("duplicate@3"),
    "endless line": named("endless_line"),
    "gzip bomb": named("gzip"),
    "redirect": named("redirect"),
}
"""Every fault that a server can make. F1 is ``closed_port()``, F16 is ``CLOCK_JUMP_S``."""
