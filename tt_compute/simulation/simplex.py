"""The simplex method, for the few rows and columns of a fleet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Optimum", "maximise"]

_ZERO = 1e-12


class Optimum(NamedTuple):
    """The best there is."""

    value: float
    worth: tuple[float, ...]
    """By constraint: what one more unit of its bound would add (the shadow price); 0 where it does not bind."""


def maximise(
    gains: Sequence[float], uses: Sequence[Sequence[float]], bounds: Sequence[float]
) -> Optimum | None:
    """Maximise gains . x under uses x <= bounds and x >= 0, from x = 0; None when there is no end to it.

    Bland's rule picks the pivots, so that it ends. Source: Chvatal, Linear Programming, chapters 2 and 3.

    Args:
        gains: Of each variable.
        uses: One row for each constraint.
        bounds: Of each constraint, not negative.
    """
    count, slacks = len(gains), len(bounds)
    table = [
        [*row, *(1.0 if place == other else 0.0 for other in range(slacks)), bound]
        for place, (row, bound) in enumerate(zip(uses, bounds, strict=True))
    ]
    goal = [*(-gain for gain in gains), *[0.0] * (slacks + 1)]
    basis = list(range(count, count + slacks))
    while True:
        column = next((place for place, value in enumerate(goal[:-1]) if value < -_ZERO), None)
        if column is None:
            return Optimum(goal[-1], tuple(goal[count:-1]))
        leaving = [
            (row[-1] / row[column], basis[place], place)
            for place, row in enumerate(table)
            if row[column] > _ZERO
        ]
        if not leaving:
            return None
        _, _, place = min(leaving)
        basis[place] = column
        pivot = table[place] = [value / table[place][column] for value in table[place]]
        for row in (*table[:place], *table[place + 1 :], goal):
            factor = row[column]
            if factor:
                row[:] = [value - factor * other for value, other in zip(row, pivot, strict=True)]
