"""Reads single tensors of a safetensors file as float32.

The library checks the file; the numbers are read by us, because it has no bfloat16 for NumPy.
Layout: https://huggingface.co/docs/safetensors/index#format
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from safetensors import SafetensorError, safe_open

from tt_compute.errors import ModelLoadError
from tt_compute_backends.llama.spec import F32

__all__ = ["SafetensorsFile"]

_DTYPES: Final[dict[str, Any]] = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}


class _Entry(msgspec.Struct, frozen=True):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


class SafetensorsFile:
    """One file, mapped while a tensor is read.

    Attributes:
        shapes: By name of the tensor.

    Raises:
        ModelLoadError: Missing, damaged or cut short.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with safe_open(str(path), framework="numpy"):
                pass
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                table = msgspec.json.decode(file.read(length), type=dict[str, Any])
            table.pop("__metadata__", None)
            self._entries = msgspec.convert(table, dict[str, _Entry])
        except (OSError, SafetensorError, msgspec.DecodeError, RecursionError) as error:
            raise ModelLoadError(
                f"{path} is not a whole safetensors file: {error}", hint="fetch it again"
            ) from error
        self._start = 8 + length
        self.shapes = {name: entry.shape for name, entry in self._entries.items()}

    def dtype(self, name: str) -> str:
        return self._entries[name].dtype

    def readable(self, name: str) -> bool:
        """Whether its type is one that ``read`` knows."""
        return self.dtype(name) in _DTYPES

    def read(self, name: str) -> F32:
        """All of a tensor."""
        entry = self._entries[name]
        raw = np.memmap(
            self.path,
            dtype=_DTYPES[entry.dtype],
            mode="r",
            offset=self._start + entry.data_offsets[0],
            shape=entry.shape,
        )
        if entry.dtype == "BF16":
            # The upper half of a float32.
            return (raw.astype(np.uint32) << 16).view(np.float32)
        return raw.astype(np.float32)
