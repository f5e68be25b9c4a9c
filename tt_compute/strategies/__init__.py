"""Strategies: how samples become an answer."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import MappingProxyType

from tt_compute.errors import UnknownNameError
from tt_compute.strategies.base import Ended, Needs, Opener, Outcome, Run, Strategy
from tt_compute.strategies.beam import Beam
from tt_compute.strategies.best_of_n import BestOfN
from tt_compute.strategies.budget_forcing import BudgetForcing
from tt_compute.strategies.cascade import Cascade
from tt_compute.strategies.collecting import Collector, finished, spokesman
from tt_compute.strategies.deepconf import DeepConf
from tt_compute.strategies.dvts import DVTS
from tt_compute.strategies.knockout import Knockout
from tt_compute.strategies.listwise import USC, Listwise
from tt_compute.strategies.majority import Majority
from tt_compute.strategies.mbr import MBR
from tt_compute.strategies.refine import Refine
from tt_compute.strategies.revise import Revise
from tt_compute.strategies.single import Single

__all__ = [
    "ASK_NO_VERIFIER",
    "STRATEGIES",
    "Collector",
    "Ended",
    "Needs",
    "Opener",
    "Outcome",
    "Run",
    "Strategy",
    "finished",
    "get_strategy",
    "spokesman",
]

_ALL: tuple[Strategy, ...] = (
    Single(),
    Majority(),
    BestOfN(),
    USC(),
    MBR(),
    Knockout(),
    Listwise(),
    Beam(),
    DVTS(),
    Revise(),
    Refine(),
    BudgetForcing(),
    DeepConf(),
    Cascade(),
)
STRATEGIES: Mapping[str, Strategy] = MappingProxyType({one.name: one for one in _ALL})
"""Name -> strategy. They hold no state: one object serves every run."""
ASK_NO_VERIFIER = frozenset({"single", "majority", "mbr", "deepconf"})
"""Beside these a verifier would be ignored; a vote asks it where it weighs by its scores."""


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
