"""``pandora``: draw while one more sample is worth its price."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from tt_compute.stopping.parameters import Parameters, full_name, require

__all__ = ["PandoraRule", "fair_cap"]

_COST, _TOP = 0.01, 1.0
_EXAMPLE = "pandora:0.01"


class PandoraRule(msgspec.Struct, frozen=True):
    """Stop once the best score reaches the fair cap tau: E[(v - tau)+] = c, with c the price of a sample.

    Weitzman's rule for boxes of one kind: a further sample is worth more than it costs exactly while the best
    score is below tau. The distribution of v is not known; taken for it are the n scores so far and one at the
    top, 1 / (n + 1) each. So the rule stops once (top - best) / (n + 1) <= c. That errs towards drawing: of
    exchangeable samples the next one beats the best of n with probability at most 1 / (n + 1), and by no more
    than top - best.

    Source: Weitzman, Econometrica 1979. Optimal stopping of best-of-n by an upper confidence bound on tau:
    arXiv 2510.01394, whose normalisation of rewards is not made here.

    Attributes:
        cost: c, in units of the score.
        top: The highest score that a sample can have.
    """

    cost: float = _COST
    top: float = _TOP

    def __post_init__(self) -> None:
        """Refuse prices at which drawing would never or always pay.

        Raises:
            InvalidRequestError: A parameter is out of range.
        """
        require(
            "pandora",
            holds=0 < self.cost < math.inf,
            what="a price above 0, in units of the score, is expected as the first parameter",
            got=self.cost,
            example=_EXAMPLE,
        )
        require(
            "pandora",
            holds=math.isfinite(self.top),
            what="the highest score that is possible is expected as the second parameter",
            got=self.top,
            example=_EXAMPLE,
        )

    @classmethod
    def parse(cls, text: str) -> PandoraRule:
        given = Parameters("pandora", text, 2, _EXAMPLE)
        return cls(given.number(0, "price", _COST), given.number(1, "highest score", _TOP))

    @property
    def name(self) -> str:
        return full_name("pandora", [self.cost, self.top], [_COST, _TOP])

    def settled(self, scores: Sequence[float]) -> bool:
        return bool(scores) and max(scores) >= fair_cap([*scores, self.top], self.cost)

    def min_more(self, scores: Sequence[float], remaining: int) -> int:
        return 0 if self.settled(scores) else min(1, remaining)


def fair_cap(values: Sequence[float], cost: float) -> float:
    """The tau at which E[(v - tau)+] = ``cost``, for v uniform on ``values``.

    The left side falls from infinity to 0 and is linear between two values: with the k highest of n above
    tau it is (their sum - k tau) / n.
    """
    ranked = sorted(values, reverse=True)
    total = 0.0
    tau = math.nan
    for above, value in enumerate(ranked, 1):
        total += value
        tau = (total - cost * len(ranked)) / above
        if above == len(ranked) or tau >= ranked[above]:
            break
    return tau
