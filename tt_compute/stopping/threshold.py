"""``threshold``: a score that is good enough."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from tt_compute.stopping.parameters import Parameters, full_name, require

__all__ = ["ThresholdRule"]

_SCORE = 1.0
"""What verifiers give to what they accept, unless they say otherwise."""
_EXAMPLE = "threshold:0.85"


class ThresholdRule(msgspec.Struct, frozen=True):
    """Stop once the best score is at least this one: satisficing.

    Optimal where the scores' distribution and the price of a sample are known, at the ``fair_cap`` of both.
    """

    score: float = _SCORE

    def __post_init__(self) -> None:
        """Refuse scores that no sample has.

        Raises:
            InvalidRequestError: The score is not finite.
        """
        require(
            "threshold",
            holds=math.isfinite(self.score),
            what="a finite score is expected",
            got=self.score,
            example=_EXAMPLE,
        )

    @classmethod
    def parse(cls, text: str) -> ThresholdRule:
        return cls(Parameters("threshold", text, 1, _EXAMPLE).number(0, "score", _SCORE))

    @property
    def name(self) -> str:
        return full_name("threshold", [self.score], [_SCORE])

    def settled(self, scores: Sequence[float]) -> bool:
        return any(score >= self.score for score in scores)

    def min_more(self, scores: Sequence[float], remaining: int) -> int:
        return 0 if self.settled(scores) else min(1, remaining)
