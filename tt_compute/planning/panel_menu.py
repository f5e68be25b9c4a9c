"""Panels worth weighing: two cheaper models first, and the best one where they differ.

Of all threes only some: the last is one of the best and the cheapest models that nothing beats in quality, cost and
time at once; the pair are two weaker ones of those, or of those that only these beat, and so on, since a pair wants two that
are about equally good. A hundred deployments give a few hundred threes, of which at most ``_PANELS`` are offered, none of
them beaten by a sample alone or by another panel.

A panel needs no more than success rates. Where votes of all three models can be predicted, votes and cascades of
them are mostly predicted to do better, and no recording tells whether the few panels that would be chosen are rightly
so: none is offered there (``docs/figures/panel_menu.md``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import msgspec

from tt_compute.planning.alone import Alone, few, undominated
from tt_compute.planning.figures import UNKNOWN, Figures, Line
from tt_compute.planning.menu import Offer, Option, Then, Wanted
from tt_compute.planning.panels import (
    Course,
    Played,
    courses,
    play,
    quantiles,
    seconds,
    share_asked,
)
from tt_compute.planning.runs import P50, P95, near
from tt_compute.planning.times import Times
from tt_compute.profiles.schema import TaskKind

__all__ = ["TASKS", "panels"]

TASKS: tuple[TaskKind, ...] = ("math",)
"""Kinds of task of which it is known how models err together (``planning.panels``)."""
_MEMBERS = 3
_AGREE = 2
_MODELS = 3
"""Of the best, and as many of the cheapest."""
_POOL = 12
"""Models of which pairs are made: no more are added to so many."""
_PANELS = 24
"""Most that are offered."""
_LONGEST = 2**20
"""Tokens of a prompt, where no context is known."""
_NOTHING = Line(0.0)


def panels(offers: Sequence[Offer], wanted: Wanted) -> Iterator[tuple[int, Option]]:
    """(position of the first member's offer, option) of each panel."""
    if wanted.task not in TASKS or wanted.max_samples < _MEMBERS:
        return
    able = [_Member(place, offer, wanted) for place, offer in enumerate(offers) if _known(offer)]
    tried = [_Panel(members) for members in _threes(able) if _unserved(members, wanted)]
    others = [*(one.figures for one in tried), *(one.figures for one in able)]
    kept = [one for one in tried if not any(_beats(other, one.figures) for other in others)]
    kept.sort(key=lambda one: one.order)
    for panel in _spread(kept):
        yield panel.members[0].place, panel.option()


def _spread(kept: Sequence[_Panel]) -> list[_Panel]:
    """As many as may be offered, evenly from the best to the cheapest."""
    if len(kept) <= _PANELS:
        return [*kept]
    return [kept[round(step * (len(kept) - 1) / (_PANELS - 1))] for step in range(_PANELS)]


def _known(offer: Offer) -> bool:
    return offer.ability.mean is not None and any(
        option.strategy == "single" for option in offer.options
    )


def _threes(able: Sequence[_Member]) -> Iterator[tuple[_Member, ...]]:
    """Of three different models, the cheapest first and the best last."""
    lasts = few(undominated(able), _MODELS)
    pool = [*lasts]
    rest: list[_Member] = [one for one in able if one not in lasts]
    while rest and len(pool) < _POOL:
        next_best = few(undominated(rest), _MODELS)
        pool += next_best
        rest = [one for one in rest if one not in next_best]
    for last in lasts:
        weaker = sorted(
            (one for one in pool if one.quality < last.quality),
            key=lambda one: (one.cost_usd, one.order),
        )
        for pair in combinations(weaker, _MEMBERS - 1):
            members = (*pair, last)
            if len({one.offer.spec.model.id for one in members}) == _MEMBERS:
                yield members


def _unserved(members: Sequence[_Member], wanted: Wanted) -> bool:
    """Whether something of votes and cascades of these models stays unknown, or is not open."""
    votes = all(one.offer.ability.votes_known for one in members)
    return not votes or "majority" not in wanted.strategies


class _Weighed(NamedTuple):
    """Figures by which one is sorted out, all of them to be small."""

    error: float
    cost_usd: float
    seconds: float


def _beats(one: _Weighed, other: _Weighed) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


class _Member(Alone):
    """A model that may be one of three."""

    def __init__(self, place: int, offer: Offer, wanted: Wanted) -> None:
        super().__init__(place, offer, wanted)
        self.single: Option = next(one for one in offer.options if one.strategy == "single")
        self.figures = _Weighed(1 - self.quality, self.cost_usd, self.seconds)

    def latency_s(self, tokens: int) -> tuple[float, float]:
        """(p50, p95) of its sample."""
        figures, ttft = self.single.figures, self.offer.prefill.seconds(tokens)
        return figures.latency_p50_s.at(tokens, ttft), figures.latency_p95_s.at(tokens, ttft)


class _Panel:
    def __init__(self, members: tuple[_Member, ...]) -> None:
        self.members = members
        self._found: list[Course] = list(courses([one.quality for one in members], _AGREE))
        self._shares = share_asked(self._found, _MEMBERS)
        self._right = sum(course.chance for course in self._found if course.right)
        *pair, last = members
        cost_usd = sum(
            share * one.cost_usd for share, one in zip(self._shares, members, strict=True)
        )
        # About, since the mean of the slowest is above the slowest mean: enough to sort out by.
        about_s = max(one.seconds for one in pair) + self._shares[-1] * last.seconds
        self.figures = _Weighed(1 - self._right, cost_usd, about_s)

    @property
    def order(self) -> tuple[_Weighed, list[str]]:
        """The best first, then the cheapest."""
        return self.figures, [one.offer.spec.id for one in self.members]

    def option(self) -> Option:
        times = self._times()
        latency = UNKNOWN if times is None else _NOTHING
        first = self.members[0].single
        return Option(
            # As ``strategies.panel.Panel`` is named.
            strategy=f"panel={','.join(one.offer.spec.id for one in self.members)}",
            stop_rule=None,
            max_samples=_MEMBERS,
            wave=_AGREE,
            quality=self._right,
            samples_mean=sum(self._shares),
            figures=Figures(latency, latency, first.figures.cost_usd, first.figures.energy_j),
            members=tuple(map(_seat, self.members, self._shares)),
            times=times,
        )

    def _times(self) -> Times | None:
        if any(math.isinf(value) for one in self.members for value in one.latency_s(1)):
            return None
        runs = play(self._found)
        tokens = _lengths(min(one.offer.max_input_tokens for one in self.members))
        spans = [quantiles(seconds(runs, self._latencies(length))) for length in tokens]
        return Times(
            tokens=tokens,
            p50_s=tuple(p50 for p50, _ in spans),
            p95_s=tuple(p95 for _, p95 in spans),
            late=(self._late(runs),),
        )

    def _latencies(self, tokens: int) -> list[tuple[float, float]]:
        return [one.latency_s(tokens) for one in self.members]

    def _late(self, runs: Sequence[Played]) -> tuple[float, float]:
        """How often the last one is asked in runs about the median, and about the 95th percentile."""
        times = seconds(runs, self._latencies(self.members[0].tokens))
        ordered = [run for _, run in sorted(zip(times, runs, strict=True))]
        p50, p95 = (
            sum(len(run.asked) > 1 for run in about) / len(about)
            for about in (near(ordered, level) for level in (P50, P95))
        )
        return p50, p95


def _lengths(longest: float) -> tuple[int, ...]:
    """Powers of two up to the longest prompt that there is room for."""
    most = max(2, int(min(longest, _LONGEST)))
    return (*(2**power for power in range(most.bit_length()) if 2**power < most), most)


def _seat(member: _Member, share: float) -> Then:
    figures = member.single.figures
    return Then(
        offer=member.place,
        share=share,
        option=msgspec.structs.replace(
            member.single,
            figures=figures._replace(
                cost_usd=figures.cost_usd.times(share), energy_j=figures.energy_j.times(share)
            ),
        ),
    )
