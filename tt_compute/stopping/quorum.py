"""When enough voters of a panel agree, of whom each votes once."""

from __future__ import annotations

from collections.abc import Sequence

from tt_compute.stopping.votes import top_two

__all__ = ["fewest_to_agree"]


def fewest_to_agree(counts: Sequence[int], agree: int, remaining: int) -> int:
    """How many more votes could end it at the earliest, if all were the leader's.

    It ends once an answer has ``agree`` votes, or no votes that are left could put another one level with it.

    Args:
        counts: Votes of each answer.
        agree: Equal answers that are wanted.
        remaining: Voters who have not voted.

    Returns:
        0 when it is over, or nobody is left.
    """
    first, second = top_two(counts)
    beyond_reach = (remaining - (first - second)) // 2 + 1
    return max(0, min(remaining, agree - first, beyond_reach))
