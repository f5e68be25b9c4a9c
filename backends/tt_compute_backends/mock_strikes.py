"""What a fault makes of a good sample."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import msgspec

from tt_compute.errors import PaymentRequired
from tt_compute.testing.mock_faults import Fault, FaultKind, mark
from tt_compute.types import (
    AuthenticationError,
    BackendError,
    BackendUnavailable,
    ConnectionFailed,
    EngineDied,
    ModelLoadError,
    ModelNotFound,
    OutOfMemory,
    RateLimitError,
    RequestRefused,
    ServerError,
)
from tt_compute_backends.mock_reply import Arrival, Booking, Effect, Reply, Strike
from tt_compute_backends.mock_text import Dice

__all__ = ["first_fault", "struck"]

_EFFECTS: Mapping[FaultKind, Effect] = {"stall": "stalls", "engine_died": "kills"}
_BOOKINGS: Mapping[FaultKind, Booking] = {
    "usage_missing": "missing",
    "usage_estimated": "estimated",
    "usage_too_large": "too_large",
}
_ERRORS: Mapping[FaultKind, tuple[type[BackendError], str]] = {
    "rate_limit": (RateLimitError, "too many requests"),
    "server_error": (ServerError, "the service failed"),
    "connection": (ConnectionFailed, "the connection was cut"),
    "malformed": (ServerError, "the answer cannot be decoded"),
    "oom": (OutOfMemory, "out of memory"),
    "stall": (ConnectionFailed, "the stream went silent"),
    "engine_died": (EngineDied, "the engine died"),
    "authentication": (AuthenticationError, "the key is refused"),
    "payment_required": (PaymentRequired, "the account has no credit left"),
    "refused": (RequestRefused, "the request is refused"),
    "model_not_found": (ModelNotFound, "there is no such model"),
    "model_load": (ModelLoadError, "the model cannot be loaded"),
    "unavailable": (BackendUnavailable, "the library is missing"),
}
_ALWAYS_BILLED: frozenset[FaultKind] = frozenset(
    {"connection", "malformed", "stall", "engine_died"}
)
"""They break an answer that had begun; the others refuse a request before anything is made."""


def first_fault(
    faults: tuple[Fault, ...], question: str, index: int, arrival: Arrival, dice: Dice
) -> Fault | None:
    """The one that strikes, if any does."""
    return next(_striking(faults, question, index, arrival, dice), None)


def _striking(
    faults: tuple[Fault, ...], question: str, index: int, arrival: Arrival, dice: Dice
) -> Iterator[Fault]:
    for number, fault in enumerate(faults):
        purpose = f"fault{number}:{fault.seed}" if fault.seed else f"fault{number}"
        if (
            (fault.samples is None or index in fault.samples)
            and (fault.requests is None or arrival.number in fault.requests)
            and fault.from_s <= arrival.at_s
            and (fault.until_s is None or arrival.at_s < fault.until_s)
            and re.search(fault.pattern, question)
            and dice.roll(purpose).random() < fault.rate
        ):
            yield fault


def struck(reply: Reply, fault: Fault, deployment: str) -> Reply:
    """The reply as the fault leaves it."""
    if fault.kind == "slow_first_token":
        return msgspec.structs.replace(reply, ttft_s=reply.ttft_s + fault.delay_s)
    if fault.kind in _BOOKINGS:
        return msgspec.structs.replace(reply, booking=_BOOKINGS[fault.kind], factor=fault.factor)
    made = fault.after_tokens
    kind, message = _ERRORS[fault.kind]
    error = kind(
        f"the mock's script says: {message}",
        backend="mock",
        deployment=deployment,
        retry_after_s=fault.retry_after_s,
    )
    return msgspec.structs.replace(
        reply,
        pieces=reply.pieces[:made],
        logprobs=reply.logprobs[:made],
        strike=Strike(error=mark(error, fault.kind), effect=_EFFECTS.get(fault.kind, "fails")),
        billed=made > 0 or fault.kind in _ALWAYS_BILLED,
    )
