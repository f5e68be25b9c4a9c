"""``beta``: Adaptive-Consistency."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar

import msgspec

from tt_compute.stopping.parameters import Parameters, full_name, require
from tt_compute.stopping.rule import Sees, fewest_for_leader
from tt_compute.stopping.votes import top_two

__all__ = ["BETA_THRESHOLD", "BetaRule", "beta_posterior"]

BETA_THRESHOLD = 0.95
"""Confidence of Adaptive-Consistency's experiments (arXiv 2305.11860)."""
_EXAMPLE = f"beta:{BETA_THRESHOLD}"


class BetaRule(msgspec.Struct, frozen=True):
    """Stop once P(the leader beats the runner-up | their votes) = ``beta_posterior`` reaches a threshold.

    Source: Adaptive-Consistency, arXiv 2305.11860, its Beta criterion.
    """

    sees: ClassVar[Sees] = "top_two"
    threshold: float = BETA_THRESHOLD

    def __post_init__(self) -> None:
        """Refuse thresholds that one vote meets or that none can.

        Raises:
            InvalidRequestError: The threshold is not between 0.5 and 1.
        """
        require(
            "beta",
            holds=0.5 < self.threshold < 1,  # noqa: PLR2004 - the posterior's range
            what="a threshold between 0.5 and 1 is expected",
            got=self.threshold,
            example=_EXAMPLE,
        )

    @classmethod
    def parse(cls, text: str) -> BetaRule:
        return cls(Parameters("beta", text, 1, _EXAMPLE).number(0, "threshold", BETA_THRESHOLD))

    @property
    def name(self) -> str:
        return full_name("beta", [self.threshold], [BETA_THRESHOLD])

    def posterior(self, counts: Sequence[int]) -> float | None:
        first, second = top_two(counts)
        return None if first == 0 else beta_posterior(first, second)

    def settled(self, counts: Sequence[int]) -> bool:
        posterior = self.posterior(counts)
        return posterior is not None and posterior >= self.threshold

    def min_more(self, counts: Sequence[int], remaining: int) -> int:
        first, second = top_two(counts)
        return fewest_for_leader(
            lambda more: beta_posterior(first + more, second) >= self.threshold, remaining
        )


@lru_cache(maxsize=1 << 16)
def beta_posterior(first: int, second: int) -> float:
    """P(the leader is the true majority of it and the runner-up), under a uniform prior.

    Integral of p^v1 (1-p)^v2 over [1/2, 1] divided by that over [0, 1] = 1 - I_{1/2}(v1+1, v2+1), which
    for whole numbers is P(Bin(v1+v2+1, 1/2) <= v1). Computed in whole numbers, rounded once.

    Args:
        first: Votes of the leader.
        second: Votes of the runner-up.
    """
    trials = first + second + 1
    # The upper tail P(Bin > v1) equals P(Bin <= v2) by symmetry and is the shorter sum.
    tail = 0
    ways = 1
    for successes in range(second + 1):
        tail += ways
        ways = ways * (trials - successes) // (successes + 1)
    return ((1 << trials) - tail) / (1 << trials)
