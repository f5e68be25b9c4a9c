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
from tt_compute.strategies.mixture import Mixture
from tt_compute.strategies.naming import across_deployments, family, scored_by
from tt_compute.strategies.refine import Refine
from tt_compute.strategies.revise import Revise
from tt_compute.strategies.single import Single

__all__ = [
    "NAMES",
    "STRATEGIES",
    "Collector",
    "Ended",
    "Needs",
    "Opener",
    "Outcome",
    "Run",
    "Strategy",
    "asks_no_verifier",
    "built_in",
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
    Mixture(),
)
STRATEGIES: Mapping[str, Strategy] = MappingProxyType({one.name: one for one in _ALL})
"""Name -> strategy. They hold no state: one object serves every run."""
NAMES = (*STRATEGIES, "panel")
"""What a strategy can be called; of a panel only together with its deployments."""
_ASK_NO_VERIFIER = ("single", "majority", "mbr", "deepconf", "mixture", "panel")


def built_in(name: str) -> Strategy | None:
    """The strategy of that name, which may hold settings as in ``panel=a,b,c``; None = there is none.

    Raises:
        InvalidRequestError: There is one, and its settings are none that it has.
    """
    return STRATEGIES.get(name) or across_deployments(name) or scored_by(name)


def get_strategy(name: str) -> Strategy:
    """As ``built_in``.

    Raises:
        UnknownNameError: There is none.
        InvalidRequestError: As ``built_in``.
    """
    strategy = built_in(name)
    if strategy is None:
        near = difflib.get_close_matches(family(name), NAMES, n=1)
        raise UnknownNameError(
            f"there is no strategy {name!r}",
            hint=f"did you mean {near[0]!r}?" if near else f"known: {', '.join(NAMES)}",
        )
    return strategy


def asks_no_verifier(name: str | None) -> bool:
    """Whether a verifier would be ignored beside it; a vote asks one where it weighs by its scores."""
    return name is not None and family(name) in _ASK_NO_VERIFIER
