"""Columns of text: nothing is cut, everything is aligned."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.text import Text

from tt_compute.cli.table import columns

CELLS = st.text(st.characters(categories=("L", "N", "P")), max_size=12)
TABLES = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=1, max_size=5)
)


@given(TABLES)
def test_every_cell_starts_where_its_column_does(rows: list[list[str]]) -> None:
    """Also cells of two columns' width, such as Chinese ones."""
    lines = columns(rows).plain.split("\n")
    assert len(lines) == len(rows)
    widths = [max(cell_len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for line, row in zip(lines, rows, strict=True):
        padded = (cell + " " * (w - cell_len(cell)) for cell, w in zip(row, widths, strict=True))
        assert line == "  ".join(padded).rstrip()


def test_numbers_are_aligned_right() -> None:
    out = columns([("a", "1"), ("b", "100")], header=("name", "n"), right={1}).plain
    assert out == "name    n\na       1\nb     100"


def test_a_line_between_rows_takes_no_part_in_the_columns() -> None:
    out = columns([Text("a heading that is long"), ("a", "1")], indent="  ").plain
    assert out == "a heading that is long\n  a  1"


def test_no_rows_are_no_text() -> None:
    assert columns([]).plain == ""
