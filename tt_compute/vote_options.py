"""Options that only a vote has."""

from __future__ import annotations

from tt_compute.errors import InvalidRequestError
from tt_compute.options import SolveOptions
from tt_compute.stopping import is_score_rule
from tt_compute.weights import check_weighted_rule, parse_weight

__all__ = ["check_vote_options"]


def check_vote_options(options: SolveOptions, strategy: str | None) -> str | None:
    """The strategy that they ask for; None where none of them is given.

    Args:
        options: Those of a request.
        strategy: The name of the one that is pinned.

    Raises:
        InvalidRequestError: Something that is given besides would be ignored, or a value is none.
    """
    weight, ahead = options.get("weight"), options.get("ahead")
    if weight is not None:
        _check_weight(options, strategy)
    if ahead is not None:
        _check_ahead(options, ahead, strategy)
    return "majority" if weight is not None or (ahead is not None and ahead < 1) else None


def _check_weight(options: SolveOptions, strategy: str | None) -> None:
    """Refuse what does not go with votes that weigh."""
    weighting = parse_weight(options.get("weight") or "")
    verifier = options.get("verifier")
    if strategy not in (None, "majority"):
        raise InvalidRequestError(
            f"votes weigh by {weighting.name!r}, and the strategy {strategy!r} holds none",
            hint="leave `weight` out, or use the strategy 'majority'",
        )
    check_weighted_rule(options.get("stop"), weighting)
    if weighting.judged and verifier is None:
        raise InvalidRequestError(
            f"the weight {weighting.name!r} needs a verifier",
            hint="pass verifier=, or use the weight 'logprob'",
        )
    if verifier is not None and not weighting.judged:
        raise InvalidRequestError(
            f"a verifier was given, and votes that weigh by {weighting.name!r} ask none",
            hint="leave one of the two out, or use the weight 'verifier'",
        )


def _check_ahead(options: SolveOptions, ahead: float, strategy: str | None) -> None:
    """Refuse what does not go with votes that draw ahead of need; at 1 none does, and any strategy may run."""
    stop = options.get("stop")
    if not 0 <= ahead <= 1:
        raise InvalidRequestError(
            f"ahead is a chance between 0 and 1, got {ahead}",
            hint="1 draws nothing before it is needed, 0 the whole budget at once",
        )
    if ahead == 1:
        return
    if strategy not in (None, "majority"):
        raise InvalidRequestError(
            f"a vote draws ahead of need, and the strategy {strategy!r} holds none that does",
            hint="leave `ahead` out, or use the strategy 'majority'",
        )
    needless = [
        (options.get("weight") is not None, "votes that weigh draw their whole budget"),
        (options.get("verifier") is not None, "a vote asks no verifier"),
        (stop is not None and is_score_rule(stop), f"the stop rule {stop!r} is about scores"),
    ]
    for given, why in needless:
        if given:
            raise InvalidRequestError(
                f"{why}, so that nothing can be drawn ahead", hint="leave one of the two out"
            )
