"""The one decision after a failed attempt: elsewhere, here again after a wait, or give up."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Final

import msgspec

from tt_compute.dispatch.backoff import backoff_s
from tt_compute.dispatch.breaker import error_class
from tt_compute.errors import BackendError, RateLimitError, RequestRefused

__all__ = ["MAX_ATTEMPTS", "Next", "Standing", "decide", "first_choice"]

MAX_ATTEMPTS: Final = 3
"""Of one sample, the first included (Google's SRE book, chapter 21)."""
PATIENCE_S: Final = 0.5
"""A shorter wait at the planned deployment is better than another deployment."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What can be said of a deployment before asking it."""

    route: int
    wait_s: float
    """Until it would take the attempt; infinite = not within this run."""
    least_s: float = 0.0
    """Time below which nothing can be expected of it: its usual time to a first token."""


class Next(msgspec.Struct, frozen=True, kw_only=True):
    """Where an attempt goes, and after how long."""

    route: int
    wait_s: float


def first_choice(standings: Sequence[Standing], *, left_s: float) -> Next | None:
    """Where a sample goes first: as planned unless that would wait and another would not.

    Args:
        standings: The planned deployment's, then the others', best first.
        left_s: Until the deadline.

    Returns:
        None when none of them could begin within ``left_s``.
    """
    planned = standings[0]
    if planned.wait_s <= PATIENCE_S and planned.wait_s < left_s:
        return Next(route=planned.route, wait_s=planned.wait_s)
    return _soonest(standings, left_s)


def decide(
    error: BackendError,
    *,
    attempts: int,
    failed: Standing,
    others: Sequence[Standing],
    left_s: float,
    max_wait_s: float,
    rng: random.Random,
) -> Next | None:
    """What follows a failed attempt.

    Args:
        error: How it failed.
        attempts: Made so far for this sample, this one included.
        failed: The deployment that failed.
        others: Of the plan, best first.
        left_s: Until the deadline.
        max_wait_s: Longest wait that makes sense.
        rng: For jitter.

    Returns:
        None = give up with the error. A request that was refused is refused everywhere: carrying it from one
        deployment to the next is how gateways are brought down (litellm#35303).
    """
    if attempts >= MAX_ATTEMPTS or isinstance(error, RequestRefused):
        return None
    retryable = error.retryable or isinstance(error, RateLimitError)
    if not retryable and error_class(error) is None:
        return None
    limit_s = min(left_s, max_wait_s)
    free = [other for other in others if other.wait_s <= 0]
    elsewhere = _soonest(free or others, limit_s)
    if elsewhere is not None and elsewhere.wait_s <= 0:
        return elsewhere
    if not retryable:
        return elsewhere
    wait_s = max(backoff_s(error, attempts - 1, rng), failed.wait_s)
    here = Standing(route=failed.route, wait_s=wait_s, least_s=failed.least_s)
    return _soonest([here, *others], limit_s)


def _soonest(standings: Sequence[Standing], limit_s: float) -> Next | None:
    able = [
        one for one in standings if one.wait_s + one.least_s < limit_s and math.isfinite(one.wait_s)
    ]
    best = min(able, key=lambda one: one.wait_s, default=None)
    return None if best is None else Next(route=best.route, wait_s=best.wait_s)
