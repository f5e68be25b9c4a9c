"""``lead``: so many votes ahead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from tt_compute.stopping.parameters import MOST, Parameters, full_name, require
from tt_compute.stopping.rule import Sees
from tt_compute.stopping.votes import top_two

__all__ = ["LEAD", "LeadRule"]

LEAD = 3
"""What ConSol's default test comes to."""
_EXAMPLE = f"lead:{LEAD}"


class LeadRule(msgspec.Struct, frozen=True):
    """Stop once v1 - v2 >= k.

    For two answers with odds of r to 1 the vote then stops at the wrong one with probability 1 / (r^k + 1),
    the gambler's ruin: the rule bounds nothing where the odds are near even, and at k = 3 and odds of 2 to 1
    errs in one of nine votes.

    ConSol's default test (arXiv 2503.17587, ``sprt``) is algebraically this rule with k = 3.
    """

    sees: ClassVar[Sees] = "top_two"
    votes: int = LEAD

    def __post_init__(self) -> None:
        """Refuse leads that are none.

        Raises:
            InvalidRequestError: The lead is below 1.
        """
        require(
            "lead",
            holds=1 <= self.votes <= MOST,
            what=f"a lead of 1 to {MOST} votes is expected",
            got=self.votes,
            example=_EXAMPLE,
        )

    @classmethod
    def parse(cls, text: str) -> LeadRule:
        return cls(Parameters("lead", text, 1, _EXAMPLE).whole(0, "lead", LEAD))

    @property
    def name(self) -> str:
        return full_name("lead", [self.votes], [LEAD])

    def posterior(self, counts: Sequence[int]) -> float | None:  # noqa: ARG002 - it has no figure
        return None

    def settled(self, counts: Sequence[int]) -> bool:
        first, second = top_two(counts)
        return first - second >= self.votes

    def min_more(self, counts: Sequence[int], remaining: int) -> int:
        first, second = top_two(counts)
        return min(max(0, self.votes - (first - second)), remaining)
