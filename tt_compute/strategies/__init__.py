"""Strategies: how samples become an answer."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import MappingProxyType

from tt_compute.errors import UnknownNameError
from tt_compute.strategies.base import Strategy
from tt_compute.strategies.best_of_n import BestOfN
from tt_compute.strategies.knockout import Knockout
from tt_compute.strategies.listwise import Listwise, Usc
from tt_compute.strategies.majority import Majority
from tt_compute.strategies.mbr import Mbr
from tt_compute.strategies.single import Single

__all__ = ["STRATEGIES", "get_strategy"]

STRATEGIES: Mapping[str, Strategy] = MappingProxyType(
    {
        strategy.name: strategy
        for strategy in (Single(), Majority(), BestOfN(), Usc(), Mbr(), Knockout(), Listwise())
    }
)
"""Name -> strategy. They hold no state: one object serves every run."""


def get_strategy(name: str) -> Strategy:
    """The strategy of that name.

    Raises:
        UnknownNameError: There is none.
    """
    strategy = STRATEGIES.get(name)
    if strategy is None:
        near = difflib.get_close_matches(name, STRATEGIES, n=1)
        raise UnknownNameError(
            f"there is no strategy {name!r}",
            hint=f"did you mean {near[0]!r}?" if near else f"known: {', '.join(STRATEGIES)}",
        )
    return strategy
