"""``agreement``: a share of the votes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from tt_compute.stopping.parameters import MOST, Parameters, full_name, require
from tt_compute.stopping.rule import Sees, fewest_for_leader
from tt_compute.stopping.votes import top_two

__all__ = ["AgreementRule"]

_SHARE, _LEAST = 0.75, 2
"""its_hub's, whose first wave has two samples."""
_EXAMPLE = f"agreement:{_SHARE},4"


class AgreementRule(msgspec.Struct, frozen=True):
    """Stop once v1 / n reaches a share, of at least so many votes; samples without an answer are no votes.

    Nothing is bounded: two equal votes are enough by default.

    Source: AdaptiveSelfConsistency of its_hub 1.2.0, which asks only after waves of 2, 4, 8, ... samples; the
    Majority criterion of Adaptive-Consistency's code (at 0.8).

    Attributes:
        share: Of the leader.
        least: Fewest votes.
    """

    sees: ClassVar[Sees] = "counts"
    share: float = _SHARE
    least: int = _LEAST

    def __post_init__(self) -> None:
        """Refuse shares that a tie can have.

        Raises:
            InvalidRequestError: A parameter is out of range.
        """
        require(
            "agreement",
            holds=0.5 < self.share <= 1,  # noqa: PLR2004 - half can be had twice
            what="a share above 0.5, up to 1, is expected as the first parameter",
            got=self.share,
            example=_EXAMPLE,
        )
        require(
            "agreement",
            holds=1 <= self.least <= MOST,
            what=f"1 to {MOST} votes are expected as the second parameter",
            got=self.least,
            example=_EXAMPLE,
        )

    @classmethod
    def parse(cls, text: str) -> AgreementRule:
        given = Parameters("agreement", text, 2, _EXAMPLE)
        return cls(given.number(0, "share", _SHARE), given.whole(1, "number of votes", _LEAST))

    @property
    def name(self) -> str:
        return full_name("agreement", [self.share, self.least], [_SHARE, _LEAST])

    def posterior(self, counts: Sequence[int]) -> float | None:  # noqa: ARG002 - a share is no probability
        return None

    def settled(self, counts: Sequence[int]) -> bool:
        return self._agreed(top_two(counts)[0], sum(counts))

    def min_more(self, counts: Sequence[int], remaining: int) -> int:
        first, votes = top_two(counts)[0], sum(counts)
        return fewest_for_leader(lambda more: self._agreed(first + more, votes + more), remaining)

    def _agreed(self, first: int, votes: int) -> bool:
        return votes >= self.least and first >= self.share * votes
