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

_DTYPES: Final[dict[str, Any]] = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16}


class _Entry(msgspec.Struct, frozen=True):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


class SafetensorsFile:
    """One file, mapped until the object is dropped.

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
        except (OSError, SafetensorError, msgspec.DecodeError) as error:
            raise ModelLoadError(
                f"{path} is not a whole safetensors file: {error}", hint="fetch it again"
            ) from error
        table.pop("__metadata__", None)
        self._start = 8 + length
        self._entries = {name: msgspec.convert(entry, _Entry) for name, entry in table.items()}

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._entries)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._entries[name].shape

    def readable(self, name: str) -> bool:
        """Whether its type is one that ``read`` knows."""
        return self._entries[name].dtype in _DTYPES

    def dtype(self, name: str) -> str:
        return self._entries[name].dtype

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
