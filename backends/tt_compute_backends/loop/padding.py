"""Pieces of several texts as one batch, for graphs whose rows must be of one length.

Padding stands to the right, and tokens see those before them only: what it is makes no difference to any other token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tt_compute_backends.loop.forward import F32, Piece

__all__ = ["alike", "in_order", "padded"]


def alike(pieces: Sequence[Piece[Any]]) -> list[list[int]]:
    """Places of those that hold equally many tokens already, so grouped that at most half of a batch is padding."""
    groups: list[list[int]] = []
    # Past, tokens of the longest and of all of the last group.
    past, longest, total = -1, 0, 0
    for place in sorted(range(len(pieces)), key=lambda at: _shape(pieces[at]), reverse=True):
        past_tokens, tokens = _shape(pieces[place])
        if past == past_tokens and (len(groups[-1]) + 1) * longest <= 2 * (total + tokens):
            groups[-1].append(place)
            total += tokens
        else:
            groups.append([place])
            past, longest, total = past_tokens, tokens, tokens
    return groups


def _shape(piece: Piece[Any]) -> tuple[int, int]:
    return piece.past_tokens, len(piece.token_ids)


def padded(pieces: Sequence[Piece[Any]]) -> NDArray[np.int64]:
    """Their tokens, [pieces, tokens of the longest]."""
    ids = np.zeros((len(pieces), max(len(piece.token_ids) for piece in pieces)), dtype=np.int64)
    for row, piece in zip(ids, pieces, strict=True):
        row[: len(piece.token_ids)] = piece.token_ids
    return ids


def in_order(
    pieces: Sequence[Piece[Any]], groups: Sequence[Sequence[int]], states: Sequence[NDArray[Any]]
) -> F32:
    """Hidden states of every token, piece by piece, from those of each group, [pieces, tokens, hidden]."""
    found: dict[int, NDArray[Any]] = {}
    for places, group in zip(groups, states, strict=True):
        for place, row in zip(places, group, strict=True):
            found[place] = row[: len(pieces[place].token_ids)]
    joined = np.concatenate([found[place] for place in range(len(pieces))])
    return joined.astype(np.float32, copy=False)
