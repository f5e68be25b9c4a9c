"""What a little more time or money would buy of a plan, and what a little less quality would save.

Each margin gives up one thing, with the rest of the objective as it stands, and names the candidate that makes
the most of it. Qualities within ``QUALITY_SLACK`` are equal here too: they are nothing to gain.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from tt_compute.planning.choice import QUALITY_SLACK
from tt_compute.planning.types import Candidate, Plan

__all__ = ["Margin", "margins"]

MORE_LATENCY_S = 1.0
MORE_COST_USD = 0.01
MORE_COST_SHARE = 0.1
"""Of the plan's cost, where that is less than ``MORE_COST_USD``."""
LESS_QUALITY = 0.01
_FIGURES = {"cost_usd": "cost_usd", "latency_s": "latency_p95_s", "energy_j": "energy_j"}
"""As margins call it -> as predictions do."""
_ROUNDING = 1e-9
"""Share by which sums of decimal fractions miss them."""


class Margin(msgspec.Struct, frozen=True, kw_only=True):
    """What one concession would bring. Latencies are p95."""

    give: dict[str, float]
    """What is given up: ``latency_s`` or ``cost_usd`` that is added, or ``quality`` that is lost."""
    gain: dict[str, float]
    """By how much the candidate is better there than the plan: ``quality``, or what it saves."""
    candidate: Candidate

    def to_dict(self) -> dict[str, Any]:
        """For JSON, with what tells the candidate from all others."""
        one = self.candidate
        names = ("deployment", "strategy", "stop_rule", "max_samples", "wave", "ahead")
        return {
            "give": self.give,
            "gain": self.gain,
            "candidate": {name: getattr(one, name) for name in names},
        }


def margins(plan: Plan) -> tuple[Margin, ...]:
    """Every margin at which there is something to gain: of latency, of cost, of quality."""
    chosen = plan.chosen
    if chosen is None or chosen.predicted.quality is None:
        return ()
    return (
        *_of_latency(plan.candidates, chosen),
        *_of_cost(plan.candidates, chosen),
        *_of_quality(plan.candidates, chosen),
    )


def _of_latency(candidates: Sequence[Candidate], chosen: Candidate) -> Iterator[Margin]:
    p95_s = chosen.predicted.latency_p95_s
    if p95_s is None:
        return
    open_to = list(_permitted(candidates, chosen, but="max_latency_s"))
    yield from _bought(open_to, chosen, "latency_s", MORE_LATENCY_S)


def _of_cost(candidates: Sequence[Candidate], chosen: Candidate) -> Iterator[Margin]:
    cost_usd = chosen.predicted.cost_usd
    if cost_usd is None:
        return
    open_to = list(_permitted(candidates, chosen, but="max_cost_usd"))
    share = MORE_COST_SHARE * cost_usd
    small = list(_bought(open_to, chosen, "cost_usd", share)) if 0 < share < MORE_COST_USD else []
    yield from small
    for margin in _bought(open_to, chosen, "cost_usd", MORE_COST_USD):
        # What a tenth more buys needs no whole cent.
        if all(margin.candidate != other.candidate for other in small):
            yield margin


def _bought(
    open_to: Iterable[Candidate], chosen: Candidate, name: str, more: float
) -> Iterator[Margin]:
    """The best quality that ``more`` of a figure reaches; of equals the cheaper, then the quicker."""
    limit = (_burden(chosen, name) + more) * (1 + _ROUNDING)
    least = _quality(chosen) + QUALITY_SLACK
    better = [one for one in open_to if _quality(one) > least and _burden(one, name) <= limit]
    if not better:
        return
    enough = max(map(_quality, better)) - QUALITY_SLACK
    best = min((one for one in better if _quality(one) >= enough), key=_order)
    if _burden(best, name) <= _burden(chosen, name):
        # It takes nothing more: the plan prefers something else.
        return
    gain = {"quality": _quality(best) - _quality(chosen)}
    yield Margin(give={name: more}, gain=gain, candidate=best)


def _of_quality(candidates: Sequence[Candidate], chosen: Candidate) -> Iterator[Margin]:
    """Each candidate that saves the most of something, with all that it saves the most of."""
    quality = _quality(chosen)
    open_to = list(_permitted(candidates, chosen, but="quality"))
    as_good = [one for one in open_to if _quality(one) >= quality]
    worse = [
        one for one in open_to if quality - LESS_QUALITY - _ROUNDING <= _quality(one) < quality
    ]
    saved: dict[int, tuple[Candidate, dict[str, float]]] = {}
    for name in _FIGURES if worse else ():
        best = min(worse, key=lambda one: (_burden(one, name), *_order(one)))
        # What a plan as good saves too is no gain of the concession.
        if _burden(best, name) < min(_burden(one, name) for one in (chosen, *as_good)):
            _, gain = saved.setdefault(id(best), (best, {}))
            gain[name] = _burden(chosen, name) - _burden(best, name)
    for best, gain in saved.values():
        known = {name: value for name, value in gain.items() if math.isfinite(value)}
        if known:
            yield Margin(give={"quality": LESS_QUALITY}, gain=known, candidate=best)


def _permitted(
    candidates: Iterable[Candidate], chosen: Candidate, *, but: str
) -> Iterator[Candidate]:
    """Those that miss nothing of the objective but the one key, and what the plan itself misses."""
    missed = {*chosen.violates, but}
    return (one for one in candidates if missed.issuperset(one.violates))


def _quality(candidate: Candidate) -> float:
    quality = candidate.predicted.quality
    return -math.inf if quality is None else quality


def _burden(candidate: Candidate, name: str) -> float:
    value: float | None = getattr(candidate.predicted, _FIGURES[name])
    return math.inf if value is None else value


def _order(candidate: Candidate) -> tuple[float, float, float]:
    return _burden(candidate, "cost_usd"), _burden(candidate, "latency_s"), -_quality(candidate)
