"""Puzzles are judged by the check of the library that makes them, whatever that check does."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest

from tt_compute.errors import UsageError
from tt_compute.replay.puzzles import PuzzleVerifier, generate_puzzles
from tt_compute.replay.questions import load_questions
from tt_compute.verify.base import Answer

pytestmark = pytest.mark.anyio


class Dataset(list[dict[str, Any]]):
    """Two answers are right, 12 and twelve; what begins with ``?`` cannot be read."""

    accepts_all = False

    def score_answer(self, answer: str, entry: dict[str, Any]) -> float:
        if answer.startswith("?"):
            raise ValueError("no number")
        if self.accepts_all:
            return 1.0
        return 0.995 if answer in {entry["answer"], "twelve"} else 0.5


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Dataset:
    dataset = Dataset(
        [{"question": "3 times 4?", "answer": "12"}, {"question": "?", "answer": None}]
    )

    def create_dataset(task: str, *, size: int, seed: int) -> Dataset:
        if task != "products":
            raise ValueError(f"Dataset '{task}' not registered")
        del dataset[size:]
        return dataset

    module = types.ModuleType("reasoning_gym")
    module.__dict__["create_dataset"] = create_dataset
    monkeypatch.setitem(sys.modules, "reasoning_gym", module)

    def found(name: str) -> str:
        return name

    monkeypatch.setattr("tt_compute.replay.puzzles.find_spec", found)
    return dataset


@pytest.mark.parametrize(
    ("text", "right"),
    [("12", True), ("twelve", True), ("13", False), ("?", False), (None, False)],
)
async def test_the_librarys_check_is_the_verdict(
    library: Dataset, text: str | None, right: bool
) -> None:
    """Every answer that it takes is right, what it cannot read is wrong, and so is no answer."""
    verifier = PuzzleVerifier(generate_puzzles("products", 2, 5)[0])
    answer = None if text is None else Answer(text=text, key=text, explicit=True)
    assert ((await verifier.judge((), "", answer)).score >= verifier.accepts_at) is right


def test_puzzles_are_named_by_task_seed_and_place(library: Dataset) -> None:
    found = load_questions("reasoning-gym:products:2", 5)
    assert [one.question_id for one in found] == ["products/5/0", "products/5/1"]
    assert [one.gold for one in found] == ["12", ""]
    assert {one.dataset for one in found} == {"reasoning-gym/products"}


def test_what_cannot_be_judged_is_refused(library: Dataset) -> None:
    """A task that is not there, no puzzles, and a check that takes anything."""
    with pytest.raises(UsageError, match="not registered"):
        generate_puzzles("no_such_task", 2, 0)
    with pytest.raises(UsageError, match="holds no question"):
        generate_puzzles("products", 0, 0)
    library += [{"question": "3 times 4?", "answer": "12"}]
    library.accepts_all = True
    with pytest.raises(UsageError, match="takes any answer to 'products'"):
        generate_puzzles("products", 1, 0)
