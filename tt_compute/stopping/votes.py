"""Votes as stop rules see them: how many each answer has, and, for rules that ask, the order they came in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

from tt_compute.errors import InvalidRequestError

__all__ = ["NO_VOTE", "Votes", "order_of", "top_two", "with_vote"]

NO_VOTE = -1
"""A sample that ended without an answer, where a place would tell for which answer it votes."""


class Votes(Sequence[int]):
    """The votes of each answer, by its place, which also know the order in which they came.

    Attributes:
        order: Of each sample, in turn, the place of its answer, or ``NO_VOTE``.
    """

    __slots__ = ("_counts", "order")

    def __init__(self, order: Iterable[int] = ()) -> None:
        self.order: tuple[int, ...] = tuple(order)
        self._counts = [0] * (max(self.order, default=NO_VOTE) + 1)
        for place in self.order:
            if place != NO_VOTE:
                self._counts[place] += 1

    def __len__(self) -> int:
        return len(self._counts)

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[int]: ...
    def __getitem__(self, index: int | slice) -> int | Sequence[int]:
        return self._counts[index]

    def __iter__(self) -> Iterator[int]:
        return iter(self._counts)

    def __repr__(self) -> str:
        return f"Votes({self.order!r})"


def order_of(rule: str, counts: Sequence[int]) -> tuple[int, ...]:
    """The order in which the votes came.

    Raises:
        InvalidRequestError: Only the counts are known.
    """
    if isinstance(counts, Votes):
        return counts.order
    raise InvalidRequestError(
        f"the stop rule {rule!r} depends on the order of the votes, and only their counts were given",
        hint="pass tt_compute.stopping.Votes(order)",
    )


def with_vote(counts: Sequence[int], place: int) -> Sequence[int]:
    """The votes after one more; ``place`` may lie past their end, or be ``NO_VOTE``."""
    if isinstance(counts, Votes):
        return Votes((*counts.order, place))
    if place == NO_VOTE:
        return counts
    grown = [*counts, *[0] * (place + 1 - len(counts))]
    grown[place] += 1
    return grown


def top_two(counts: Sequence[int]) -> tuple[int, int]:
    """Votes of the leader and of the runner-up; 0 where there is none."""
    first = second = 0
    for votes in counts:
        if votes > first:
            first, second = votes, first
        elif votes > second:
            second = votes
    return first, second
