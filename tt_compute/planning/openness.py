"""Which strategies, stop rules and ways of drawing a request leaves open to its plan."""

from __future__ import annotations

from tt_compute.errors import InvalidRequestError
from tt_compute.planning.menu import ACROSS, PREDICTED
from tt_compute.planning.request import PlanRequest
from tt_compute.stopping import is_score_rule, parse_score_rule, parse_stop_rule
from tt_compute.weights import check_weighted_rule, parse_weight

__all__ = ["open_aheads", "open_stop_rules", "open_strategies"]

_STOP_RULES = ("beta", "beta:0.8")
"""Adaptive-Consistency's own threshold, and one that ends sooner where a vote is nearly clear."""
_AHEADS = (1.0, 0.7, 0.3)
"""Nothing ahead of need; for about 5 % more tokens half of the time; for 20 % more a third of it
(``benchmarks/strategies.py``)."""


def open_strategies(request: PlanRequest) -> tuple[str, ...]:
    """The strategies that are open: the pinned one, or all that make sense.

    A pinned stop rule asks for a vote. At temperature 0 all samples of one model would be the same.

    Raises:
        InvalidRequestError: What is pinned does not go with the temperature, or lacks a verifier.
    """
    greedy = request.sampling.temperature == 0
    if greedy and _strategy(request) in ("majority", "cascade"):
        raise InvalidRequestError(
            "at temperature 0 all samples are the same, and there is nothing to vote on",
            hint="leave the temperature to the plan, or use the strategy 'single'",
        )
    wanted = _strategy(request)
    if wanted is not None:
        if wanted == "best_of_n" and not request.has_verifier:
            raise InvalidRequestError(
                "the strategy 'best_of_n' needs a verifier",
                hint="pass verifier=, or use the strategy 'majority'",
            )
        return (wanted,)
    # A panel asks no verifier, and an answer should not go unjudged.
    left_out = {"panel"} if request.has_verifier else {"best_of_n"}
    if greedy:
        left_out |= {"majority", "best_of_n", "cascade"}
    if request.one_deployment:
        left_out.update(ACROSS)
    return tuple(one for one in PREDICTED if one not in left_out)


def _strategy(request: PlanRequest) -> str | None:
    """The one that is pinned, or that a pinned stop rule or weight is of."""
    if request.weight is not None or (request.ahead is not None and request.ahead < 1):
        return "majority"
    if request.strategy is not None or request.stop_rule is None:
        return request.strategy
    return "best_of_n" if is_score_rule(request.stop_rule) else "majority"


def open_stop_rules(request: PlanRequest) -> tuple[str | None, ...]:
    """The stop rules that are open: the pinned one, or those of votes that are worth weighing.

    Raises:
        UnknownNameError, InvalidRequestError: The pinned one does not exist, or does not go with the weight.
    """
    if request.weight is not None:
        check_weighted_rule(request.stop_rule, parse_weight(request.weight))
        return (request.stop_rule,)
    if request.stop_rule is None:
        return _STOP_RULES
    scored = _strategy(request) == "best_of_n"
    parse = parse_score_rule if scored else parse_stop_rule
    return (parse(request.stop_rule).name,)


def open_aheads(request: PlanRequest) -> tuple[float, ...]:
    """Chances from which on votes may draw ahead of need; those that weigh draw their whole budget anyway."""
    if request.weight is not None:
        return (1.0,)
    return _AHEADS if request.ahead is None else (request.ahead,)
