"""Lines of values in JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tt_compute.testing.json_places import line_of

TEXT = """{
  "a": [1, {"b": 2,
    "c": [3,
      4]}],
  "x:,}": "]",
  "d":
    5
}
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("$", 1),
        ("$.a", 2),
        ("$.a[1].c", 3),
        ("$.a[1].c[1]", 4),
        ("$.d", 7),
        ("$.a[9]", 2),
        ("$.a[1].none.c", 2),
        ("$.d[0]", 7),
        ("$.a[...]", 2),
    ],
)
def test_the_line_of_a_value_or_of_what_is_around_it(path: str, line: int) -> None:
    assert line_of(TEXT, path) == line


@given(
    some.lists(
        some.recursive(some.text() | some.floats(allow_nan=False, allow_infinity=False), some.lists)
    )
)
def test_whatever_stands_before_it(values: list[object]) -> None:
    """With a member a line, member k is at line k + 2."""
    text = (
        "[\n" + ",\n".join(json.dumps(value, ensure_ascii=False) for value in [*values, 0]) + "\n]"
    )
    assert line_of(text, f"$[{len(values)}]") == len(values) + 2
