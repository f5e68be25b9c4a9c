"""A model without numbers: its cache holds the tokens themselves, and its logits depend on all of them.

So a row whose cache was copied, moved or resized wrongly draws other tokens than it would alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from tt_compute_backends.loop.forward import F32

VOCABULARY = 50


class FakeCache:
    def __init__(self, rows: int, capacity_tokens: int) -> None:
        self.tokens = np.full((rows, capacity_tokens), -1, dtype=np.int64)

    @property
    def rows(self) -> int:
        return int(self.tokens.shape[0])

    @property
    def capacity_tokens(self) -> int:
        return int(self.tokens.shape[1])


class FakeForward:
    """Satisfies ``Forward``; ``device_tokens`` is how many tokens all caches may hold together."""

    vocabulary_size = VOCABULARY
    kv_bytes_per_token = 10
    out_of_memory = (MemoryError,)

    def __init__(self, device_tokens: int = 10**9) -> None:
        self.device_tokens = device_tokens
        self.prefilled: list[tuple[int, int]] = []
        """Tokens and past of each piece."""
        self.widths: list[int] = []
        """Rows of each decode."""
        self.broken = False
        self.closed = False

    def free_bytes(self) -> int:
        return self.device_tokens * self.kv_bytes_per_token

    def new_cache(self, rows: int, capacity_tokens: int) -> FakeCache:
        if rows * capacity_tokens > self.device_tokens:
            raise MemoryError
        return FakeCache(rows, capacity_tokens)

    def copy_row(
        self, source: FakeCache, source_row: int, target: FakeCache, target_row: int, tokens: int
    ) -> None:
        target.tokens[target_row, :tokens] = source.tokens[source_row, :tokens]
        target.tokens[target_row, tokens:] = -1

    def prefill(
        self, cache: FakeCache, row: int, token_ids: Sequence[int], past_tokens: int
    ) -> F32:
        self.prefilled.append((len(token_ids), past_tokens))
        end = past_tokens + len(token_ids)
        cache.tokens[row, past_tokens:end] = token_ids
        return logits_after(cache.tokens[row, :end])

    def decode(self, cache: FakeCache, token_ids: Sequence[int], past_tokens: Sequence[int]) -> F32:
        if self.broken:
            raise RuntimeError("the device fell off the bus")
        self.widths.append(len(token_ids))
        logits = np.empty((len(token_ids), VOCABULARY), dtype=np.float32)
        for row, (token, past) in enumerate(zip(token_ids, past_tokens, strict=True)):
            cache.tokens[row, past] = token
            logits[row] = logits_after(cache.tokens[row, : past + 1])
        return logits

    def close(self) -> None:
        self.closed = True


def logits_after(tokens: np.ndarray[tuple[int], np.dtype[np.int64]]) -> F32:
    assert tokens.min() >= 0, "a token that was never written"
    random = np.random.Generator(np.random.PCG64(zlib.crc32(tokens.tobytes())))
    return random.standard_normal(VOCABULARY).astype(np.float32)
