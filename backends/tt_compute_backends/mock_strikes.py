"""What a fault makes of a good sample."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

import msgspec

from tt_compute.errors import PaymentRequired
from tt_compute.testing.mock_faults import Fault, FaultKind
from tt_compute.types import (
    AuthenticationError,
    BackendError,
    BackendUnavailable,
    ConnectionFailed,
    EngineDied,
    ModelLoadError,
    ModelNotFound,
    OutOfMemory,
    RateLimit,
    RateLimitError,
    RequestRefused,
    ServerError,
    TokenLogprob,
)
from tt_compute_backends.mock_text import Dice

__all__ = ["Arrival", "Reply", "Strike", "first_fault", "refused", "struck"]

Effect = Literal["fails", "stalls", "kills"]
Booking = Literal["counted", "missing", "estimated", "too_large"]
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


class Strike(msgspec.Struct, frozen=True, kw_only=True):
    """What happens instead of a good end."""

    error: BackendError
    effect: Effect
    """Ends the sample, silences it, or takes the whole generation down."""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """One sample, known before it is made."""

    pieces: tuple[str, ...] = ()
    """What each token adds to the text; nothing for the tokens of a stop string."""
    finish_reason: Literal["stop", "length"] = "stop"
    logprobs: tuple[TokenLogprob, ...] = ()
    """One per token, or none. Made up: they say nothing about the text."""
    ttft_s: float = 0.0
    token_s: float = 0.0
    """Seconds between tokens; 0 = all at once."""
    strike: Strike | None = None
    """Hits once all pieces are made; None = nothing does."""
    billed: bool = True
    """Whether the prompt is billed: not for a request that was refused."""
    booking: Booking = "counted"
    """What is said of its tokens."""
    factor: float = 1.0
    """Of the tokens that are said to have been made."""
    rate_limits: tuple[RateLimit, ...] = ()


class Arrival(NamedTuple):
    """How a sample came to be drawn."""

    number: int
    """Among all samples of the deployment, from 0 on."""
    at_s: float
    """Since the deployment was made."""


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
        strike=Strike(error=error, effect=_EFFECTS.get(fault.kind, "fails")),
        billed=made > 0 or fault.kind in _ALWAYS_BILLED,
    )


def refused(error: BackendError) -> Reply:
    """A sample of which nothing is made."""
    return Reply(strike=Strike(error=error, effect="fails"), billed=False)
