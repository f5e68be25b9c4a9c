"""What a library must compute so that our own decode loop can run it: one forward pass, over slots.

The loop (prompts, rows, sampling, grammars, memory) is written once; ONNX Runtime and torch each implement
``Forward``. Everything is called from the one thread of the engine that owns the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["F32", "CachingModel", "Forward", "KvCache", "Piece", "ReadingForward"]

F32 = NDArray[np.float32]


class KvCache(Protocol):
    """Keys and values of ``rows`` rows, each of up to ``capacity_tokens`` tokens. Freed when dropped."""

    @property
    def rows(self) -> int: ...
    @property
    def capacity_tokens(self) -> int: ...


CacheT = TypeVar("CacheT", bound=KvCache)


class CachingModel(Protocol[CacheT]):
    """A loaded model, whatever is wanted of it."""

    @property
    def kv_bytes_per_token(self) -> int:
        """Of one row."""
        ...

    @property
    def out_of_memory(self) -> tuple[type[BaseException], ...]:
        """What the library raises when memory is short; the model is usable after it."""
        ...

    def free_bytes(self) -> int:
        """Memory of the device that caches may still take, now."""
        ...

    def new_cache(self, rows: int, capacity_tokens: int) -> CacheT:
        """Room for ``rows`` rows; what is in it is undefined.

        Raises:
            one of ``out_of_memory``
        """
        ...

    def copy_row(
        self, source: CacheT, source_row: int, target: CacheT, target_row: int, tokens: int
    ) -> None:
        """Copy the first ``tokens`` tokens of one row to another; the caches may be the same one."""
        ...

    def close(self) -> None: ...


class Forward(CachingModel[CacheT], Protocol[CacheT]):
    """A loaded model that samples are drawn from."""

    @property
    def vocabulary_size(self) -> int:
        """Width of the logits; 0 = it has none, and nothing is drawn from it."""
        ...

    def prefill(self, cache: CacheT, row: int, token_ids: Sequence[int], past_tokens: int) -> F32:
        """Append ``token_ids`` behind the ``past_tokens`` of a row.

        Returns:
            Logits of the last token, [vocabulary].
        """
        ...

    def decode(self, cache: CacheT, token_ids: Sequence[int], past_tokens: Sequence[int]) -> F32:
        """Append one token to each of the first ``len(token_ids)`` rows.

        Args:
            cache: Of at least that many rows, with room for one more token in each.
            token_ids: One per row.
            past_tokens: Tokens that each row holds already.

        Returns:
            Logits, [rows, vocabulary]; valid until the next call, and the caller may write to them.
        """
        ...


class Piece(NamedTuple, Generic[CacheT]):
    """Some tokens of one text, next to those of others in one pass."""

    cache: CacheT
    row: int
    token_ids: Sequence[int]
    past_tokens: int
    """Tokens that the row holds already."""


class ReadingForward(CachingModel[CacheT], Protocol[CacheT]):
    """A loaded model whose hidden states can be had."""

    def hidden(self, pieces: Sequence[Piece[CacheT]]) -> F32:
        """Append each piece to its row; no two are of the same row.

        Returns:
            Of every token, piece by piece, its hidden state behind the last norm, [tokens, hidden].
        """
        ...
