"""The running batch's memory: a cache whose first rows are the live ones, resized as they come, grow and go."""

from __future__ import annotations

from typing import Generic

from tt_compute_backends.loop.forward import CacheT, Forward

__all__ = ["Slots"]

_GRAIN_TOKENS = 128
"""Capacities are multiples of it."""
_SLACK = 1.25
"""A cache that must grow longer grows by this factor, so that copies stay rare."""
_SHRINK = 4
"""A cache this many times larger than needed is replaced."""


class Slots(Generic[CacheT]):
    """Slot i holds the i-th live row; a row that leaves is replaced by the last one.

    Args:
        forward: Makes the caches.
        max_rows: Most rows at once.
        max_tokens: Most tokens of one row.
        keep_bytes: A cache up to this size is never given back: making it anew costs more than it frees.
    """

    def __init__(
        self, forward: Forward[CacheT], *, max_rows: int, max_tokens: int, keep_bytes: int
    ) -> None:
        self._forward = forward
        self._max_rows = max_rows
        self._max_tokens = max_tokens
        self._keep_bytes = keep_bytes
        self._cache: CacheT | None = None

    @property
    def cache(self) -> CacheT:
        assert self._cache is not None, "reserve() comes first"
        return self._cache

    @property
    def bytes(self) -> int:
        """Held now."""
        return 0 if self._cache is None else self._bytes(*self._shape())

    def bytes_for(self, rows: int, tokens: int) -> int:
        """What the cache would hold for this many rows of up to this many tokens."""
        return self._bytes(*self._rounded(rows, tokens))

    def reserve(self, lengths: list[int], rows: int, tokens: int) -> None:
        """Make room for ``rows`` rows of ``tokens`` tokens, keeping the live ones.

        Args:
            lengths: Tokens of the live rows, by slot.
            rows: At least as many.
            tokens: At least as many as the longest.

        Raises:
            one of the forward's ``out_of_memory``; all live rows are still there
        """
        has_rows, has_tokens = self._shape()
        if rows > has_rows or tokens > has_tokens:
            self._replace(lengths, *self._rounded(max(rows, len(lengths)), tokens))

    def shrink(self, lengths: list[int]) -> None:
        """Give memory back when most of it is no longer needed.

        Raises:
            one of the forward's ``out_of_memory``; all live rows are still there
        """
        if self.bytes <= self._keep_bytes:
            return
        if not lengths:
            self._cache = None
            return
        wanted = self._rounded(len(lengths), max(lengths) + 1)
        if self.bytes >= _SHRINK * self._bytes(*wanted):
            self._replace(lengths, *wanted)

    def leave(self, slot: int, lengths: list[int]) -> None:
        """Row ``slot`` is gone; the last row, of ``lengths[-1]`` tokens, takes its place."""
        last = len(lengths) - 1
        if slot != last:
            self._forward.copy_row(self.cache, last, self.cache, slot, lengths[last])

    def clear(self) -> None:
        self._cache = None

    def _replace(self, lengths: list[int], rows: int, tokens: int) -> None:
        new = self._forward.new_cache(rows, tokens)
        for slot, length in enumerate(lengths):
            self._forward.copy_row(self.cache, slot, new, slot, length)
        self._cache = new

    def _shape(self) -> tuple[int, int]:
        cache = self._cache
        return (0, 0) if cache is None else (cache.rows, cache.capacity_tokens)

    def _rounded(self, rows: int, tokens: int) -> tuple[int, int]:
        """Rows to the next power of two, tokens with some slack to the next grain."""
        wide = min(self._max_rows, 1 << max(0, rows - 1).bit_length())
        grains = -(-int(tokens * _SLACK) // _GRAIN_TOKENS)
        return max(rows, wide), max(tokens, min(grains * _GRAIN_TOKENS, self._max_tokens))

    def _bytes(self, rows: int, tokens: int) -> int:
        return rows * tokens * self._forward.kv_bytes_per_token
