"""Stop rules by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeVar

from tt_compute.errors import InvalidRequestError, UnknownNameError
from tt_compute.stopping.agreement import AgreementRule
from tt_compute.stopping.beta import BetaRule
from tt_compute.stopping.certainty import CertainRule
from tt_compute.stopping.dirichlet import DirichletRule
from tt_compute.stopping.esc import EscRule
from tt_compute.stopping.gate import Gate
from tt_compute.stopping.lead import LeadRule
from tt_compute.stopping.pandora import PandoraRule
from tt_compute.stopping.ppr import parse_ppr
from tt_compute.stopping.rule import ScoreRule, StopRule
from tt_compute.stopping.sprt import SprtRule
from tt_compute.stopping.threshold import ThresholdRule

__all__ = ["SCORE_RULES", "STOP_RULES", "is_score_rule", "parse_score_rule", "parse_stop_rule"]

T = TypeVar("T")

STOP_RULES: Mapping[str, Callable[[str], StopRule]] = MappingProxyType(
    {
        "beta": BetaRule.parse,
        "dirichlet": DirichletRule.parse,
        "esc": EscRule.parse,
        "lead": LeadRule.parse,
        "sprt": SprtRule.parse,
        "ppr": parse_ppr,
        "agreement": AgreementRule.parse,
        "certain": CertainRule.parse,
    }
)
"""Of votes: name -> maker from what follows the colon ("" when nothing does)."""
SCORE_RULES: Mapping[str, Callable[[str], ScoreRule]] = MappingProxyType(
    {"threshold": ThresholdRule.parse, "pandora": PandoraRule.parse}
)
"""Of scored samples, likewise."""


def parse_stop_rule(text: str) -> StopRule:
    """The rule of votes that ``text`` names, such as ``beta`` or ``beta:0.99``.

    Raises:
        UnknownNameError: There is no such rule.
        InvalidRequestError: It is one of scores, or its parameters are no numbers or out of range.
    """
    name, _, parameters = text.partition(":")
    if name == "gate":
        return Gate(parse_stop_rule(parameters))
    if name in SCORE_RULES:
        raise InvalidRequestError(
            f"the stop rule {name!r} is about scores, and a vote has none",
            hint=f"use it with the strategy 'best_of_n' and a verifier; of votes: {', '.join(STOP_RULES)}",
        )
    return _known(name, STOP_RULES)(parameters)


def parse_score_rule(text: str) -> ScoreRule:
    """The rule of scored samples that ``text`` names, such as ``threshold:0.85``.

    Raises:
        UnknownNameError: There is no such rule.
        InvalidRequestError: It is one of votes, or its parameters are no numbers or out of range.
    """
    name, _, parameters = text.partition(":")
    if name in STOP_RULES:
        raise InvalidRequestError(
            f"the stop rule {name!r} ends a vote, and scored samples hold none",
            hint=f"use it with the strategy 'majority'; of scores: {', '.join(SCORE_RULES)}",
        )
    return _known(name, SCORE_RULES)(parameters)


def is_score_rule(text: str) -> bool:
    """Whether the name is one of ``SCORE_RULES``."""
    return text.partition(":")[0] in SCORE_RULES


def _known(name: str, rules: Mapping[str, T]) -> T:
    if name in rules:
        return rules[name]
    known = [*STOP_RULES, *SCORE_RULES]
    near = difflib.get_close_matches(name, known, n=1)
    raise UnknownNameError(
        f"there is no stop rule {name!r}",
        hint=f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}",
    )
