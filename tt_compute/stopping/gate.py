"""``gate``: another rule, at the door to a stronger model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from tt_compute.errors import InvalidRequestError
from tt_compute.stopping.rule import Sees, StopRule

__all__ = ["GATE", "Gate", "gate_of"]

GATE = "gate:"
"""Before the name of the rule."""


class Gate(msgspec.Struct, frozen=True):
    """The same rule where a vote that it does not settle goes to another model.

    A leader that cannot be caught within the budget ends any other vote, since more samples could only confirm
    it. Here they could still settle it, and spare the dearer model.
    """

    sees: ClassVar[Sees] = "counts"
    rule: StopRule

    def __post_init__(self) -> None:
        """Refuse rules whose votes are not predicted at a gate.

        Raises:
            InvalidRequestError: The rule sees the order of votes, or is a gate itself.
        """
        if self.rule.sees == "order" or isinstance(self.rule, Gate):
            raise InvalidRequestError(
                f"the stop rule {self.rule.name!r} cannot decide on going to another model",
                hint="use one such as 'beta:0.8', 'lead:2' or 'agreement:0.75,2'",
            )

    @property
    def name(self) -> str:
        return gate_of(self.rule.name)

    def posterior(self, counts: Sequence[int]) -> float | None:
        return self.rule.posterior(counts)

    def settled(self, counts: Sequence[int]) -> bool:
        return self.rule.settled(counts)

    def min_more(self, counts: Sequence[int], remaining: int) -> int:
        return self.rule.min_more(counts, remaining)


def gate_of(rule: str) -> str:
    """Name of the gate that a rule keeps."""
    return f"{GATE}{rule}"
