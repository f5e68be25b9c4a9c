"""Questions to record samples of: a file of JSON Lines, HumanEval, or a generator of puzzles."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tt_compute.errors import InvalidRequestError, UsageError
from tt_compute.replay.asked import Asked
from tt_compute.replay.human_eval import load_problems
from tt_compute.replay.puzzles import generate_puzzles
from tt_compute.replay.recording import lines_of

__all__ = ["load_questions"]

_PUZZLES = re.compile(r"reasoning-gym:(?P<task>[A-Za-z0-9_]+)(?::(?P<size>[0-9]{1,6}))?")
_PUZZLE_COUNT = 50
_HUMAN_EVAL = re.compile(r"human-eval(?::(?P<size>[0-9]{1,6}))?")
_COMPLETE = "Complete this Python program. Answer with the whole of it in one block of code.\n\n```python\n{}```"
_SOURCES = "a JSONL file, human-eval[:N], or reasoning-gym:TASK[:N]"


def load_questions(source: str, seed: int) -> Sequence[Asked]:
    """The questions of a JSONL file, of ``human-eval[:N]``, or of ``reasoning-gym:TASK[:N]``.

    Every ``question_id`` is another one.

    Args:
        source: Which.
        seed: Of generated ones.

    Raises:
        UsageError: There are none, or a line is not one, with its number.
    """
    if puzzles := _PUZZLES.fullmatch(source):
        return generate_puzzles(puzzles["task"], int(puzzles["size"] or _PUZZLE_COUNT), seed)
    if problems := _HUMAN_EVAL.fullmatch(source):
        return _problems(None if problems["size"] is None else int(problems["size"]))
    file = Path(source)
    if not file.exists():
        raise UsageError(f"there is no file {source}", hint=f"--questions takes {_SOURCES}")
    return _from_file(file)


def _problems(size: int | None) -> list[Asked]:
    problems = load_problems()
    if size is not None and not 0 < size <= len(problems):
        raise UsageError(f"human-eval has {len(problems)} questions, not {size}")
    return [
        Asked(
            question=_COMPLETE.format(problem.prompt),
            tests=problem.check,
            question_id=problem.task_id,
            dataset="HumanEval",
        )
        for problem in problems[:size]
    ]


def _from_file(file: Path) -> list[Asked]:
    decoder = msgspec.json.Decoder(Asked)
    found: dict[str, Asked] = {}
    for number, line in lines_of(file):
        try:
            one = decoder.decode(line)
        except (
            msgspec.MsgspecError,
            UnicodeDecodeError,
            RecursionError,
            InvalidRequestError,
        ) as error:
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
