r"""Which answer is read out of a sample of a mathematical task."""

from __future__ import annotations

import pytest

from tt_compute.verify.math_reading import read_answer, read_expression
from tt_compute.verify.rational import number_from_key

# Texts as small models write them: chatty, repetitive, full of other numbers.
MARKED = [
    (r"So 3 + 4 = 7. \boxed{7}", "7"),
    (r"First \boxed{3}, no: \boxed{4}.", "4"),
    (r"\[ \boxed{\frac{1}{2}} \]", "1/2"),
    (r"\(\boxed{\frac{3}{4}}\) of the cake", "3/4"),
    (r"the pair $\boxed{\boxed{12}}$", "12"),
    (r"we get \fbox{8}", "8"),
    (r"\boxed{\text{5 apples}}", "5"),
    (r"\boxed{5 \text{ km/h}}", "5"),
    (r"\boxed{\$4.50}", "9/2"),
    (r"\boxed{\$57,500}", "57500"),
    (r"\boxed{1{,}000}", "1000"),
    (r"\boxed{12\,000}", "12000"),
    (r"\boxed{x = 5}", "5"),
    (r"\boxed{2+3=5}", "5"),
    (r"\boxed{-7}", "-7"),
    (r"\boxed{90^\circ}", "90"),
    (r"\boxed{50\%}", "50%"),
    (r"\boxed{\textbf{18}}", "18"),
    (r"\boxed 6 is it", "6"),
    (r"\boxed{}, sorry: the answer is 9.", "9"),
    (r"and thus \boxed{42", "42"),
    (r"thus \[ \boxed{42 \] as said", "42"),
    ("Jo has 5 * 2 = 10 apples.\n#### 10", "10"),
    ("#### $1,234.50", "2469/2"),
    ("The answer is 12.", "12"),
    ("The answer is 12, because 3 * 4 = 12 and 7 is odd.", "12"),
    ("The answer is: 12 apples", "12"),
    ("the final answer is $-3$.", "-3"),
    ("The answer to the question is 17 dollars. She started with 20.", "17"),
    ("The answer is 5 + 7 = 12.", "12"),
    ("The answer is\n\\[\n\\frac{14}{3}\n\\]", "14/3"),
    ("Therefore, the correct answer is **36**.", "36"),
    ("Answer: 7", "7"),
    ("**Answer:** 1,000 people", "1000"),
    ("Answer = 3 1/2 hours", "7/2"),
    ("answer is .5", "1/2"),
    ("### Final Answer\n\n24 eggs", "24"),
    ("**Final answer:** Claire eats 7 dozens of eggs in 4 weeks.", "7"),
    ("The answer is 50%.", "50%"),
    ("The answer is 1.5 million.", "1500000"),
    ("Answer: 5\n\nAnswer: 5\n\nAnswer: 6\n", "6"),
    ("Answer: Let us see. 3 boxes of 4. The answer would be 12.", "12"),
    (r"The answer is $x = 5$.", "5"),
    (r"the answer is \(\frac{2}{3}\) of it", "2/3"),
]

UNMARKED = [
    ("2 + 3 = 5", "5"),
    ("There are 3 boxes of 4 apples, so there are 12 apples.", "12"),
    ("It costs $4.50", "9/2"),
    ("That makes $1,234.50 in total.", "2469/2"),
    ("He walks 3 1/2 miles", "7/2"),
    ("5-3 gives 2, i.e. 5-2", "2"),
    ("The temperature is -4 degrees", "-4"),
    ("It is \u22124 outside", "-4"),
    ("She earns **72** dollars if she sells all 12 soldiers.", "72"),
    ("**72** dollars. She sells all 12.", "12"),
    ("We get 8.\n\n2. Check the result.", "8"),
    ("We get 8, as seen in step 2", "8"),
    ("He came 2nd with 30 points, ahead of the 3rd", "30"),
    ("so it is 25% of them", "25%"),
    (r"so \( \frac{3}{5} \) remain", "3/5"),
    (r"The area is 64, as 2^6 shows: \(x^2\)", "64"),
    ("12:30 is no number, H2O neither, 9 is", "9"),
]

NOTHING = [
    "",
    "I do not know.",
    r"\boxed{}",
    r"\boxed{answer}",
    "The answer is not clear.",
    "1. First\n2. Second",
    "7" * 101,
    "That would be 1/0 of it",
]


@pytest.mark.parametrize(("text", "key"), MARKED)
def test_a_mark_is_found_and_wins_over_other_numbers(text: str, key: str) -> None:
    reading = read_answer(text, truncated=False)
    assert reading is not None
    assert (reading.key, reading.explicit) == (key, True)


@pytest.mark.parametrize(("text", "key"), UNMARKED)
def test_without_a_mark_the_last_number_counts_and_is_not_explicit(text: str, key: str) -> None:
    reading = read_answer(text, truncated=False)
    assert reading is not None
    assert (reading.key, reading.explicit) == (key, False)


@pytest.mark.parametrize("text", NOTHING)
def test_a_text_without_an_answer_abstains(text: str) -> None:
    assert read_answer(text, truncated=False) is None


CUT_COMPLETE = [
    (r"so \boxed{12}", "12"),
    (r"so \boxed{12} and \boxed{1", "12"),
    ("#### 12\n", "12"),
    ("the answer is 12. Let", "12"),
    ("the answer is 12\n", "12"),
    ("the answer is 12 apples because", "12"),
    ("the answer is **12**", "12"),
    ("the answer is $12$", "12"),
    ("the answer is 1.5 million people, which", "1500000"),
    ("Answer: 12\n\nQuestion: how", "12"),
]
CUT_OPEN = [
    "the answer is 12",
    "the answer is 12.",
    "the answer is 12,",
    "the answer is 1.5 mill",
    "the answer is 12 ",
    "the answer is 12 1",
    r"the answer is 12\fr",
    "the answer is $12",
    "#### 12",
    r"\boxed{12",
    r"\boxed{\frac{1}{2}",
    r"\boxed 1",
    "So 3 * 4 = 12. Then 5 + 6 = 11. ",
    "It costs 12 dollars.\n",
]


@pytest.mark.parametrize(("text", "key"), CUT_COMPLETE)
def test_a_cut_text_counts_with_a_mark_that_was_complete(text: str, key: str) -> None:
    reading = read_answer(text, truncated=True)
    assert reading is not None
    assert (reading.key, reading.explicit) == (key, True)


@pytest.mark.parametrize("text", CUT_OPEN)
def test_a_cut_text_abstains_when_more_text_could_change_the_answer(text: str) -> None:
    assert read_answer(text, truncated=True) is None


@pytest.mark.parametrize("text", [text for text, _ in UNMARKED])
def test_a_cut_text_never_counts_by_its_last_number(text: str) -> None:
    assert read_answer(text, truncated=True) is None


NUMBERS = [
    ("007", "7", "007"),
    ("1,234.50", "2469/2", "1234.50"),
    ("$4.50", "9/2", "4.50"),
    ("-$5", "-5", "-5"),
    ("$-5", "-5", "-5"),
    ("\u20ac12", "12", "12"),
    ("3 1/2", "7/2", "3 1/2"),
    ("\u00bd", "1/2", "1/2"),
    (r"1\frac{1}{2}", "3/2", "1 1/2"),
    (r"-\frac{1}{2}", "-1/2", "-1/2"),
    (r"\dfrac{-3}{4}", "-3/4", "-3/4"),
    (r"\frac12", "1/2", "1/2"),
    ("6/8", "3/4", "6/8"),
    ("1 000 000", "1000000", "1000000"),
    ("1e3", "1000", "1e3"),
    (r"1.5 \times 10^{3}", "1500", "1.5e3"),
    ("2.50 dollars", "5/2", "2.50"),
    ("12 cm^2", "12", "12"),
    ("80 m/s", "80", "80"),
    ("5.", "5", "5"),
    ("10%", "10%", "10%"),
    ("10 percent", "10%", "10%"),
    ("12.5\\%", "25/2%", "12.5%"),
    ("\u2248 3.14", "157/50", "3.14"),
]
SYMBOLIC = [
    (r"3\sqrt{13}", r"3\sqrt{13}"),
    (r"3 \sqrt {13} \text{ metres}", r"3\sqrt{13}"),
    (r"\left( 3, \dfrac{\pi}{2} \right)", r"(3,\frac{\pi}{2})"),
    ("5xy", "5xy"),
    ("5x + 3", "5x+3"),
    (r"2\pi r", r"2\pi r"),
    ("2pi", r"2\pi"),
    ("sqrt(3)/2", r"\sqrt{3}/2"),
    ("y = 2x + 3", "2x+3"),
    ("x^2 + y^2 = 1", "x^2+y^2=1"),
    ("x = 1 or x = 2", "x=1,x=2"),
    ("1, -2", "1,-2"),
    ("p - q", "p-q"),
]


@pytest.mark.parametrize(("text", "key", "shown"), NUMBERS)
def test_a_number_is_read_exactly_and_shown_without_its_dressing(
    text: str, key: str, shown: str
) -> None:
    reading = read_expression(text)
    assert reading is not None
    assert (reading.key, reading.text, reading.symbolic) == (key, shown, False)


@pytest.mark.parametrize(("text", "key"), SYMBOLIC)
def test_what_is_no_number_stays_an_expression_in_one_spelling(text: str, key: str) -> None:
    reading = read_expression(text)
    assert reading is not None
    assert (reading.key, reading.symbolic) == (key, True)


@pytest.mark.parametrize("text", [r"\text{Evelyn}", "Evelyn", "  EVELYN. ", r"\textbf{evelyn}"])
def test_words_are_compared_without_case_and_need_no_mathematics(text: str) -> None:
    reading = read_expression(text)
    assert reading is not None
    assert (reading.key, reading.symbolic) == ('"evelyn"', False)


def test_words_with_several_numbers_are_kept_whole() -> None:
    """'12 hours and 30 minutes' is not 12."""
    reading = read_expression(r"\text{12 hours and 30 minutes}")
    assert reading is not None
    assert reading.key == '"12 hours and 30 minutes"'


def test_nought_over_nought_is_an_expression_and_no_number() -> None:
    reading = read_answer(r"\boxed0/0", truncated=False)
    assert reading is not None
    assert number_from_key(reading.key) is None
