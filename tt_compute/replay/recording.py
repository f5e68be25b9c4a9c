"""Files of recorded samples: JSON Lines, one question a line."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import msgspec

from tt_compute.errors import UsageError

__all__ = ["Once", "Recording", "lines_of", "load_recordings"]

_MAX_LINE_BYTES = 64 * 1024 * 1024
"""Far above thousands of samples of a question; keeps what is no such file from filling the memory."""

Text = str | int | float
Count = Annotated[int, msgspec.Meta(ge=0, le=10**9)]
"""Tokens; far above any answer's."""
_FORMAT = "docs/replay.md tells what a line holds"


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """One question with its recorded samples; entry i of every list belongs to sample i."""

    question_id: Text
    samples: tuple[Text | None, ...]
    """The answer found in each sample; None = none was found."""
    gold: Text | None = None
    """The right answer; None where ``correct`` says all."""
    correct: tuple[int | bool, ...] | None = None
    """1 or 0 for each sample; None = right is what equals ``gold``."""
    tokens: tuple[Count, ...] | None = None
    """Completion tokens."""
    logprob: tuple[float, ...] | None = None
    """Mean over the sample's tokens."""
    reward: tuple[float, ...] | None = None
    """What a reward model gave; higher is better."""
    dataset: str = ""
    model: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be replayed; msgspec puts its place before a ValueError's text."""
        if not self.samples:
            raise ValueError("`samples` is empty")
        if self.gold is None and self.correct is None:
            raise ValueError("neither `gold` nor `correct` tells which samples are right")
        if self.correct is not None and not set(self.correct) <= {0, 1}:
            raise ValueError("`correct` holds something other than 0 and 1")
        for name in ("correct", "tokens", "logprob", "reward"):
            values: Sequence[object] | None = getattr(self, name)
            if values is not None and len(values) != len(self.samples):
                raise ValueError(
                    f"`{name}` has {len(values)} entries for {len(self.samples)} samples"
                )


class Once:
    """Refuses a file that was put together of two: what counts twice would skew every figure.

    Args:
        file: For the error.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lines: dict[object, int] = {}

    def check(self, number: int, key: object, what: str) -> None:
        """Take in a line.

        Args:
            number: Its number.
            key: What no other line may have.
            what: The line, in the error's words.

        Raises:
            UsageError: An earlier one has it.
        """
        first = self._lines.setdefault(key, number)
        if first != number:
            raise UsageError(
                f"{self._file}:{number}: {what} stands in line {first} already",
                hint="take one of the two lines out",
            )


def load_recordings(file: Path) -> list[Recording]:
    """The questions of a file, in its order.

    Raises:
        UsageError: The file cannot be read, holds no question, or one line twice; or a line is none, with its number.
    """
    decoder = msgspec.json.Decoder(Recording)
    found: list[Recording] = []
    once = Once(file)
    for number, line in lines_of(file):
        try:
            one = decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise UsageError(f"{file}:{number}: {error}", hint=_FORMAT) from error
        # A question alone is no key: it may be recorded with several seeds or prompts.
        once.check(
            number, sha256(line.strip()).digest(), f"all of it, question {one.question_id!r},"
        )
        found.append(one)
    if not found:
        raise UsageError(f"{file}: holds no question", hint=_FORMAT)
    return found


def lines_of(file: Path) -> Iterator[tuple[int, bytes]]:
    """(number, content) of each line that is not blank, the first being 1.

    Raises:
        UsageError: The file cannot be read, or a line is too long to be one.
    """
    try:
        with file.open("rb") as opened:
            # Editors on Windows begin a file with it.
            if opened.read(len(BOM_UTF8)) != BOM_UTF8:
                opened.seek(0)
            lines = iter(lambda: opened.readline(_MAX_LINE_BYTES + 1), b"")
            for number, line in enumerate(lines, 1):
                if len(line) > _MAX_LINE_BYTES:
                    raise UsageError(f"{file}:{number}: longer than {_MAX_LINE_BYTES} bytes")
                if not line.isspace():
                    yield number, line
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror or error}") from error
