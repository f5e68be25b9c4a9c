"""What holds for every text: reading never raises, ends soon, and gives one key to one number."""

from __future__ import annotations

from fractions import Fraction

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tt_compute.types import Message
from tt_compute.verify.math_process import MathProcess
from tt_compute.verify.math_reading import read_answer, read_expression
from tt_compute.verify.rational import number_from_key, same_number
from tt_compute.verify.tasks import detect_task, get_task

KINDS = ("math", "choice", "json", "code", "open")
PROMPT = (Message(role="user", content="Which?\nA) red\nB) green\nC) blue"),)

# Pieces that the readers look for, so that random texts reach the code behind the marks.
PIECES = (
    *(
        "\\boxed{",
        "\\boxed ",
        "\\fbox{",
        "}",
        "{",
        "[",
        "]",
        "(",
        ")",
        "$",
        "\\(",
        "\\)",
        "\\[",
        "\\]",
    ),
    *(
        "####",
        "the answer is ",
        "Answer: ",
        "**",
        "```",
        "```json\n",
        "\n",
        " ",
        ". ",
        ",",
        "=",
        "-",
    ),
    *(
        "1",
        "42",
        "1,000",
        "3/4",
        "1/0",
        "0.5",
        "%",
        "\\frac{1}{2}",
        "\\frac",
        "e5",
        "^",
        "_",
        "\\text{",
    ),
    *("A", "(B)", "B) ", "option C is correct", '{"a": 1}', '{"a": ', "null", '"', "\\", "<think>"),
    *(
        "</think>",
        "apples",
        " and ",
        "\u00bd",
        "\u2212",
        "\u0663",
        "\ud800",
        "\x00",
        "def f():",
        "million",
    ),
)
texts = st.one_of(
    st.text(max_size=200),
    st.lists(st.sampled_from(PIECES), max_size=40).map("".join),
)


@given(text=texts, truncated=st.booleans(), kind=st.sampled_from(KINDS), prompted=st.booleans())
def test_extraction_never_raises_and_an_answer_always_has_a_key(
    text: str, truncated: bool, kind: str, prompted: bool
) -> None:
    task = get_task(kind, PROMPT if prompted else None)
    answer = task.extract(text, truncated=truncated)
    assert answer is None or (answer.key and answer.text)
    assert not (truncated and answer is not None and not answer.explicit)


@given(text=texts)
def test_detection_never_raises(text: str) -> None:
    assert detect_task([Message(role="user", content=text)]) in KINDS


@given(text=texts, truncated=st.booleans())
def test_reading_is_deterministic_and_its_key_reads_back_as_itself(
    text: str, truncated: bool
) -> None:
    reading = read_answer(text, truncated=truncated)
    assert reading == read_answer(text, truncated=truncated)
    number = None if reading is None else number_from_key(reading.key)
    if number is not None:
        again = read_expression(number.key)
        assert again is not None
        assert reading is not None
        assert again.key == reading.key


LONG = 1_000_000
PATTERNS = (
    *(
        "{",
        "}",
        "[",
        "(",
        '"',
        "\\",
        "`",
        "$",
        "1",
        "9,",
        "1,111,",
        "1 ",
        "1/",
        ".5",
        " ",
        "\n",
        "-",
    ),
    *(
        "\\boxed{",
        "\\boxed",
        "\\fbox{x",
        "#### ",
        "#### 5\n",
        "**",
        "**B**",
        "answer is ",
        "answer:",
    ),
    *(
        "the answer is 5 ",
        "the answer for ",
        "\\frac{1}{",
        "\\(1",
        "$1",
        "\\text{",
        "```\n",
        '{"a":',
    ),
    *(
        '\\"',
        "[[",
        "A) ",
        "A. x\n",
        "option A is ",
        "xy ",
        "\u00bd",
        "<think>",
        "1" + " " * 1000,
        "def a",
    ),
)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", KINDS)
def test_a_megabyte_of_anything_is_read_in_bounded_time(kind: str) -> None:
    """Quadratic reading would take hours; the whole table takes seconds."""
    task = get_task(kind, PROMPT)
    for pattern in PATTERNS:
        text = (pattern * (LONG // len(pattern) + 1))[:LONG]
        task.extract(text, truncated=len(pattern) % 2 == 0)


@pytest.mark.timeout(60)
def test_a_megabyte_of_prompt_is_classified_in_bounded_time() -> None:
    for pattern in PATTERNS:
        detect_task([Message(role="user", content=(pattern * LONG)[:LONG])])


fractions = st.fractions(min_value=-(10**12), max_value=10**12, max_denominator=10**6)


def _spellings(value: Fraction) -> list[str]:
    """The same number as different people would write it."""
    top, bottom = abs(value.numerator), value.denominator
    sign = "-" if value < 0 else ""
    found = [
        f"{sign}{top}/{bottom}",
        f"{sign}\\frac{{{top}}}{{{bottom}}}",
        f"{sign}\\dfrac{{{top * 3}}}{{{bottom * 3}}}",
        f"\\boxed{{{sign}\\frac{{{top}}}{{{bottom}}}}}",
        f"x = {sign}{top} / {bottom}",
    ]
    if bottom == 1:
        found += [f"{sign}{top:,}", f"{sign}{top}.00", f"{sign}${top:,}", f"{sign}{top} apples"]
    elif top > bottom:
        found.append(f"{sign}{top // bottom} {top % bottom}/{bottom}")
    return found


@given(value=fractions)
def test_every_spelling_of_a_number_has_the_same_key(value: Fraction) -> None:
    keys = set[str]()
    for spelling in _spellings(value):
        reading = read_answer(f"The answer is {spelling}.", truncated=False)
        assert reading is not None, spelling
        keys.add(reading.key)
    assert keys == {str(value)}


@given(value=st.decimals(min_value=-(10**9), max_value=10**9, places=4))
def test_a_decimal_is_read_exactly(value: object) -> None:
    reading = read_expression(f"{value:f}")
    assert reading is not None
    assert reading.key == str(Fraction(str(value)))


number_keys = st.tuples(st.fractions(max_denominator=100), st.booleans()).map(
    lambda pair: f"{pair[0]}{'%' if pair[1] else ''}"
)


@given(first=number_keys, second=number_keys)
def test_equality_of_numbers_is_reflexive_and_symmetric(first: str, second: str) -> None:
    one, other = number_from_key(first), number_from_key(second)
    assert one is not None
    assert other is not None
    assert same_number(one, one)
    assert same_number(one, other) == same_number(other, one)


@given(text=texts, other=texts, kind=st.sampled_from(KINDS))
def test_equivalence_is_reflexive_and_symmetric_for_every_task(
    text: str, other: str, kind: str
) -> None:
    """Without math-verify, so that no child is asked; the child's own symmetry has its own table."""
    task = get_task(kind, PROMPT, math_process=MathProcess(installed=False))
    first, second = task.extract(text, truncated=False), task.extract(other, truncated=False)
    if first is None or second is None:
        return

    async def ask() -> tuple[bool, bool, bool]:
        return (
            await task.equivalent(first, first),
            await task.equivalent(first, second),
            await task.equivalent(second, first),
        )

    same, forth, back = anyio.run(ask)
    assert same
    assert forth == back
