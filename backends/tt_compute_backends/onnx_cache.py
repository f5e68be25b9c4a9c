"""Keys and values of some rows as arrays that ONNX Runtime reads and writes in place."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["OnnxCache"]


class OnnxCache:
    """Two arrays per layer, keys and values, [rows, kv_heads, capacity, head].

    Raises:
        MemoryError: There is no room for it.
    """

    def __init__(
        self,
        *,
        layers: int,
        rows: int,
        kv_heads: int,
        capacity_tokens: int,
        head_size: int,
        dtype: Any,
    ) -> None:
        self.rows = rows
        self.capacity_tokens = capacity_tokens
        shape = (rows, kv_heads, capacity_tokens, head_size)
        self.arrays: list[NDArray[Any]] = [np.empty(shape, dtype) for _ in range(2 * layers)]

    def copy_row(self, source_row: int, target: OnnxCache, target_row: int, tokens: int) -> None:
        """Copy the first ``tokens`` tokens of a row into a row of ``target``, which may be this cache."""
        for mine, other in zip(self.arrays, target.arrays, strict=True):
            other[target_row, :, :tokens] = mine[source_row, :, :tokens]
