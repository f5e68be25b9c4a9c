"""A graph with past keys and values on ONNX Runtime, its caches bound in place: nothing is copied per step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from tt_compute_backends.loop.forward import F32
from tt_compute_backends.loop.memory import free_memory_bytes
from tt_compute_backends.onnx_cache import OnnxCache
from tt_compute_backends.onnx_library import Binding, Session

__all__ = ["GraphShape", "OnnxForward"]

_DEVICE: Final = "cpu"
"""Where caches and logits lie; execution providers of other devices copy them there and back."""


class GraphShape(msgspec.Struct, frozen=True, kw_only=True):
    """What a graph says of its caches."""

    layers: int
    kv_heads: int
    head_size: int
    vocabulary_size: int
    cache_dtype: str
    """NumPy's name."""
    logits_dtype: str
    all_positions: bool
    """The graph has logits for every token, not only for the last."""
    position_ids: bool


class OnnxForward:
    """Satisfies ``loop.forward.Forward``.

    Args:
        session: Of a graph with grouped-query attention over caches that past and present share.
        shape: Read from the graph.
    """

    out_of_memory = (MemoryError,)

    def __init__(self, session: Session, shape: GraphShape) -> None:
        self._session = session
        self._shape = shape
        self._cache_dtype = np.dtype(shape.cache_dtype)
        self._logits_dtype = np.dtype(shape.logits_dtype)
        self._bound: tuple[OnnxCache, int, int, int] | None = None
        """Cache, first row, rows and tokens of the binding that stands."""
        self._binding: Binding | None = None
        self._ids: NDArray[np.int64] = np.empty((0, 0), dtype=np.int64)
        self._positions: NDArray[np.int64] = np.empty((0, 0), dtype=np.int64)
        self._logits: NDArray[Any] = np.empty(0)

    @property
    def vocabulary_size(self) -> int:
        return self._shape.vocabulary_size

    @property
    def kv_bytes_per_token(self) -> int:
        shape = self._shape
        return 2 * shape.layers * shape.kv_heads * shape.head_size * self._cache_dtype.itemsize

    def free_bytes(self) -> int:
        return free_memory_bytes()

    def new_cache(self, rows: int, capacity_tokens: int) -> OnnxCache:
        # The arrays of the old one are in use until something else is bound.
        self._unbind()
        return OnnxCache(
            layers=self._shape.layers,
            rows=rows,
            kv_heads=self._shape.kv_heads,
            capacity_tokens=capacity_tokens,
            head_size=self._shape.head_size,
            dtype=self._cache_dtype,
        )

    def copy_row(
        self, source: OnnxCache, source_row: int, target: OnnxCache, target_row: int, tokens: int
    ) -> None:
        source.copy_row(source_row, target, target_row, tokens)

    def prefill(
        self, cache: OnnxCache, row: int, token_ids: Sequence[int], past_tokens: int
    ) -> F32:
        logits: F32 = self._run(cache, row, [token_ids], [past_tokens])[0]
        return logits

    def decode(self, cache: OnnxCache, token_ids: Sequence[int], past_tokens: Sequence[int]) -> F32:
        return self._run(cache, 0, [(token,) for token in token_ids], past_tokens)

    def close(self) -> None:
        """Nothing is computed after it; the session goes with the last reference."""
        self._unbind()

    # ---------------------------------------------------------------------------------------------

    def _run(
        self,
        cache: OnnxCache,
        first_row: int,
        token_ids: Sequence[Sequence[int]],
        past_tokens: Sequence[int],
    ) -> F32:
        rows, tokens = len(token_ids), len(token_ids[0])
        binding = self._bind(cache, first_row, rows, tokens)
        self._ids[:] = token_ids
        lengths = np.array(past_tokens, dtype=np.int64)[:, None] + tokens
        mask = (np.arange(int(lengths.max())) < lengths).astype(np.int64)
        self._bind_input(binding, "attention_mask", mask)
        if self._shape.position_ids:
            self._positions[:] = lengths - tokens + np.arange(tokens)
        self._session.run_with_iobinding(binding)
        # Float32 logits are the bound array itself, which the next run overwrites.
        return self._logits[:, -1].astype(np.float32, copy=False)

    def _bind(self, cache: OnnxCache, first_row: int, rows: int, tokens: int) -> Binding:
        """The binding for these rows, made anew only when they are others than last time."""
        wanted = (cache, first_row, rows, tokens)
        if self._binding is not None and self._bound is not None and _same(self._bound, wanted):
            return self._binding
        binding = self._session.io_binding()
        self._ids = np.empty((rows, tokens), dtype=np.int64)
        self._bind_input(binding, "input_ids", self._ids)
        if self._shape.position_ids:
            self._positions = np.empty((rows, tokens), dtype=np.int64)
            self._bind_input(binding, "position_ids", self._positions)
        positions = tokens if self._shape.all_positions else 1
        self._logits = np.empty(
            (rows, positions, self._shape.vocabulary_size), dtype=self._logits_dtype
        )
        self._bind_output(binding, "logits", self._logits)
        for number, array in enumerate(cache.arrays):
            part = array[first_row : first_row + rows]
            layer, name = number // 2, ("key", "value")[number % 2]
            self._bind_input(binding, f"past_key_values.{layer}.{name}", part)
            self._bind_output(binding, f"present.{layer}.{name}", part)
        self._bound, self._binding = wanted, binding
        return binding

    def _unbind(self) -> None:
        self._bound = self._binding = None

    def _bind_input(self, binding: Binding, name: str, array: NDArray[Any]) -> None:
        binding.bind_input(name, _DEVICE, 0, array.dtype, array.shape, array.ctypes.data)

    def _bind_output(self, binding: Binding, name: str, array: NDArray[Any]) -> None:
        binding.bind_output(name, _DEVICE, 0, array.dtype, array.shape, array.ctypes.data)


def _same(one: tuple[OnnxCache, int, int, int], other: tuple[OnnxCache, int, int, int]) -> bool:
    return one[0] is other[0] and one[1:] == other[1:]
