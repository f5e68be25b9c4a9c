"""The exact verifier of the game of 24."""

from __future__ import annotations

import pytest

from game24 import solves


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("(10 - 6) * (5 + 1) = 24", True),
        ("Answer: (10 - 6) * (5 + 1) = 24", True),
        ("answer: (10 - 6) * (5 + 1)", True),
        ("(10 - 6) * (5 + 1) = 25", True),
        ("(10 - 6) * 6 = 24", False),
        ("(10 - 6) * (5 + 1) * 1 = 24", False),
        ("(10 + 6) + (5 + 1)", False),
        ("24", False),
        ("10 / (6 - 5 - 1)", False),
        ("10 - 6 * (5 + 1) + 44 - 4", False),
        ("10 ** 6 - 5 + 1", False),
        ("__import__('os').getpid()", False),
        ("(10 - 6 * (5 + 1)", False),
        ("10.0 - 6 + 5 + 1", False),
        ("", False),
        ("(" * 5000, False),
    ],
)
def test_an_expression_must_make_24_of_each_number_once(text: str, right: bool) -> None:
    """Whatever the text claims it comes to; nothing but arithmetic is evaluated."""
    assert solves([1, 5, 6, 10], text) is right


def test_fractions_are_exact() -> None:
    """Where floating point gives 23.999999999999989."""
    assert solves([3, 3, 8, 8], "8 / (3 - 8 / 3) = 24")
