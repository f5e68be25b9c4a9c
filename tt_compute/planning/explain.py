"""A plan in words: which candidates are worth a look, and why the chosen one was chosen."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec

from tt_compute.planning.choice import QUALITY_SLACK
from tt_compute.planning.margins import MORE_COST_USD, Margin, margins
from tt_compute.planning.types import Candidate, Plan

__all__ = ["Explanation", "explain", "frontier"]

_ROWS = 12
_QUANTITIES = ("quality", "cost_usd", "latency_p95_s", "energy_j")
_WORDS = {
    "quality": ("better", "quality {:.3f}"),
    "cost_usd": ("cheaper", "${:.3g}"),
    "latency_p95_s": ("quicker", "p95 {:.3g} s"),
    "energy_j": ("more frugal", "{:.3g} J"),
}
"""Quantity -> what having less of a burden is called, how a value is shown."""
_FIGURES = {"latency_s": "latency_p95_s"}
"""As margins call it -> as predictions do, where they differ."""
_WON_BY = {
    "quality": "the best quality",
    "cost": "the least cost",
    "latency": "the least latency",
    "energy": "the least energy",
}
_UNKNOWN = {
    "cost": ("cost_usd", "What {} costs"),
    "latency": ("latency_p95_s", "How long {} takes"),
    "energy": ("energy_j", "How much energy {} takes"),
}
"""What is preferred -> its figure, and what is not known where that is unknown."""


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """What a table of the plan shows and the lines below it say."""

    rows: tuple[tuple[Candidate, bool], ...]
    """The chosen candidate and the frontier, best quality first; True marks the chosen one."""
    reasons: tuple[str, ...]
    margins: tuple[Margin, ...]
    """What a little more time or money would buy, and what a little less quality would save."""


def explain(plan: Plan, *, rows: int = _ROWS) -> Explanation:
    """Explain a plan.

    Args:
        plan: The plan.
        rows: Most rows; the chosen candidate always has one.
    """
    pool = [candidate for candidate in plan.candidates if candidate.feasible] or plan.candidates
    best = frontier(pool)
    shown = best[:rows]
    if plan.chosen is not None and plan.chosen not in shown:
        shown = [*shown[: rows - 1], plan.chosen]
    shown.sort(key=lambda candidate: -_gain(candidate, "quality"))
    marginal = margins(plan)
    return Explanation(
        rows=tuple((candidate, candidate == plan.chosen) for candidate in shown),
        reasons=(*_verdict(plan, best, rows), *_reasons(plan, pool), *_marginal(plan, marginal)),
        margins=marginal,
    )


def frontier(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Candidates that no other one equals or beats in quality, cost, p95 latency and energy together.

    Best quality first; of equals the first. An unknown figure is worse than any known one.
    """
    best: list[tuple[tuple[float, ...], Candidate]] = []
    ranked = sorted(
        (
            (tuple(_gain(candidate, name) for name in _QUANTITIES), candidate)
            for candidate in candidates
        ),
        key=lambda pair: pair[0],
        reverse=True,
    )
    for gains, candidate in ranked:
        # Sorted so, only those before it can equal or beat it.
        if not any(all(map(float.__ge__, other, gains)) for other, _ in best):
            best.append((gains, candidate))
    return [candidate for _, candidate in best]


def _verdict(plan: Plan, best: Sequence[Candidate], rows: int) -> Iterable[str]:
    total = len(plan.candidates)
    feasible = sum(candidate.feasible for candidate in plan.candidates)
    part = "" if len(best) <= rows else f"the best {rows} of "
    yield f"{feasible} of {total} candidates meet every constraint."
    yield from plan.delays
    if plan.advice:
        yield f"No plan meets the objective: {plan.advice}."
    yield (
        f"Shown is {part}the frontier: {len(best)} candidate{'' if len(best) == 1 else 's'} that "
        "none equals or beats in quality, cost, p95 latency and energy together."
    )


def _reasons(plan: Plan, pool: Sequence[Candidate]) -> Iterable[str]:
    chosen = plan.chosen
    if chosen is None:
        return
    unknown = _unknown(chosen, plan)
    if unknown:
        yield (
            f"{unknown} is not known, so that {plan.objective.prefer} decides nothing; "
            "the cheaper and the quicker one wins."
        )
    elif chosen.feasible:
        yield (
            f"Chosen for {_WON_BY[plan.objective.prefer]} among them; qualities within "
            f"{QUALITY_SLACK:.3f} count as equal, then the cheaper and the quicker one wins."
        )
    for name in _QUANTITIES:
        rival = max(pool, key=lambda candidate: _gain(candidate, name))
        head = _WORDS[name][0].capitalize()
        if _gain(rival, name) > _gain(chosen, name):
            yield from _trade(head, chosen, rival, (name,))


def _unknown(chosen: Candidate, plan: Plan) -> str:
    """What is not known where the chosen one's preferred quantity is not, and then that of none of them."""
    # The strategy's own deployments stand in its name.
    what = _weighed(chosen) + ("" if chosen.members else f" on {chosen.model}")
    prefer = plan.objective.prefer
    if prefer == "quality":
        unknown = chosen.predicted.quality is None
        return f"How good {what} is at {plan.task} tasks" if unknown else ""
    figure, unknown_figure = _UNKNOWN[prefer]
    return unknown_figure.format(what) if getattr(chosen.predicted, figure) is None else ""


def _marginal(plan: Plan, found: Iterable[Margin]) -> Iterable[str]:
    for margin in found:
        if plan.chosen is not None:
            names = [_FIGURES.get(name, name) for name in margin.gain]
            yield from _trade(_concession(margin), plan.chosen, margin.candidate, names)


def _concession(margin: Margin) -> str:
    if "latency_s" in margin.give:
        return "One second more"
    if "quality" in margin.give:
        return "One point of quality less"
    return "One cent more" if margin.give["cost_usd"] == MORE_COST_USD else "A tenth more cost"


def _trade(head: str, chosen: Candidate, rival: Candidate, names: Sequence[str]) -> Iterable[str]:
    """What a rival that is better in some quantities would bring and take; nothing when it does not show."""
    gains = [_change(rival, chosen, name) for name in names if _differs(rival, chosen, name)]
    losses = [
        _change(rival, chosen, other)
        for other in _QUANTITIES
        if _gain(rival, other) < _gain(chosen, other) and _differs(rival, chosen, other)
    ]
    price = f", but {', '.join(losses)}" if losses else ""
    if gains:
        yield f"{head}: {_label(rival)} has {', '.join(gains)}{price}."


def _differs(rival: Candidate, chosen: Candidate, name: str) -> bool:
    return _shown(rival, name) != _shown(chosen, name)


def _change(rival: Candidate, chosen: Candidate, name: str) -> str:
    return f"{_shown(rival, name)} instead of {_shown(chosen, name)}"


def _shown(candidate: Candidate, name: str) -> str:
    value = getattr(candidate.predicted, name)
    if value is None:
        return f"unknown {name.partition('_')[0]}"
    return _WORDS[name][1].format(value)


def _weighed(candidate: Candidate) -> str:
    return candidate.strategy + (f" by {candidate.weight}" if candidate.weight else "")


def _rule(candidate: Candidate) -> str:
    """One that is not the usual, and how far it draws ahead of need."""
    rule = "" if candidate.stop_rule in (None, "beta") else f" under {candidate.stop_rule}"
    return rule if candidate.ahead == 1 else f"{rule} ahead from {candidate.ahead:.0%}"


def _label(candidate: Candidate) -> str:
    if candidate.max_samples == 1:
        return f"{candidate.deployment}, {candidate.strategy}"
    then = "" if candidate.then is None else f", then {candidate.then.deployment}"
    # The strategy's own deployments stand in its name.
    where = "" if candidate.members else f"{candidate.deployment}, "
    return (
        f"{where}{candidate.strategy}{_rule(candidate)} of up to {candidate.max_samples}, "
        f"{candidate.wave} at once{then}"
    )


def _gain(candidate: Candidate, name: str) -> float:
    """The figure, turned so that more is better; unknown is worst."""
    value: float | None = getattr(candidate.predicted, name)
    if value is None:
        return -math.inf
    return value if name == "quality" else -value
