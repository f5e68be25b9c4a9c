"""What the deployments of our own decode loop have in common."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from tt_compute.types import Capabilities
from tt_compute_backends.engine.runtime import LoadRequest
from tt_compute_backends.loop.batch import Memory

__all__ = ["LoopOptions", "loop_capabilities", "loop_memory"]

MAX_LOGPROBS: Final = 20
"""Of the likeliest tokens; what the common services allow."""
_MOST_CACHE_BYTES: Final = 4 << 30
"""Of the caches when the deployment sets no limit and the machine has the room."""


class LoopOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of every runtime that runs in our own decode loop."""

    reproducible: bool = False
    """Sample k is the same alone, in any wave and beside other traffic: samples run one after the other, and
    no prompt starts from another one's beginning. Several times slower than a wave; for tests and for proof."""
    cache_bytes: Annotated[int, msgspec.Meta(ge=1 << 20)] | None = None
    """Most memory for keys and values; None = ``placement.memory_bytes``, or half of what is free when the model
    has been loaded, at most 4 GiB."""
    batched_tokens: Annotated[int, msgspec.Meta(ge=16, le=65536)] = 256
    """Most tokens of a prompt that are computed between two tokens of the running samples."""
    step_separator: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    """What stands behind each step in the sight of a process reward model; None = what its kind of folder says."""


def loop_capabilities(options: LoopOptions, *, generates: bool = True) -> Capabilities:
    """What our loop can, on any runtime, with a model that generates, or with another one."""
    if not generates:
        return Capabilities(generates=False)
    return Capabilities(
        native_n=True,
        prefix_sharing=True,
        cancel="sample",
        max_logprobs=MAX_LOGPROBS,
        seed="exact" if options.reproducible else "schedule",
        stop=True,
        json_schema=True,
        continue_assistant=True,
        streaming=True,
        continuous_batching=not options.reproducible,
    )


def loop_memory(
    options: LoopOptions,
    request: LoadRequest,
    *,
    context_tokens: int,
    kv_bytes_per_token: int,
    free_bytes: int,
) -> Memory:
    """The batch's limits, when the model has been loaded.

    Args:
        options: Of the deployment.
        request: What the engine was asked to load.
        context_tokens: Of the model.
        kv_bytes_per_token: Of one row.
        free_bytes: On the device.
    """
    stated = options.cache_bytes or request.memory_bytes
    budget = min(free_bytes // 2, _MOST_CACHE_BYTES) if stated is None else stated
    limits = [context_tokens, max(1, budget // kv_bytes_per_token // 2)]
    if request.max_context_tokens is not None:
        limits.append(request.max_context_tokens)
    return Memory(
        max_rows=request.max_rows,
        max_tokens=min(limits),
        budget_bytes=budget,
        piece_tokens=options.batched_tokens,
        share_beginnings=not options.reproducible,
    )
