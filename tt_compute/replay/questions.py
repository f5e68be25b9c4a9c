"""Questions to record samples of: a file of JSON Lines, or a generator of puzzles."""

from __future__ import annotations

import importlib
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from tt_compute.errors import UsageError
from tt_compute.replay.recording import lines_of

__all__ = ["Asked", "load_questions"]

Text = str | int | float
_PUZZLES = re.compile(r"reasoning-gym:(?P<task>[A-Za-z0-9_]+)(?::(?P<size>[0-9]{1,6}))?")
_PUZZLE_COUNT = 50


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A question and its right answer."""

    question: str
    gold: Text
    question_id: Text | None = None
    """None = its line's number."""
    dataset: str = ""
    """Empty = the file's name."""

    def __post_init__(self) -> None:
        """Refuse what nobody can answer."""
        if not self.question.strip():
            raise ValueError("`question` is empty")


def load_questions(source: str, seed: int) -> list[Asked]:
    """The questions of a JSONL file, or of ``reasoning-gym:TASK[:N]``; every ``question_id`` is another one.

    Args:
        source: Which.
        seed: Of generated ones.

    Raises:
        UsageError: There are none, or a line is not one, with its number.
    """
    puzzles = _PUZZLES.fullmatch(source)
    if puzzles is None:
        return _from_file(Path(source))
    return _generated(puzzles["task"], int(puzzles["size"] or _PUZZLE_COUNT), seed)


def _from_file(file: Path) -> list[Asked]:
    decoder = msgspec.json.Decoder(Asked)
    found: dict[str, Asked] = {}
    for number, line in lines_of(file):
        try:
            one = decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise UsageError(
                f"{file}:{number}: {error}",
                hint='a line is such as {"question": "What is 6 times 7?", "gold": "42"}',
            ) from error
        name = str(number if one.question_id is None else one.question_id)
        if name in found:
            raise UsageError(f"{file}:{number}: question_id {name!r} is there twice")
        found[name] = msgspec.structs.replace(
            one, question_id=name, dataset=one.dataset or file.stem
        )
    if not found:
        raise UsageError(f"{file}: holds no question")
    return list(found.values())


def _generated(task: str, size: int, seed: int) -> list[Asked]:
    if find_spec("reasoning_gym") is None:
        raise UsageError(
            "reasoning-gym is not installed", hint='pip install "tt-compute[datasets]"'
        )
    library: Any = importlib.import_module("reasoning_gym")
    try:
        entries = list(library.create_dataset(task, size=size, seed=seed))
    except (ValueError, AssertionError) as error:
        raise UsageError(f"reasoning-gym makes no {size} questions of {task!r}: {error}") from error
    if not entries:
        raise UsageError(f"reasoning-gym:{task}:{size} holds no question")
    return [
        Asked(
            question=entry["question"],
            gold=str(entry["answer"]),
            question_id=f"{task}/{seed}/{place}",
            dataset=f"reasoning-gym/{task}",
        )
        for place, entry in enumerate(entries)
    ]
