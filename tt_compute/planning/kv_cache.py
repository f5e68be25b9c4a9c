"""How many samples at once the memory of a machine has room for."""

from __future__ import annotations

import math

from tt_compute.planning.roofline import UnknownFact, kv_bytes_per_token, weights_of
from tt_compute.profiles.schema import DeploymentSpec

__all__ = ["rows_that_fit", "tokens_that_fit"]


def tokens_that_fit(spec: DeploymentSpec) -> float:
    """Tokens whose keys and values fit beside the weights; infinite where that is not known, or not ours to mind.

    The room is ``placement.memory_bytes`` where stated, else the memory of all devices without the weights.
    """
    if not spec.hardware.local:
        return math.inf
    try:
        per_token = kv_bytes_per_token(spec.model, spec.deployment.placement.kv_dtype)
        return max(0.0, _room_bytes(spec)) / per_token
    except UnknownFact:
        return math.inf


def rows_that_fit(tokens: float, row_tokens: float) -> int:
    """Samples of ``row_tokens``, prompt and completion, in room for ``tokens``; down to a power of two, at least one.

    In powers of two, so that prompts of many lengths share few widths.
    """
    rows = int(tokens / max(1.0, row_tokens))
    return 1 << (rows.bit_length() - 1) if rows else 1


def _room_bytes(spec: DeploymentSpec) -> float:
    placement = spec.deployment.placement
    if placement.memory_bytes is not None:
        return placement.memory_bytes
    memory = spec.hardware.memory.bytes.value
    if memory is None:
        return math.inf
    return memory * placement.tensor_parallel - weights_of(spec).bytes
