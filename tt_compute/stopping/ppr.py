"""``ppr``: a bound on P(the vote stops at an answer that is not the most probable one)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar

import msgspec

from tt_compute.stopping.parameters import MOST, Parameters, full_name, require
from tt_compute.stopping.rule import Sees, fewest_for_leader
from tt_compute.stopping.votes import top_two

__all__ = ["PPR_DELTA", "OpenPprRule", "PprRule", "parse_ppr", "ppr_ratio"]

PPR_DELTA = 0.05
"""Error that the rule allows when none is stated."""
_EXAMPLES = "ppr:0.05,5 for five choices, ppr:0.05 for answers without a list"


class PprRule(msgspec.Struct, frozen=True):
    """Stop once the leader has beaten every rival, of K - 1, at the level delta / (K - 1).

    The leader beats a rival where, with n = v1 + v2,

        f(v1, v2) = (n + 1) C(n, v1) 2^-n <= delta / (K - 1).

    f is the prior over the posterior density, at even odds, of the leader's share among the votes of the two.
    It grows with v2 up to v1, so that the runner-up is the rival that counts; one without votes has v2 = 0.

    **Guarantee.** Let samples be independent and b the most probable answer (of those with an answer). If
    there are at most K possible answers, or, however many there are, if P(b) >= 1/K, then

        P(at any time the rule is satisfied with another leader than b) <= delta.

    It holds whenever the vote is looked at (anytime-valid). It is about the model's most probable answer, which
    need not be the right one, and not about votes that end for another reason: at the budget, or because the
    leader cannot be caught within it.

    **Proof.** Let a be another answer, t = P(a) / P(b) <= 1, and look at the samples that are a or b: a has a
    share q = t / (1 + t) <= 1/2 of them. Were it 1/2, then 1 / f, which is the integral over u of
    (2u)^va (2 - 2u)^vb, would be a martingale that starts at 1, and by Ville's inequality
    P(f ever <= alpha) <= alpha. At the first time that f <= alpha with a ahead, its lead is at least 2 (a lead
    of one has f >= 1). Going from 1/2 to q multiplies the probability of a course up to that time by
    (2q)^va (2 - 2q)^vb = (4 q (1 - q))^vb (2q)^(va - vb) <= (2q)^2 = 4 t^2 / (1 + t)^2 <= t. So
    P(a ever beats b) <= alpha t. For the rule to be satisfied by a, a must have beaten b; the sum over all a is
    at most alpha x the sum of t. Of K answers that is at most alpha (K - 1) = delta; and in any case the sum
    of t is (1 - P(b)) / P(b), which P(b) >= 1/K bounds by K - 1.

    Source: Jain et al., *PAC Mode Estimation using PPR Martingale Confidence Sequences*, AISTATS 2022 (PPR-1v1);
    the case of P(b) >= 1/K is ours.

    Attributes:
        delta: Error that is allowed.
        answers: K.
    """

    sees: ClassVar[Sees] = "top_two"
    delta: float
    answers: int

    def __post_init__(self) -> None:
        """Refuse bounds that bound nothing.

        Raises:
            InvalidRequestError: A parameter is out of range.
        """
        _check_delta(self.delta)
        require(
            "ppr",
            holds=2 <= self.answers <= MOST,  # noqa: PLR2004 - a vote has two sides
            what=f"2 to {MOST} possible answers are expected as the second parameter",
            got=self.answers,
            example=_EXAMPLES,
        )

    @property
    def name(self) -> str:
        return full_name("ppr", [self.delta, self.answers], [PPR_DELTA, None])

    @property
    def threshold(self) -> float:
        return 1 - self.delta

    def posterior(self, counts: Sequence[int]) -> float | None:
        """1 - the least delta at which the rule would be satisfied."""
        first, second = top_two(counts)
        return max(0.0, 1 - (self.answers - 1) * ppr_ratio(first, second)) if first else None

    def settled(self, counts: Sequence[int]) -> bool:
        return self._beaten(*top_two(counts))

    def min_more(self, counts: Sequence[int], remaining: int) -> int:
        first, second = top_two(counts)
        return fewest_for_leader(lambda more: self._beaten(first + more, second), remaining)

    def _beaten(self, first: int, second: int) -> bool:
        return ppr_ratio(first, second) * (self.answers - 1) <= self.delta


class OpenPprRule(msgspec.Struct, frozen=True):
    """``ppr`` where nothing is known of how many answers are possible.

    With d different answers so far, stop once the leader, less one vote, has beaten the runner-up at the level
    delta_d = delta x 6 / (pi d)^2:

        f(v1 - 1, v2) <= delta_d, with f as in ``PprRule``.

    **Guarantee.** That of ``PprRule``, for any number of answers, infinitely many too, and any probabilities.

    **Proof.** Let b be the most probable answer and A_j the j-th answer to turn up. When it does, at time T_j,
    all later samples are independent of what came before. If A_j is not b, then among the samples after T_j
    that are A_j or b, A_j has a share of at most 1/2, and so, as shown in ``PprRule``,
    P(f, of the votes after T_j, ever <= delta_j with A_j ahead) <= delta_j. The sum over all j is at most
    delta, since 1 + 1/4 + 1/9 + ... = pi^2 / 6. Nothing was chosen by looking at the votes that are counted:
    the vote that made A_j the j-th is left out. Now let the rule be satisfied by A_j, not b. After T_j it got
    v1 - 1 votes, and b at most the runner-up's v2. f grows with the rival's votes up to the leader's, so
    f after T_j <= f(v1 - 1, v2) <= delta_d <= delta_j, because j <= d: the event above.
    """

    sees: ClassVar[Sees] = "counts"
    delta: float = PPR_DELTA

    def __post_init__(self) -> None:
        """Refuse bounds that bound nothing.

        Raises:
            InvalidRequestError: The error is not between 0 and 1.
        """
        _check_delta(self.delta)

    @property
    def name(self) -> str:
        return full_name("ppr", [self.delta], [PPR_DELTA])

    @property
    def threshold(self) -> float:
        return 1 - self.delta

    def posterior(self, counts: Sequence[int]) -> float | None:
        """1 - the least delta at which the rule would be satisfied."""
        first, second = top_two(counts)
        return max(0.0, 1 - self._spent(first, second, _different(counts))) if first else None

    def settled(self, counts: Sequence[int]) -> bool:
        first, second = top_two(counts)
        return first > 0 and self._spent(first, second, _different(counts)) <= self.delta

    def min_more(self, counts: Sequence[int], remaining: int) -> int:
        first, second = top_two(counts)
        different = max(1, _different(counts))

        def enough(more: int) -> bool:
            votes = first + more
            return votes > 0 and self._spent(votes, second, different) <= self.delta

        return fewest_for_leader(enough, remaining)

    @staticmethod
    def _spent(first: int, second: int, different: int) -> float:
        """The least delta at which the rule is satisfied; at least 1 without a lead."""
        return ppr_ratio(first - 1, second) * (math.pi * different) ** 2 / 6


def parse_ppr(text: str) -> PprRule | OpenPprRule:
    """``delta,k``, or ``delta`` alone where the number of answers is not known."""
    given = Parameters("ppr", text, 2, _EXAMPLES)
    delta, answers = given.number(0, "error", PPR_DELTA), given.whole(1, "number of answers", None)
    return OpenPprRule(delta) if answers is None else PprRule(delta, answers)


@lru_cache(maxsize=1 << 16)
def ppr_ratio(first: int, second: int) -> float:
    """(n + 1) C(n, v1) 2^-n with n = v1 + v2, in whole numbers, rounded once."""
    n = first + second
    return (n + 1) * math.comb(n, first) / (1 << n)


def _different(counts: Sequence[int]) -> int:
    return sum(votes > 0 for votes in counts)


def _check_delta(delta: float) -> None:
    require(
        "ppr",
        holds=0 < delta < 1,
        what="an error between 0 and 1 is expected as the first parameter",
        got=delta,
        example=_EXAMPLES,
    )
