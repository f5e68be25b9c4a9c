"""Server-sent events: the ``data`` of each event out of a stream of bytes, bounded."""

from __future__ import annotations

from tt_compute.errors import ServerError

__all__ = ["DONE", "EventParser"]

DONE = b"[DONE]"
MAX_LINE_BYTES = 4 * 1024 * 1024


class EventParser:
    """Takes bytes as they come, cut anywhere (WHATWG HTML, 9.2.6 Interpreting an event stream).

    Only ``data`` matters on this wire; comments, names and ids are skipped. Lines end with LF or CRLF.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of every event that ``chunk`` completes.

        Raises:
            ServerError: A line passes 4 MiB.
        """
        lines = (self._rest + chunk).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > MAX_LINE_BYTES:
            raise ServerError(f"the server sent a line of over {MAX_LINE_BYTES} bytes")
        found: list[bytes] = []
        for line in lines:
            if line.startswith(b"data:"):
                self._data.append(line[5:].strip())
            elif self._data and line in {b"", b"\r"}:
                found.append(b"\n".join(self._data))
                self._data.clear()
        return found

    def end(self) -> list[bytes]:
        """What a stream that ended without its last empty line still held."""
        found = self.feed(b"\n\n")
        return [data for data in found if data]
