"""A deployment as one sample of it shows it: by this the partners of cascades and panels are found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from tt_compute.planning.ability import TaskAbility
from tt_compute.planning.menu import Offer, Wanted
from tt_compute.planning.runs import single_run

__all__ = ["Alone", "few", "undominated"]

_TYPICAL_TOKENS = 256
"""Of a prompt, where runs are put in the order of their time."""


class Alone:
    """An offer as one sample of it shows it, for a prompt of usual length; what is unknown is infinite.

    Args:
        place: Position of the offer.
        offer: One whose success rate is known.
        wanted: What is asked.
    """

    def __init__(self, place: int, offer: Offer, wanted: Wanted) -> None:
        self.place = place
        self.offer = offer
        self.ability: TaskAbility = offer.ability.greedy() if wanted.greedy else offer.ability
        assert self.ability.mean is not None
        self.quality: float = self.ability.mean
        self.tokens: int = wanted.prompt_tokens or _TYPICAL_TOKENS
        self.ttft: tuple[float, float] = offer.prefill.seconds(self.tokens)
        figures = offer.meter.figures(single_run(self.ability, offer.lengths), offer.tokens_mean)
        self.cost_usd: float = figures.cost_usd.at(self.tokens, self.ttft)
        self.seconds: float = figures.latency_p50_s.at(self.tokens, self.ttft)

    @property
    def order(self) -> tuple[float, float, float, str]:
        """The best first, then the cheapest."""
        return (-self.quality, self.cost_usd, self.seconds, self.offer.spec.id)

    def beats(self, other: Alone) -> bool:
        """Whether it is as good in everything, and better in something."""
        mine = (-self.quality, self.cost_usd, self.seconds)
        theirs = (-other.quality, other.cost_usd, other.seconds)
        return mine != theirs and all(a <= b for a, b in zip(mine, theirs, strict=True))


_A = TypeVar("_A", bound=Alone)


def undominated(models: Sequence[_A]) -> list[_A]:
    """Those that none of the others beats, the best first."""
    front = [one for one in models if not any(other.beats(one) for other in models)]
    return sorted(front, key=lambda one: one.order)


def few(models: Sequence[_A], number: int) -> list[_A]:
    """The first ``number`` and the last ``number``."""
    return [*models] if len(models) <= 2 * number else [*models[:number], *models[-number:]]
