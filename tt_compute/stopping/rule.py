"""What a stop rule is, and what those that only wait for votes of the leader share."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import ClassVar, Literal, Protocol, runtime_checkable

__all__ = ["ScoreRule", "Sees", "StopRule", "Thresholded", "fewest_for_leader"]

Sees = Literal["top_two", "counts", "order"]
"""What decides whether a rule is satisfied: the votes of the leader and the runner-up; those of all answers; the
order of the votes too, which ``votes.Votes`` knows and bare counts do not."""


class StopRule(Protocol):
    """Tells from the votes whether more samples are worth drawing."""

    sees: ClassVar[Sees]

    @property
    def name(self) -> str:
        """What ``parse_stop_rule`` turns back into this rule."""
        ...

    def posterior(self, counts: Sequence[int]) -> float | None:
        """The rule's own figure for its leader, a probability; None without votes, or where it has none."""
        ...

    def settled(self, counts: Sequence[int]) -> bool:
        """Whether these votes are enough."""
        ...

    def min_more(self, counts: Sequence[int], remaining: int) -> int:
        """Fewest further samples after which the rule could be satisfied.

        0 when it is satisfied; ``remaining`` when it cannot be within the ``remaining`` samples.
        """
        ...


@runtime_checkable
class Thresholded(Protocol):
    """Optional: the rule is satisfied from this figure of its ``posterior`` on."""

    @property
    def threshold(self) -> float: ...


class ScoreRule(Protocol):
    """Tells from the scores that a verifier gave whether more samples are worth drawing."""

    @property
    def name(self) -> str:
        """What ``parse_score_rule`` turns back into this rule."""
        ...

    def settled(self, scores: Sequence[float]) -> bool:
        """Whether the best of these scores is good enough; their order is free."""
        ...

    def min_more(self, scores: Sequence[float], remaining: int) -> int:
        """Fewest further samples after which the rule could be satisfied: 0 or 1, as far as any remain."""
        ...


def fewest_for_leader(enough: Callable[[int], bool], remaining: int) -> int:
    """Least k for which k more votes for the leader are enough; ``remaining`` when none of them are.

    Args:
        enough: Once true, true for every larger k: such a number can be bisected.
        remaining: Most votes that could still come.
    """
    return min(bisect_left(range(remaining + 1), 1, key=lambda more: int(enough(more))), remaining)
