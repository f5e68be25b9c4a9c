"""Reads the header of a GGUF file and checks that the file holds what the header promises.

Runtimes map these files without looking, and a truncated one ends the process; so look first.
Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

import msgspec

from tt_compute.errors import ModelLoadError

__all__ = ["GgufHeader", "GgufTensor", "GgufValue", "read_gguf_header"]

GgufValue = int | float | bool | str | tuple["GgufValue", ...]

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_STRING, _ARRAY = 8, 9
_SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_DEFAULT_ALIGNMENT = 32
_MAX_DIMENSIONS = 4
_BLOCKS = {
    0: (1, 4),  # F32
    1: (1, 2),  # F16
    2: (32, 18),  # Q4_0
    3: (32, 20),  # Q4_1
    6: (32, 22),  # Q5_0
    7: (32, 24),  # Q5_1
    8: (32, 34),  # Q8_0
    10: (256, 84),  # Q2_K
    11: (256, 110),  # Q3_K
    12: (256, 144),  # Q4_K
    13: (256, 176),  # Q5_K
    14: (256, 210),  # Q6_K
    16: (256, 66),  # IQ2_XXS
    17: (256, 74),  # IQ2_XS
    18: (256, 98),  # IQ3_XXS
    19: (256, 50),  # IQ1_S
    20: (32, 18),  # IQ4_NL
    21: (256, 110),  # IQ3_S
    22: (256, 82),  # IQ2_S
    23: (256, 136),  # IQ4_XS
    24: (1, 1),  # I8
    25: (1, 2),  # I16
    26: (1, 4),  # I32
    27: (1, 8),  # I64
    28: (1, 8),  # F64
    29: (256, 56),  # IQ1_M
    30: (1, 2),  # BF16
    34: (256, 54),  # TQ1_0
    35: (256, 66),  # TQ2_0
    39: (32, 17),  # MXFP4
}
"""Elements and bytes of one block, by ggml's number of the type; types that no file holds are left out."""


class GgufTensor(msgspec.Struct, frozen=True, kw_only=True):
    """Where one tensor lies."""

    name: str
    shape: tuple[int, ...]
    type: int
    offset: int
    """From the start of the data section."""
    bytes: int
    offset_in_file: int = 0


class GgufHeader(msgspec.Struct, frozen=True, kw_only=True):
    """All of a GGUF file but its weights."""

    path: str
    metadata: dict[str, GgufValue]
    tensors: tuple[GgufTensor, ...]

    def text(self, key: str) -> str | None:
        """The value at ``key`` if it is a string."""
        value = self.metadata.get(key)
        return value if isinstance(value, str) else None

    def integer(self, key: str) -> int | None:
        """The value at ``key`` if it is an integer."""
        value = self.metadata.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def array(self, key: str) -> tuple[GgufValue, ...]:
        """The value at ``key`` if it is an array, else an empty one."""
        value = self.metadata.get(key)
        return value if isinstance(value, tuple) else ()


def read_gguf_header(path: Path) -> GgufHeader:
    """Read the header and check every tensor against the length of the file.

    Raises:
        ModelLoadError: Missing, not a GGUF file, damaged or cut short; the message says where.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _Reader(path, data).header()
    except OSError as error:
        raise ModelLoadError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # mmap's word for an empty file
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, what: str) -> ModelLoadError:
    return ModelLoadError(
        f"{path} is not a whole GGUF file: {what}", hint="fetch it again with 'ttc models pull'"
    )


class _Reader:
    """Walks the header once; every length is checked before it is believed."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self._path = path
        self._data = data
        self._size = len(data)
        self._at = 0

    def header(self) -> GgufHeader:
        if self._take(len(_MAGIC)) != _MAGIC:
            raise self._error("it does not begin with 'GGUF'")
        (version,) = self._unpack("I")
        if version not in _VERSIONS:
            raise self._error(f"version {version} is not one of {_VERSIONS}")
        n_tensors, n_keys = self._unpack("QQ")
        self._expect(n_keys, at_least=13, what="metadata keys")
        metadata = dict(self._pair() for _ in range(n_keys))
        self._expect(n_tensors, at_least=24, what="tensors")
        tensors = tuple(self._tensor() for _ in range(n_tensors))
        start = self._data_start(metadata.get("general.alignment", _DEFAULT_ALIGNMENT))
        placed = tuple(self._placed(tensor, start) for tensor in tensors)
        if len(metadata) != n_keys or len({tensor.name for tensor in tensors}) != n_tensors:
            raise self._error("a key or a tensor stands twice in its header")
        return GgufHeader(path=str(self._path), metadata=metadata, tensors=placed)

    def _pair(self) -> tuple[str, GgufValue]:
        key = self._string()
        (kind,) = self._unpack("I")
        return key, self._value(kind)

    def _value(self, kind: int) -> GgufValue:
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            return self._array()
        if kind not in _SCALARS:
            raise self._error(f"unknown kind of value {kind}")
        value: int | float | bool = self._unpack(_SCALARS[kind])[0]
        return value

    def _array(self) -> tuple[GgufValue, ...]:
        kind, count = self._unpack("IQ")
        if kind == _STRING:
            self._expect(count, at_least=8, what="strings")
            return tuple(self._string() for _ in range(count))
        if kind not in _SCALARS:  # arrays of arrays are allowed by the format and used by nobody
            raise self._error(f"unknown kind of array element {kind}")
        self._expect(count, at_least=struct.calcsize(_SCALARS[kind]), what="array elements")
        return self._unpack(f"{count}{_SCALARS[kind]}")

    def _tensor(self) -> GgufTensor:
        name = self._string()
        (n_dimensions,) = self._unpack("I")
        if not 1 <= n_dimensions <= _MAX_DIMENSIONS:
            raise self._error(f"tensor {name!r} has {n_dimensions} dimensions")
        shape: tuple[int, ...] = self._unpack(f"{n_dimensions}Q")
        kind, offset = self._unpack("IQ")
        if kind not in _BLOCKS:
            raise self._error(f"tensor {name!r} is of the unknown or unsupported type {kind}")
        elements = 1
        for size in shape:
            elements *= size
        per_block, block_bytes = _BLOCKS[kind]
        size_bytes = -(-elements // per_block) * block_bytes
        return GgufTensor(name=name, shape=shape, type=kind, offset=offset, bytes=size_bytes)

    def _data_start(self, alignment: GgufValue) -> int:
        if not isinstance(alignment, int) or alignment < 1:
            raise self._error(f"alignment {alignment!r}")
        return -(-self._at // alignment) * alignment

    def _placed(self, tensor: GgufTensor, start: int) -> GgufTensor:
        end = start + tensor.offset + tensor.bytes
        if end > self._size:
            raise self._error(
                f"tensor {tensor.name!r} ends at byte {end}, the file at byte {self._size}"
            )
        return msgspec.structs.replace(tensor, offset_in_file=start + tensor.offset)

    def _string(self) -> str:
        (length,) = self._unpack("Q")
        return self._take(length).decode("utf-8", "replace")

    def _unpack(self, layout: str) -> tuple[int, ...]:
        layout = "<" + layout
        return struct.unpack(layout, self._take(struct.calcsize(layout)))

    def _take(self, length: int) -> bytes:
        end = self._at + length
        if end > self._size:
            raise self._error(f"it ends at byte {self._size}, inside its header")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def _expect(self, count: int, *, at_least: int, what: str) -> None:
        """Refuse a count that the rest of the file cannot hold, before anything is made of it."""
        if count * at_least > self._size - self._at:
            raise self._error(f"it promises {count} {what}, more than its {self._size} bytes hold")

    def _error(self, what: str) -> ModelLoadError:
        return _damaged(self._path, what)
