"""Which letter a multiple-choice sample settles on."""

from __future__ import annotations

import pytest

from tt_compute.types import Message
from tt_compute.verify.choice_task import ChoiceTask, find_options

PROMPT = (
    Message(role="system", content="Options: A) none"),
    Message(
        role="user",
        content="What is the capital of France?\nA) London\nB) Paris\nC) A dog\nD) 5",
    ),
)

SETTLED = [
    ("B", "B"),
    ("B.", "B"),
    ("(b)", "B"),
    ("**B**", "B"),
    ("B) Paris", "B"),
    ("B. Paris\n\nParis is the capital of France.", "B"),
    ("B\n\nParis has been the capital since 987.", "B"),
    ("Paris is the capital.\n\nB", "B"),
    ("Paris is the capital.\nB) Paris", "B"),
    ("The answer is B.", "B"),
    ("The answer is (B) Paris.", "B"),
    ("The correct answer is **B**", "B"),
    ("The correct answer is option B, because Paris is the capital.", "B"),
    ("Answer: B", "B"),
    ("**Answer:** (B)", "B"),
    ("The answer is: B) Paris", "B"),
    ("The answer is Paris.", "B"),
    ("The answer is Paris, because it is.", "B"),
    ("Paris", "B"),
    (r"Thus \boxed{B}", "B"),
    (r"\boxed{\text{B}}", "B"),
    (r"\boxed{\text{(B) Paris}}", "B"),
    (r"\boxed{Paris}", "B"),
    ("Option B is correct.", "B"),
    ("The correct option is B", "B"),
    ("It is not A, since London is in England. **B) Paris**", "B"),
    ("The answer is A dog.", "C"),
    ("The answer is 5", "D"),
    (r"The answer is A... no. \boxed{D}", "D"),
    ("The answer is A. Wait. The answer is B.", "B"),
]
IN_DOUBT = [
    "",
    "I do not know.",
    "A) London\nB) Paris\nC) A dog\nD) 5",
    "**A) London**\n**B) Paris**",
    "The answer is A or B.",
    "The answer is E.",
    r"\boxed{F}",
    "The answer is a hard one.",
    "I think that Paris may be a good place.",
    "A man walks into a bar",
    "The best option is to ask A",
]


@pytest.mark.parametrize(("text", "letter"), SETTLED)
def test_a_letter_that_is_marked_is_the_answer(text: str, letter: str) -> None:
    answer = ChoiceTask(PROMPT).extract(text, truncated=False)
    assert answer is not None
    assert (answer.key, answer.text) == (letter, letter)


@pytest.mark.parametrize("text", IN_DOUBT)
def test_a_text_in_doubt_abstains(text: str) -> None:
    assert ChoiceTask(PROMPT).extract(text, truncated=False) is None


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        (r"\boxed{B} and so", "B"),
        ("The answer is (B)", "B"),
        ("The answer is B. Par", "B"),
        ("The answer is **B**", "B"),
        ("Option B is correct and", "B"),
        ("The answer is B", None),
        ("The correct option is B", None),
        ("B", None),
        ("B) Paris", None),
        (r"\boxed{B", None),
    ],
)
def test_a_cut_text_counts_only_with_a_complete_mark(text: str, letter: str | None) -> None:
    """'The answer is B' may go on as 'The answer is Brazil'."""
    answer = ChoiceTask(PROMPT).extract(text, truncated=True)
    assert (answer and answer.key) == letter


def test_without_a_prompt_letters_to_j_are_possible() -> None:
    task = ChoiceTask()
    answer = task.extract("The answer is (J).", truncated=False)
    assert answer is not None
    assert answer.key == "J"
    assert task.extract("The answer is (K).", truncated=False) is None


@pytest.mark.parametrize("gold", ["B", "b", "(B)", "Paris", "B) Paris"])
def test_a_gold_answer_may_be_a_letter_or_an_option(gold: str) -> None:
    answer = ChoiceTask(PROMPT).read(gold)
    assert answer is not None
    assert answer.key == "B"


@pytest.mark.parametrize(
    ("prompt", "options"),
    [
        ("Pick.\nA) red\nB) green", {"A": "red", "B": "green"}),
        ("Pick.\n(a) red\n(b) green\n(c) blue", {"A": "red", "B": "green", "C": "blue"}),
        ("Pick: (A) red (B) green", {"A": "red", "B": "green"}),
        ("Pick: A) red, B) green, C) blue", {"A": "red", "B": "green", "C": "blue"}),
        ("Pick.\n- **A.** red\n- **B.** green", {"A": "red", "B": "green"}),
        ("Pick.\nA: red\nB: green", {"A": "red", "B": "green"}),
        ("Like: A) x B) y\nA) red\nB) green", {"A": "red", "B": "green"}),
        ("A) red", {}),
        ("B) red\nC) green", {}),
        ("I met A. Smith and B.", {}),
        ("What is f(a) when f(b) = 2?", {}),
        ("", {}),
    ],
)
def test_options_are_lettered_from_a_on_without_a_gap(prompt: str, options: dict[str, str]) -> None:
    assert find_options(prompt) == options
