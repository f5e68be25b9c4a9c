"""Names that hold settings: ``panel=a,b,c``, ``mixture:2,6=a,b,c`` and ``beam:steps=a,min``."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import cast

from tt_compute.errors import InvalidRequestError
from tt_compute.strategies.base import Strategy
from tt_compute.strategies.beam import Beam
from tt_compute.strategies.dvts import DVTS
from tt_compute.strategies.mixture import Mixture
from tt_compute.strategies.panel import Panel
from tt_compute.strategies.step_scores import step_deployment
from tt_compute.verify.steps import AggregateName

__all__ = ["across_deployments", "family", "names_deployments", "scored_by"]

_FORMS = {
    "panel": "panel=ID,ID,... or panel:AGREE=ID,ID,...",
    "mixture": "mixture, mixture=ID,ID,... or mixture:LAYERS,PROPOSALS=ID,ID,...",
}
_STEPWISE: Mapping[str, type[Beam | DVTS]] = MappingProxyType({"beam": Beam, "dvts": DVTS})
_MOST_NUMBERS = {"panel": 1, "mixture": 2}


def family(name: str) -> str:
    """The name without settings."""
    return name.partition("=")[0].partition(":")[0]


def names_deployments(name: str) -> bool:
    """Whether a strategy's name tells which deployments it asks."""
    return "=" in name and family(name) in _FORMS


def across_deployments(name: str) -> Strategy | None:
    """The panel or the mixture of that name; None = it is of neither.

    Raises:
        InvalidRequestError: Its settings cannot be read, or are none that it has.
    """
    kind = family(name)
    if kind not in _FORMS:
        return None
    head, _, listed = name.partition("=")
    numbers = _numbers(name, kind, head)
    deployments = tuple(one.strip() for one in listed.split(",")) if listed.strip() else ()
    if not all(deployments):
        raise _unreadable(name, kind, "one of its deployments has no name")
    if kind == "panel":
        return Panel(deployments, *numbers)
    return Mixture(deployments, *numbers)


def scored_by(name: str) -> Strategy | None:
    """The step-wise search of that name, with its scorer behind the colon; None = it is of none.

    Raises:
        InvalidRequestError: There is no such scorer, or no such aggregate of what it says.
    """
    kind, colon, scorer = name.partition(":")
    if not colon or kind not in _STEPWISE:
        return None
    if step_deployment(scorer) is None:
        return _STEPWISE[kind](scorer=scorer)
    deployment, comma, aggregate = scorer.partition(",")
    if not comma:
        return _STEPWISE[kind](scorer=deployment)
    # The search itself refuses what is none of them.
    return _STEPWISE[kind](scorer=deployment, aggregate=cast("AggregateName", aggregate))


def _numbers(name: str, kind: str, head: str) -> list[int]:
    _, colon, listed = head.partition(":")
    if not colon:
        return []
    numbers = listed.split(",")
    if len(numbers) > _MOST_NUMBERS[kind] or not all(_is_number(one) for one in numbers):
        raise _unreadable(name, kind, f"{listed!r} is not what it counts by")
    return [int(one) for one in numbers]


def _is_number(text: str) -> bool:
    digits = text.strip()
    return digits.isascii() and digits.isdecimal() and len(digits) <= 6  # noqa: PLR2004 - more is no number of samples


def _unreadable(name: str, kind: str, why: str) -> InvalidRequestError:
    return InvalidRequestError(f"the strategy {name!r}: {why}", hint=f"say {_FORMS[kind]}")
