"""``certain``: the leader cannot be caught any more."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import msgspec

from tt_compute.stopping.parameters import Parameters
from tt_compute.stopping.rule import Sees
from tt_compute.stopping.votes import top_two

__all__ = [
    "CertainRule",
    "certain",
    "certain_by_weight",
    "fewest_until_certain",
    "fewest_until_certain_by_weight",
]


class CertainRule(msgspec.Struct, frozen=True):
    """Stop only once no outcome of the rest of the budget could change the answer: v1 - v2 > what remains.

    The answer is always that of the whole budget. Every vote with a stop rule ends there at the latest
    (``decided``); this rule adds nothing to it, and is never satisfied by the votes alone.
    """

    sees: ClassVar[Sees] = "top_two"

    @classmethod
    def parse(cls, text: str) -> CertainRule:
        Parameters("certain", text, 0, "certain")
        return cls()

    @property
    def name(self) -> str:
        return "certain"

    def posterior(self, counts: Sequence[int]) -> float | None:  # noqa: ARG002 - it has no figure
        return None

    def settled(self, counts: Sequence[int]) -> bool:  # noqa: ARG002 - it takes the budget too
        return False

    def min_more(self, counts: Sequence[int], remaining: int) -> int:
        return min(fewest_until_certain(counts, remaining), remaining)


def certain(counts: Sequence[int], remaining: int) -> bool:
    """Whether no outcome of the ``remaining`` samples could let another answer reach the leader."""
    first, second = top_two(counts)
    return first - second > remaining


def fewest_until_certain(counts: Sequence[int], remaining: int) -> int:
    """Fewest of the ``remaining`` samples after which the leader may be ``certain``; it can be all of them and one."""
    first, second = top_two(counts)
    # After k votes for it the leader is certain once first + k - second > remaining - k.
    return max(0, (remaining - (first - second)) // 2 + 1)


def certain_by_weight(weights: Sequence[float], remaining: int) -> bool:
    """``certain`` where answers have the summed weights of their votes, none of which can be more than 1."""
    return _ahead(weights) > remaining


def fewest_until_certain_by_weight(weights: Sequence[float], remaining: int) -> int:
    """``fewest_until_certain``, likewise: a lower bound, reached when all of them agree at weight 1."""
    return max(0, math.floor((remaining - _ahead(weights)) / 2) + 1)


def _ahead(weights: Sequence[float]) -> float:
    """The leader's weight less the runner-up's."""
    first, second = sorted([0.0, 0.0, *weights])[:-3:-1]
    return first - second
