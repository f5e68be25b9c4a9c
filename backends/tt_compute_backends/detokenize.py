"""Turns the tokens of one row into text as they come: whole characters only, cut at stop strings.

For byte-level vocabularies, in which the text is the plain concatenation of the tokens' bytes.
"""

from __future__ import annotations

import codecs
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Self

__all__ = ["RowText", "TokenTable"]

_new_decoder = codecs.getincrementaldecoder("utf-8")


class TokenTable:
    """The bytes of every token.

    Args:
        names: Bytes by token number.
        control: Tokens that steer the model and are no part of any text.
    """

    def __init__(self, names: Sequence[bytes], control: Collection[int]) -> None:
        self._names = names
        self._text = list(names)
        for number in control:
            self._text[number] = b""
        self.longest_bytes = max(map(len, self._text), default=0)

    @classmethod
    def of_vocabulary(cls, vocabulary: Mapping[bytes, int], control: Collection[int]) -> Self:
        """The same from token numbers by bytes."""
        names = [b""] * (max(vocabulary.values(), default=-1) + 1)
        for token, number in vocabulary.items():
            names[number] = token
        return cls(names, control)

    def bytes_of(self, tokens: Iterable[int]) -> bytes:
        """What the tokens add to the text; control tokens add nothing."""
        return b"".join([self._text[token] for token in tokens])

    def name(self, token: int) -> str:
        """The token as readable text, control tokens included; U+FFFD for parts of characters."""
        return self._names[token].decode("utf-8", "replace")


class RowText:
    """The text of one row.

    Text that may yet turn out to be the beginning of a stop string, and bytes of an unfinished
    character, are held back. What comes out does not depend on how the tokens are grouped.
    """

    def __init__(self, table: TokenTable, stop: tuple[str, ...] = ()) -> None:
        self._table = table
        self._stop = stop
        self._longest_stop = max(map(len, stop), default=0)
        self._decoder = _new_decoder("replace")
        self._held = ""
        self.stopped = False
        """A stop string was met; the text ends before it."""

    def feed(self, tokens: Iterable[int]) -> str:
        """New text that the tokens have made certain."""
        return self._advance(self._decoder.decode(self._table.bytes_of(tokens)))

    def finish(self) -> str:
        """What was held back, once no more tokens come; an unfinished character becomes U+FFFD."""
        text = self._advance(self._decoder.decode(b"", final=True)) + self._held
        self._held = ""
        return text

    def _advance(self, new: str) -> str:
        if self.stopped:
            return ""
        if not self._stop:
            return new
        pending = self._held + new
        cut = self._first_stop(pending)
        if cut is not None:
            self.stopped = True
            self._held = ""
            return pending[:cut]
        sure = len(pending) - self._doubtful(pending)
        self._held = pending[sure:]
        return pending[:sure]

    def _first_stop(self, text: str) -> int | None:
        """Where the stop string that is complete first begins; of two, the longer one."""
        found = [(text.find(stop), len(stop)) for stop in self._stop]
        ends = [(start + length, start) for start, length in found if start >= 0]
        return min(ends)[1] if ends else None

    def _doubtful(self, text: str) -> int:
        """Length of the longest end of ``text`` that a stop string begins with."""
        for length in range(min(len(text), self._longest_stop - 1), 0, -1):
            end = text[-length:]
            if any(stop.startswith(end) for stop in self._stop):
                return length
        return 0
