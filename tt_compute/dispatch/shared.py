"""What all generations of a client share."""

from __future__ import annotations

import random

import msgspec

from tt_compute.dispatch.quota import HedgeBudget, RetryBudget
from tt_compute.dispatch.watch import Watchman
from tt_compute.types import Clock

__all__ = ["Shared"]


class Shared(msgspec.Struct, frozen=True, kw_only=True):
    """Made once, by the dispatcher."""

    clock: Clock
    rng: random.Random
    retries: RetryBudget
    hedges: HedgeBudget
    watchman: Watchman
    max_wait_s: float
