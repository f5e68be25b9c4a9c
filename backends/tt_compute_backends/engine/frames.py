"""Frames on a pipe: a length of four bytes, then the message."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

__all__ = ["read_frames", "write_frame"]

_LENGTH = struct.Struct(">I")
_READ_BYTES = 1 << 16


def write_frame(fd: int, message: bytes) -> None:
    """Write one frame, waiting while the pipe is full.

    Raises:
        OSError: The other end is gone.
    """
    rest = memoryview(_LENGTH.pack(len(message)) + message)
    while rest:
        rest = rest[os.write(fd, rest) :]


def read_frames(fd: int) -> Iterator[bytes]:
    """The messages that arrive, until the other end is gone; a frame cut off by that is dropped."""
    buffer = bytearray()
    while chunk := os.read(fd, _READ_BYTES):
        buffer += chunk
        start = 0
        while len(buffer) >= start + _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer, start)
            end = start + _LENGTH.size + length
            if len(buffer) < end:
                break
            yield bytes(buffer[start + _LENGTH.size : end])
            start = end
        del buffer[:start]
