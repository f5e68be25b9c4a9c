"""``sprt``: Wald's sequential probability ratio test, as ConSol uses it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import msgspec

from tt_compute.stopping.parameters import Parameters, full_name, require
from tt_compute.stopping.rule import Sees, fewest_for_leader
from tt_compute.stopping.votes import top_two

__all__ = ["SprtRule"]

_P1, _ALPHA, _BETA = 0.5001, 0.05, 0.949976
"""ConSol's defaults."""
_EXAMPLE = "sprt:0.7,0.05,0.1"


class SprtRule(msgspec.Struct, frozen=True):
    """Stop once the likelihood of "the leader gets p1 of the votes of the top two" over "each gets half" is high.

        v1 ln(p1 / 0.5) + v2 ln((1 - p1) / 0.5) >= ln((1 - beta) / alpha).

    The errors alpha and beta are Wald's only for two answers named before the first vote, not for whichever
    lead. With ConSol's defaults (p1 = 0.5001, alpha = 0.05, beta = 0.949976) the logarithms are +-0.0002 and
    the bound is 0.00048, so that it says "v1 - v2 >= 3", as ``lead`` does, and bounds no error.

    The test's lower bound, at which ConSol gives up on telling the two apart, is left out: it would end a vote
    that nothing has settled. With the defaults it lies beyond 1200 votes.

    Source: Wald 1945; ConSol, arXiv 2503.17587.

    Attributes:
        p1: Share of the leader among the votes of the top two, if it is the answer.
        alpha: Error of the first kind.
        beta: Error of the second kind.
    """

    sees: ClassVar[Sees] = "top_two"
    p1: float = _P1
    alpha: float = _ALPHA
    beta: float = _BETA

    def __post_init__(self) -> None:
        """Refuse tests that no vote or any vote passes.

        Raises:
            InvalidRequestError: A parameter is out of range.
        """
        require(
            "sprt",
            holds=0.5 < self.p1 < 1,  # noqa: PLR2004 - half is the other hypothesis
            what="a share p1 between 0.5 and 1 is expected as the first parameter",
            got=self.p1,
            example=_EXAMPLE,
        )
        require(
            "sprt",
            holds=self.alpha > 0 and self.beta > 0 and self.alpha + self.beta < 1,
            what="errors alpha and beta above 0 that add up to less than 1 are expected",
            got=f"{self.alpha} and {self.beta}",
            example=_EXAMPLE,
        )

    @classmethod
    def parse(cls, text: str) -> SprtRule:
        given = Parameters("sprt", text, 3, _EXAMPLE)
        return cls(
            given.number(0, "share p1", _P1),
            given.number(1, "error alpha", _ALPHA),
            given.number(2, "error beta", _BETA),
        )

    @property
    def name(self) -> str:
        return full_name("sprt", [self.p1, self.alpha, self.beta], [_P1, _ALPHA, _BETA])

    def posterior(self, counts: Sequence[int]) -> float | None:  # noqa: ARG002 - it has no figure
        return None

    def settled(self, counts: Sequence[int]) -> bool:
        return self._passed(*top_two(counts))

    def min_more(self, counts: Sequence[int], remaining: int) -> int:
        first, second = top_two(counts)
        return fewest_for_leader(lambda more: self._passed(first + more, second), remaining)

    def _passed(self, first: int, second: int) -> bool:
        ratio = first * math.log(self.p1 / 0.5) + second * math.log((1 - self.p1) / 0.5)
        return ratio >= math.log((1 - self.beta) / self.alpha)
