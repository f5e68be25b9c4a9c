"""Puzzles of reasoning-gym (https://github.com/open-thought/reasoning-gym), judged by its own checks."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import anyio.to_thread

from tt_compute.errors import UsageError
from tt_compute.replay.asked import Asked
from tt_compute.types import Message
from tt_compute.verify.base import Answer, Judgement

__all__ = ["Puzzle", "PuzzleVerifier", "generate_puzzles"]

_FULL_SCORE = 0.99
"""Some checks lose a little to rounding; below it answers are partly right."""
_NONSENSE = "zzz"


class Puzzle(Asked, frozen=True, kw_only=True):
    """A puzzle; its ``gold`` is one right answer of perhaps many, empty where none comes with it."""

    score: Callable[[str], float]
    """1 = right; may raise on what it cannot read."""


class PuzzleVerifier:
    """Satisfies ``tt_compute.verify.base.Verifier``: takes the puzzle's own check for the verdict."""

    name = "puzzle"
    accepts_at = _FULL_SCORE

    def __init__(self, puzzle: Puzzle) -> None:
        self._puzzle = puzzle

    async def judge(
        self,
        messages: Sequence[Message],  # noqa: ARG002 - the protocol's
        text: str,  # noqa: ARG002 - the protocol's
        answer: Answer | None,
    ) -> Judgement:
        """The score; 0.0 for no answer, and for one that the check cannot read."""
        if answer is None:
            return Judgement(score=0.0)
        score = await anyio.to_thread.run_sync(_scored, self._puzzle, answer.text)
        return Judgement(score=score)


def generate_puzzles(task: str, size: int, seed: int) -> list[Puzzle]:
    """``size`` puzzles of a task, the same for the same seed.

    Raises:
        UsageError: The library is missing, has no such task, or checks it by a rule that takes anything.
    """
    if find_spec("reasoning_gym") is None:
        raise UsageError(
            "reasoning-gym is not installed", hint='pip install "tt-compute[datasets]"'
        )
    library: Any = importlib.import_module("reasoning_gym")
    try:
        dataset = library.create_dataset(task, size=size, seed=seed)
        entries: list[dict[str, Any]] = list(dataset)
    except (ValueError, AssertionError) as error:
        raise UsageError(f"reasoning-gym makes no {size} questions of {task!r}: {error}") from error
    if not entries:
        raise UsageError(f"reasoning-gym:{task}:{size} holds no question")
    puzzles = [
        Puzzle(
            question=entry["question"],
            gold="" if entry["answer"] is None else str(entry["answer"]),
            score=_scorer(dataset, entry),
            question_id=f"{task}/{seed}/{place}",
            dataset=f"reasoning-gym/{task}",
        )
        for place, entry in enumerate(entries)
    ]
    if all(_scored(puzzle, _NONSENSE) >= _FULL_SCORE for puzzle in puzzles):
        raise UsageError(
            f"reasoning-gym takes any answer to {task!r}, {_NONSENSE!r} too, for right",
            hint="record another task",
        )
    return puzzles


def _scorer(dataset: Any, entry: dict[str, Any]) -> Callable[[str], float]:
    def score(answer: str) -> float:
        return float(dataset.score_answer(answer=answer, entry=entry))

    return score


def _scored(puzzle: Puzzle, answer: str) -> float:
    try:
        return puzzle.score(answer)
    except Exception:  # noqa: BLE001 - a library's check, which raises whatever on what it cannot read
        return 0.0
