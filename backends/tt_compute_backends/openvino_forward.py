"""An ONNX graph of ours on OpenVINO, to read texts with: past keys and values go in, those of all tokens come out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tt_compute.errors import ModelLoadError
from tt_compute_backends.loop.forward import F32, Piece
from tt_compute_backends.loop.memory import free_memory_bytes
from tt_compute_backends.loop.padding import alike, in_order, padded
from tt_compute_backends.onnx_files import HIDDEN, PAST, PRESENT
from tt_compute_backends.openvino_library import Graph

__all__ = ["OpenVinoCache", "OpenVinoForward"]

_F32_BYTES: Final = 4


class OpenVinoCache:
    """What the graph gave for each row; arrays are never written to, so that rows may share them."""

    def __init__(self, rows: int, capacity_tokens: int) -> None:
        self.rows = rows
        self.capacity_tokens = capacity_tokens
        self.held: list[dict[str, NDArray[Any]]] = [{} for _ in range(rows)]
        """By what the names of inputs and outputs end in, [1, kv_heads, tokens, head]."""


class OpenVinoForward:
    """Satisfies ``loop.forward.ReadingForward``.

    Args:
        graph: As ``onnx_graph`` writes it.
        path: Of its file, for errors.
        alone: Compute one text at a time, whatever comes together.

    Raises:
        ModelLoadError: It was written by something else.
    """

    out_of_memory = (MemoryError,)

    def __init__(self, graph: Graph, path: object, *, alone: bool) -> None:
        self._graph: Graph | None = graph
        self._alone = alone
        self._caches = {
            name.removeprefix(PAST): _sizes(path, name, shape)
            for name, shape in graph.inputs.items()
            if name.startswith(PAST)
        }
        width = graph.outputs.get(HIDDEN, (None,))[-1]
        if width is None or not self._caches:
            raise ModelLoadError(f"{path} has no output {HIDDEN}, or no past keys and values")
        self.hidden_size = width

    @property
    def kv_bytes_per_token(self) -> int:
        return sum(heads * size * _F32_BYTES for heads, size in self._caches.values())

    def free_bytes(self) -> int:
        return free_memory_bytes()

    def new_cache(self, rows: int, capacity_tokens: int) -> OpenVinoCache:
        return OpenVinoCache(rows, capacity_tokens)

    def copy_row(
        self,
        source: OpenVinoCache,
        source_row: int,
        target: OpenVinoCache,
        target_row: int,
        tokens: int,
    ) -> None:
        held = source.held[source_row]
        target.held[target_row] = {name: array[:, :, :tokens] for name, array in held.items()}

    def hidden(self, pieces: Sequence[Piece[OpenVinoCache]]) -> F32:
        groups = [[place] for place in range(len(pieces))] if self._alone else alike(pieces)
        states = [self._states([pieces[place] for place in places]) for places in groups]
        return in_order(pieces, groups, states)

    def close(self) -> None:
        """Nothing is computed after it."""
        self._graph = None

    # ---------------------------------------------------------------------------------------------

    def _states(self, pieces: Sequence[Piece[OpenVinoCache]]) -> NDArray[Any]:
        """Of pieces behind equally many tokens."""
        assert self._graph is not None, "the model was dropped"
        past_tokens, ids = pieces[0].past_tokens, padded(pieces)
        inputs: dict[str, NDArray[Any]] = {
            "input_ids": ids,
            # One for all rows, which are of one length: the library's attention takes no length for each.
            "attention_mask": np.ones((1, past_tokens + ids.shape[1]), dtype=np.int64),
        }
        for name, (heads, size) in self._caches.items():
            inputs[PAST + name] = (
                np.concatenate([piece.cache.held[piece.row][name] for piece in pieces])
                if past_tokens
                else np.empty((len(pieces), heads, 0, size), dtype=np.float32)
            )
        found = self._graph.run(inputs)
        for row, piece in enumerate(pieces):
            held = past_tokens + len(piece.token_ids)
            piece.cache.held[piece.row] = {
                name: found[PRESENT + name][row : row + 1, :, :held] for name in self._caches
            }
        return found[HIDDEN]


def _sizes(path: object, name: str, shape: Sequence[int | None]) -> tuple[int, int]:
    """Heads and their size."""
    if len(shape) != 4 or shape[1] is None or shape[3] is None:  # noqa: PLR2004 - dimensions
        raise ModelLoadError(f"{path}: {name} has an unknown shape")
    return shape[1], shape[3]
