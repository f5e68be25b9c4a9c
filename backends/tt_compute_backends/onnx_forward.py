"""A graph with past keys and values on ONNX Runtime, its caches bound in place: nothing is copied per step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from tt_compute_backends.loop.forward import F32, Piece
from tt_compute_backends.loop.memory import free_memory_bytes
from tt_compute_backends.loop.padding import alike, in_order, padded
from tt_compute_backends.onnx_cache import OnnxCache
from tt_compute_backends.onnx_files import HIDDEN, LOGITS, PAST, PRESENT
from tt_compute_backends.onnx_library import Binding, Session

__all__ = ["GraphOutput", "GraphShape", "OnnxForward"]

_DEVICE: Final = "cpu"
"""Where caches and logits lie; execution providers of other devices copy them there and back."""


class GraphOutput(msgspec.Struct, frozen=True, kw_only=True):
    """An output of a graph, [rows, positions, width]."""

    name: str
    width: int
    dtype: str
    """NumPy's name."""
    all_positions: bool
    """One for every token, not only for the last."""


class GraphShape(msgspec.Struct, frozen=True, kw_only=True):
    """What a graph says of its caches and of what it gives."""

    layers: int
    kv_heads: int
    head_size: int
    cache_dtype: str
    """NumPy's name."""
    position_ids: bool
    positions: int | None
    """Of which it knows the rotations, and so most tokens of a text; None = it does not say."""
    logits: GraphOutput | None
    """None = the model generates nothing."""
    hidden: GraphOutput | None
    """Behind the last norm; None = it is not given."""


class OnnxForward:
    """Satisfies ``loop.forward.Forward``, and with ``states`` ``ReadingForward``.

    Args:
        session: Of a graph with grouped-query attention over caches that past and present share.
        shape: Read from the graph.
        states: Which of its outputs stands for hidden states; None = none does.
        open_head: Opens the graph that makes logits of them; called once, when they are first wanted. None = they are
            logits already.
        alone: Compute the hidden states of one text at a time, whatever comes together.
    """

    out_of_memory = (MemoryError,)

    def __init__(
        self,
        session: Session,
        shape: GraphShape,
        states: GraphOutput | None = None,
        open_head: Callable[[], Session] | None = None,
        *,
        alone: bool = False,
    ) -> None:
        self._session = session
        self._shape = shape
        self._states = states
        self._open_head = open_head
        self._alone = alone
        self._head: Session | None = None
        self._cache_dtype = np.dtype(shape.cache_dtype)
        self._bound: tuple[OnnxCache, int, int, int, GraphOutput] | None = None
        """Cache, first row, rows, tokens and output of the binding that stands."""
        self._binding: Binding | None = None
        self._ids: NDArray[np.int64] = np.empty((0, 0), dtype=np.int64)
        self._positions: NDArray[np.int64] = np.empty((0, 0), dtype=np.int64)
        self._found: NDArray[Any] = np.empty(0)

    @property
    def vocabulary_size(self) -> int:
        return 0 if self._shape.logits is None else self._shape.logits.width

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
        logits: F32 = self._last_logits(cache, row, [token_ids], [past_tokens])[0]
        return logits

    def decode(self, cache: OnnxCache, token_ids: Sequence[int], past_tokens: Sequence[int]) -> F32:
        return self._last_logits(cache, 0, [(token,) for token in token_ids], past_tokens)

    def hidden(self, pieces: Sequence[Piece[OnnxCache]]) -> F32:
        groups = alike(pieces)
        if self._alone or any(piece.past_tokens for piece in pieces):
            # The operator takes no batch of several tokens behind others.
            groups = [[place] for place in range(len(pieces))]
        states = [self._hidden([pieces[place] for place in places]) for places in groups]
        # Otherwise the last cache would live until something else is bound.
        self._unbind()
        return in_order(pieces, groups, states)

    def logits(self, hidden: F32) -> F32:
        if self._open_head is None:
            return hidden
        if self._head is None:
            self._head = self._open_head()
        (logits,) = self._head.run([LOGITS], {HIDDEN: hidden})
        return logits.astype(np.float32, copy=False)

    def close(self) -> None:
        """Nothing is computed after it; the session goes with the last reference."""
        self._unbind()

    # ---------------------------------------------------------------------------------------------

    def _hidden(self, pieces: Sequence[Piece[OnnxCache]]) -> NDArray[Any]:
        """Of one piece, or of several that begin their texts."""
        assert self._states is not None, "the graph gives nothing of every token"
        first, ids = pieces[0], padded(pieces)
        if len(pieces) == 1:
            # A copy, which the next run leaves alone.
            return self._run(first.cache, first.row, ids, [first.past_tokens], self._states).copy()
        cache = self.new_cache(*ids.shape)
        found = self._run(cache, 0, ids, [0] * len(pieces), self._states).copy()
        for row, piece in enumerate(pieces):
            cache.copy_row(row, piece.cache, piece.row, len(piece.token_ids))
        return found

    def _last_logits(
        self,
        cache: OnnxCache,
        first_row: int,
        token_ids: Sequence[Sequence[int]],
        past_tokens: Sequence[int],
    ) -> F32:
        """Of the last position of each row; float32 ones are the bound array itself, which the next run overwrites."""
        logits = self._shape.logits
        assert logits is not None, "only models that generate have logits"
        found = self._run(cache, first_row, token_ids, past_tokens, logits)
        return found[:, -1].astype(np.float32, copy=False)

    def _run(
        self,
        cache: OnnxCache,
        first_row: int,
        token_ids: Sequence[Sequence[int]] | NDArray[np.int64],
        past_tokens: Sequence[int],
        output: GraphOutput,
    ) -> NDArray[Any]:
        rows, tokens = len(token_ids), len(token_ids[0])
        binding = self._bind(cache, first_row, rows, tokens, output)
        self._ids[:] = token_ids
        lengths = np.array(past_tokens, dtype=np.int64)[:, None] + tokens
        mask = (np.arange(int(lengths.max())) < lengths).astype(np.int64)
        self._bind_input(binding, "attention_mask", mask)
        if self._shape.position_ids:
            self._positions[:] = lengths - tokens + np.arange(tokens)
        self._session.run_with_iobinding(binding)
        return self._found

    def _bind(
        self, cache: OnnxCache, first_row: int, rows: int, tokens: int, output: GraphOutput
    ) -> Binding:
        """The binding for these rows, made anew only when they are others than last time."""
        wanted = (cache, first_row, rows, tokens, output)
        if self._binding is not None and self._bound is not None and _same(self._bound, wanted):
            return self._binding
        binding = self._session.io_binding()
        self._ids = np.empty((rows, tokens), dtype=np.int64)
        self._bind_input(binding, "input_ids", self._ids)
        if self._shape.position_ids:
            self._positions = np.empty((rows, tokens), dtype=np.int64)
            self._bind_input(binding, "position_ids", self._positions)
        positions = tokens if output.all_positions else 1
        self._found = np.empty((rows, positions, output.width), dtype=output.dtype)
        self._bind_output(binding, output.name, self._found)
        for number, array in enumerate(cache.arrays):
            part = array[first_row : first_row + rows]
            layer, name = number // 2, ("key", "value")[number % 2]
            self._bind_input(binding, f"{PAST}{layer}.{name}", part)
            self._bind_output(binding, f"{PRESENT}{layer}.{name}", part)
        self._bound, self._binding = wanted, binding
        return binding

    def _unbind(self) -> None:
        self._bound = self._binding = None

    def _bind_input(self, binding: Binding, name: str, array: NDArray[Any]) -> None:
        binding.bind_input(name, _DEVICE, 0, array.dtype, array.shape, array.ctypes.data)

    def _bind_output(self, binding: Binding, name: str, array: NDArray[Any]) -> None:
        binding.bind_output(name, _DEVICE, 0, array.dtype, array.shape, array.ctypes.data)


def _same(
    one: tuple[OnnxCache, int, int, int, GraphOutput],
    other: tuple[OnnxCache, int, int, int, GraphOutput],
) -> bool:
    return one[0] is other[0] and one[1:] == other[1:]
