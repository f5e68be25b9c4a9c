"""One sample of the mock, known before it is made."""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

from tt_compute.types import BackendError, RateLimit, TokenLogprob

__all__ = ["Arrival", "Booking", "Effect", "Reply", "Strike", "refused"]

Effect = Literal["fails", "stalls", "kills"]
Booking = Literal["counted", "missing", "estimated", "too_large"]


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


def refused(error: BackendError) -> Reply:
    """A sample of which nothing is made."""
    return Reply(strike=Strike(error=error, effect="fails"), billed=False)
