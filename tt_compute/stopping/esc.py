"""``esc``: early-stopping self-consistency."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from tt_compute.stopping.parameters import MOST, Parameters, full_name, require
from tt_compute.stopping.rule import Sees
from tt_compute.stopping.votes import NO_VOTE, order_of

__all__ = ["ESC_WINDOW", "EscRule", "esc_samples"]

ESC_WINDOW = 5
"""Window of ESC's experiments but for MATH."""
_EXAMPLE = f"esc:{ESC_WINDOW}"


class EscRule(msgspec.Struct, frozen=True):
    """Samples are told off in windows of w; stop once all of one window gave the same answer.

    A sample without an answer breaks its window. How often a vote stops wrongly is not bounded: a window may
    agree on anything.

    Source: ESC, arXiv 2401.10480. Its code then answers with that window's answer, and with the vote over all
    samples at the end of the budget; here all samples drawn vote.
    """

    sees: ClassVar[Sees] = "order"
    window: int = ESC_WINDOW

    def __post_init__(self) -> None:
        """Refuse windows in which nothing can disagree.

        Raises:
            InvalidRequestError: The window holds fewer than two samples.
        """
        require(
            "esc",
            holds=2 <= self.window <= MOST,  # noqa: PLR2004 - one sample agrees with itself
            what=f"a window of 2 to {MOST} samples is expected",
            got=self.window,
            example=_EXAMPLE,
        )

    @classmethod
    def parse(cls, text: str) -> EscRule:
        return cls(Parameters("esc", text, 1, _EXAMPLE).whole(0, "window", ESC_WINDOW))

    @property
    def name(self) -> str:
        return full_name("esc", [self.window], [ESC_WINDOW])

    def posterior(self, counts: Sequence[int]) -> float | None:  # noqa: ARG002 - it has no figure
        return None

    def settled(self, counts: Sequence[int]) -> bool:
        order = order_of("esc", counts)
        ends = range(self.window, len(order) + 1, self.window)
        return any(_agree(order[end - self.window : end]) for end in ends)

    def min_more(self, counts: Sequence[int], remaining: int) -> int:
        if self.settled(counts):
            return 0
        order = order_of("esc", counts)
        begun = len(order) % self.window
        more = self.window - begun
        if begun and not _agree(order[-begun:]):
            more += self.window
        return min(more, remaining)


def _agree(window: Sequence[int]) -> bool:
    return window[0] != NO_VOTE and all(vote == window[0] for vote in window)


def esc_samples(shares: Sequence[float], window: int, budget: int) -> float:
    """Mean number of samples that ESC draws, where a sample gives answer t with probability ``shares[t]``.

    With q = sum over t of p_t^w, the chance that a window agrees, of the at most N/w windows the i-th is
    the last with probability q (1-q)^(i-1), and the last of all with what is left:

        E[n] = w (sum over i = 0 .. N/w - 2 of q (1-q)^i (i+1) + (1-q)^(N/w - 1) N/w).

    Source: ESC, arXiv 2401.10480, its control scheme. It knows nothing of votes that are decided because the
    leader cannot be caught.

    Args:
        shares: Probabilities of the answers; samples without one are what is left of 1.
        window: w.
        budget: N, a multiple of ``window``.
    """
    assert budget % window == 0
    windows = budget // window
    agree = sum(share**window for share in shares)
    early = sum(agree * (1 - agree) ** i * (i + 1) for i in range(windows - 1))
    return window * (early + (1 - agree) ** (windows - 1) * windows)
