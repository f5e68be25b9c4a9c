"""Keys and values of some rows as torch tensors."""

from __future__ import annotations

import torch

from tt_compute_backends.loop.forward import Piece

__all__ = ["Span", "TorchCache"]


class TorchCache:
    """One tensor per layer, [rows, 2 * kv_heads, capacity, head]: the keys of a row, then its values.

    Begun with zeros: what attention masks out still enters sums with weight 0, and must be finite for that.

    Raises:
        MemoryError, torch.OutOfMemoryError: There is no room for it.
    """

    def __init__(
        self,
        *,
        layers: int,
        rows: int,
        kv_heads: int,
        capacity_tokens: int,
        head_size: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.rows = rows
        self.capacity_tokens = capacity_tokens
        self.kv_heads = kv_heads
        shape = (rows, 2 * kv_heads, capacity_tokens, head_size)
        try:
            self.layers = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(layers)]
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError) or "allocate memory" not in str(error):
                raise
            raise MemoryError(str(error)) from error

    def copy_row(self, source_row: int, target: TorchCache, target_row: int, tokens: int) -> None:
        """Copy the first ``tokens`` tokens of a row into a row of ``target``, which may be this cache."""
        for mine, other in zip(self.layers, target.layers, strict=True):
            other[target_row, :, :tokens] = mine[source_row, :, :tokens]


class Span:
    """Where a piece stands in its row.

    Args:
        piece: Its tokens are to be appended.
        device: Where its positions and its mask shall lie.
    """

    def __init__(self, piece: Piece[TorchCache], device: torch.device) -> None:
        self._cache, self._row = piece.cache, piece.row
        self._start = piece.past_tokens
        self._end = self._start + len(piece.token_ids)
        self.positions = torch.arange(self._start, self._end, device=device)
        self.mask: torch.Tensor | None = None
        """[tokens, keys], True where a token sees a key; None = each sees those up to its own, of its piece alone."""
        if self._start and len(piece.token_ids) > 1:
            keys = torch.arange(self._end, device=device)
            self.mask = keys[None, :] <= self.positions[:, None]

    def keep(self, layer: int, new: torch.Tensor) -> torch.Tensor:
        """Write the tokens' keys and values, [tokens, 2 * kv_heads, head], and give all that the row then holds."""
        held = self._cache.layers[layer][self._row]
        held[:, self._start : self._end] = new.transpose(0, 1)
        return held[:, : self._end]
