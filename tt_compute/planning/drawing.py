"""How samples are drawn where the caller leaves it to the plan."""

from __future__ import annotations

import math

import msgspec

from tt_compute.profiles.schema import TaskKind
from tt_compute.types import SamplingParams

__all__ = ["default_max_tokens", "sampling_for"]

_VARIED = SamplingParams(temperature=0.8, top_p=0.95)
"""How samples that are compared with each other are drawn."""
_GREEDY = SamplingParams(temperature=0.0)
"""How a lone sample is drawn: its likeliest course."""
_HEADROOM = 2
_TOKENS_STEP = 64
_MAX_TOKENS: dict[TaskKind, int] = {
    "math": 1024,
    "choice": 1024,
    "code": 2048,
    "json": 1024,
    "open": 1024,
}


def default_max_tokens(task: TaskKind, tokens_p95: float | None) -> int:
    """Twice the 95th percentile of completions, in steps of 64; by kind of task when that is unknown.

    A sample that is cut is paid for and seldom holds its answer, so the limit should only end runaways.
    """
    if tokens_p95 is None:
        return _MAX_TOKENS[task]
    return math.ceil(_HEADROOM * tokens_p95 / _TOKENS_STEP) * _TOKENS_STEP


def sampling_for(strategy: str, wishes: SamplingParams, max_tokens: int) -> SamplingParams:
    """How a strategy's samples are drawn; the caller's wishes win, but for a limit that does not fit."""
    base = _GREEDY if strategy == "single" else _VARIED
    return msgspec.structs.replace(
        wishes,
        temperature=base.temperature if wishes.temperature is None else wishes.temperature,
        top_p=base.top_p if wishes.top_p is None else wishes.top_p,
        max_tokens=max_tokens,
    )
