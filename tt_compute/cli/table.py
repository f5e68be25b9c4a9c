"""Columns of text that are never cut: an id that was cut cannot be copied."""

from __future__ import annotations

from collections.abc import Container, Sequence

from rich.cells import cell_len
from rich.text import Text

__all__ = ["Cell", "columns"]

Cell = str | Text
_GAP = "  "


def columns(
    rows: Sequence[Sequence[Cell] | Text],
    *,
    header: Sequence[str] = (),
    right: Container[int] = (),
    indent: str = "",
) -> Text:
    """Lay cells out in columns, each as wide as its widest cell; no line ends in spaces.

    Args:
        rows: Their cells, as many in each; a ``Text`` is a line of its own between them.
        header: Titles of the columns; none = no line for them.
        right: Numbers of the columns to align right.
        indent: Put before every row of cells.
    """
    table = [row for row in rows if not isinstance(row, Text)]
    widths = [max(map(_width, column)) for column in zip(*_with(header, table), strict=True)]

    def line(row: Sequence[Cell], style: str = "") -> Text:
        text = Text(indent)
        for place, (cell, width) in enumerate(zip(row, widths, strict=True)):
            pad = " " * (width - _width(cell))
            last = place == len(row) - 1
            text.append(pad if place in right else "")
            text.append_text(Text(cell, style) if isinstance(cell, str) else cell)
            text.append("" if last or place in right else pad)
            text.append("" if last else _GAP)
        text.rstrip()
        return text

    lines = [line(header, "bold")] if header else []
    lines += [row if isinstance(row, Text) else line(row) for row in rows]
    return Text("\n").join(lines)


def _with(header: Sequence[str], rows: list[Sequence[Cell]]) -> list[Sequence[Cell]]:
    return [header, *rows] if header else rows


def _width(cell: Cell) -> int:
    return cell.cell_len if isinstance(cell, Text) else cell_len(cell)
