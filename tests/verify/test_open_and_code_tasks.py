"""Answers that are free text or programs, and what all kinds of task share."""

from __future__ import annotations

import pytest

from tt_compute.errors import UnknownNameError
from tt_compute.verify.code_task import CodeTask
from tt_compute.verify.open_task import OpenTask
from tt_compute.verify.tasks import get_task


@pytest.mark.parametrize(
    ("text", "shown", "key", "explicit"),
    [
        ("Paris.", "Paris.", "paris", False),
        ("  PARIS ", "PARIS", "paris", False),
        ("It is\n\tParis!", "It is\n\tParis!", "it is paris", False),
        ("France is nice. The answer is Paris.", "Paris", "paris", True),
        ("Answer: Paris", "Paris", "paris", True),
        ("**Answer:** Paris\n", "Paris", "paris", True),
        (r"So \boxed{\text{Paris}}", "Paris", "paris", True),
        ("\uff30aris", "\uff30aris", "paris", False),
    ],
)
def test_free_text_is_its_own_answer_unless_a_short_one_is_marked(
    text: str, shown: str, key: str, explicit: bool
) -> None:
    answer = OpenTask().extract(text, truncated=False)
    assert answer is not None
    assert (answer.text, answer.key, answer.explicit) == (shown, key, explicit)


def test_an_explanation_behind_a_colon_is_not_a_short_answer() -> None:
    text = "Answer: Paris is one.\nThere are others, though."
    answer = OpenTask().extract(text, truncated=False)
    assert answer is not None
    assert answer.text == text


@pytest.mark.parametrize("text", ["", "  \n", "...", "**"])
def test_nothing_but_white_space_and_punctuation_abstains(text: str) -> None:
    assert OpenTask().extract(text, truncated=False) is None


@pytest.mark.parametrize(
    ("text", "key"),
    [("Paris. It is", None), ("The answer is Par", None), ("The answer is Paris. It", "paris")],
)
def test_cut_free_text_counts_only_with_a_complete_mark(text: str, key: str | None) -> None:
    answer = OpenTask().extract(text, truncated=True)
    assert (answer and answer.key) == key


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("```python\ndef f():\n    return 1  \n```", "def f():\n    return 1"),
        ("```\na\n```\nbetter:\n```py\nb\n```\nDone", "b"),
        ("~~~\na\n~~~", "a"),
        ("````md\n```\nx\n```\n````", "```\nx\n```"),
        ("```python\ndef f(): pass", "def f(): pass"),
        ("def f():\n    return 1", "def f():\n    return 1"),
    ],
)
def test_the_last_fenced_block_is_the_program(text: str, code: str) -> None:
    answer = CodeTask().extract(text, truncated=False)
    assert answer is not None
    assert answer.key == code


@pytest.mark.parametrize(
    ("text", "truncated"),
    [
        ("Use a loop.", False),
        ("```\n\n```", False),
        ("```python\ndef f(): pass", True),
        ("def f(): pass", True),
    ],
)
def test_prose_and_unfinished_programs_abstain(text: str, truncated: bool) -> None:
    assert CodeTask().extract(text, truncated=truncated) is None


@pytest.mark.parametrize("kind", ["math", "choice", "json", "code", "open"])
def test_every_kind_has_a_task_of_that_kind(kind: str) -> None:
    assert get_task(kind).kind == kind


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="'maths'") as caught:
        get_task("maths")
    assert caught.value.hint is not None
    assert "math, choice, json, code, open" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("<think>The answer is 3.</think>The answer is 4.", "4"),
        ("<think>The answer is 3. Or", None),
        ("no opening tag, 5 </think> 6", "6"),
    ],
)
def test_reasoning_in_think_tags_is_not_searched(text: str, key: str | None) -> None:
    answer = get_task("math").extract(text, truncated=False)
    assert (answer and answer.key) == key
