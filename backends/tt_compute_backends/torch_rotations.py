"""The angles of rotary positions as tables of torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch

from tt_compute_backends.llama.spec import LlamaSpec

__all__ = ["rotations"]

_from_numpy: Callable[[Any], torch.Tensor] = cast("Any", torch).from_numpy


def rotations(
    spec: LlamaSpec, device: torch.device, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and signed sines for each position, [positions, 1, head].

    ``x * cos + swapped(x) * sin`` rotates the pairs (i, i + head / 2); the first half's sines are negative.
    """
    half = spec.head_size // 2
    factors = np.array(spec.rope_factors or (1.0,) * half)
    frequencies = spec.rope_theta ** (-np.arange(half) * 2 / spec.head_size) / factors
    angles = np.outer(np.arange(spec.context_tokens), frequencies)
    cos, sin = np.cos(angles), np.sin(angles)
    tables = np.concatenate((cos, cos), 1), np.concatenate((-sin, sin), 1)
    both = [_from_numpy(table)[:, None].to(device, dtype) for table in tables]
    return both[0], both[1]
