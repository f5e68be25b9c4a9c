"""Choosing among options: constraints first, then what is preferred.

Order among options that meet every constraint:

1. the preferred quantity: best quality within half a point, else the least cost, latency (p95) or energy;
2. quality, within half a point of the best that is left;
3. cheaper, then quicker, then better, then less energy, then fewer samples, then by name.

An unknown figure is worse than any known one. When no option meets every constraint, those that fail only by
unknown figures come first, then the one whose worst excess is least.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from copy import copy
from itertools import compress, takewhile
from typing import NamedTuple

import msgspec

from tt_compute.planning.delays import Delay
from tt_compute.planning.figures import Line
from tt_compute.planning.menu import Option, Then
from tt_compute.planning.types import Objective, Preference

__all__ = [
    "QUALITY_SLACK",
    "Board",
    "Entry",
    "Prompt",
    "Violation",
    "Weighed",
    "later",
    "violations",
]

QUALITY_SLACK = 0.005
"""Half a point: qualities this close count as equal."""
_LEAST_LIMIT = 1e-12
"""What a limit of 0 counts as when excesses over it are compared: the dearer plan is still the farther one."""
_FIGURES = {"cost": "cost_usd", "latency": "latency_p95_s", "energy": "energy_j"}
"""Preference -> figure."""
_LIMITS = {
    "max_cost_usd": "cost_usd",
    "max_latency_s": "latency_p95_s",
    "max_energy_j": "energy_j",
}
"""Key of the objective -> figure."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """An option and whose it is."""

    offer: int
    """Position of its offer."""
    deployment: str
    option: Option


class Prompt(NamedTuple):
    """What figures depend on."""

    tokens: int
    ttfts: Sequence[tuple[float, float]]
    """(p50, p95) seconds to its first token, by offer."""
    delays: Mapping[int, Delay] = {}
    """What holds runs back, by offer."""


class Weighed(NamedTuple):
    """An entry's figures for one prompt; infinite = unknown, of quality minus infinite."""

    entry: Entry
    quality: float
    cost_usd: float
    latency_p95_s: float
    energy_j: float


class Violation(NamedTuple):
    """A constraint that is not met."""

    name: str
    """Key of the objective."""
    wanted: float
    found: float
    """Infinite when unknown."""
    excess: float
    """Found over wanted (of quality: error over error), above 1; 0 when unknown."""

    def __str__(self) -> str:
        if math.isinf(self.found):
            return f"{self.name.removeprefix('max_')}: unknown"
        return self.name


class Board:
    """The options of a fleet, laid out so that one prompt is weighed quickly.

    Args:
        entries: In any order.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries: tuple[Entry, ...] = tuple(sorted(entries, key=_quality, reverse=True))
        self.offers: list[int] = [entry.offer for entry in self.entries]
        """Of each entry."""
        self._later = _later(self.entries)
        self._errors = [-_quality(entry) for entry in self.entries]
        self._lines = {
            name: [(*getattr(entry.option.figures, name), entry.offer) for entry in self.entries]
            for name in _LIMITS.values()
        }

    def without(self, offers: Collection[int]) -> Board:
        """The board with some offers taken off."""
        if not offers:
            return self
        keep = [offer not in offers for offer in range(max(self.offers) + 1)]
        kept = list(map(keep.__getitem__, self.offers))
        for place, *_, then in self._later["cost_usd"]:
            kept[place] = kept[place] and then.offer not in offers
        board = copy(self)
        board._keep(kept)  # noqa: SLF001 - its own class
        return board

    def _keep(self, kept: Sequence[bool]) -> None:
        self.entries = tuple(compress(self.entries, kept))
        self.offers = list(compress(self.offers, kept))
        self._later = _later(self.entries)
        self._errors = list(compress(self._errors, kept))
        self._lines = {name: list(compress(lines, kept)) for name, lines in self._lines.items()}

    def weigh(self, place: int, prompt: Prompt) -> Weighed:
        """The figures of the entry at a place for a prompt."""
        entry = self.entries[place]
        figures, ttft = entry.option.figures, prompt.ttfts[entry.offer]
        cost_usd = figures.cost_usd.at(prompt.tokens, ttft)
        latency_s = figures.latency_p95_s.at(prompt.tokens, ttft)
        delay = prompt.delays.get(entry.offer)
        if delay is not None:
            cost_usd += delay.usd(entry.option)
            latency_s += delay.p95_s(entry.option)
        energy_j = figures.energy_j.at(prompt.tokens, ttft)
        then = entry.option.then
        if then is not None:
            cost_usd += later(then, "cost_usd", prompt)
            latency_s += later(then, "latency_p95_s", prompt)
            energy_j += later(then, "energy_j", prompt)
        return Weighed(entry, _quality(entry), cost_usd, latency_s, energy_j)

    def choose(self, prompt: Prompt, objective: Objective) -> tuple[Weighed, bool]:
        """The best option, and whether it meets every constraint; the board must not be empty."""
        places = self._meeting(prompt, objective)
        if not places:
            return self._nearest(prompt, objective), False
        if objective.prefer != "quality":
            values = self._values(_FIGURES[objective.prefer], prompt, places)
            least = min(values)
            places = [place for place, value in zip(places, values, strict=True) if value == least]
        # Places are in the order of quality: the first is the best.
        enough = self._errors[places[0]] + QUALITY_SLACK
        equals = takewhile(lambda place: self._errors[place] <= enough, places)
        return min((self.weigh(place, prompt) for place in equals), key=_order), True

    def _meeting(self, prompt: Prompt, objective: Objective) -> Sequence[int]:
        """Places of the options that meet every constraint, the best quality first."""
        places: Sequence[int] = range(len(self.entries))
        if objective.quality is not None:
            places = range(bisect_right(self._errors, -objective.quality))
        for figure, limit in _limits(objective):
            values = self._values(figure, prompt, places)
            places = [place for place, value in zip(places, values, strict=True) if value <= limit]
        return places

    def _nearest(self, prompt: Prompt, objective: Objective) -> Weighed:
        """The option that misses the objective least."""
        everything = range(len(self.entries))
        worst = [0.0] * len(everything)
        if objective.quality is not None:
            room = 1 - objective.quality
            worst = [0.0 if error == math.inf else (1 + error) / room for error in self._errors]
        for figure, limit in _limits(objective):
            excesses = _excesses(self._values(figure, prompt, everything), limit)
            worst = list(map(max, worst, excesses))
        # Where nothing known is exceeded, only unknowns are in the way.
        least = max(1.0, min(worst))
        near = (self.weigh(place, prompt) for place, excess in enumerate(worst) if excess <= least)
        return min(near, key=lambda weighed: _distance(weighed, objective))

    def _values(self, figure: str, prompt: Prompt, places: Sequence[int]) -> list[float]:
        """A figure at some places: ``Line.at``, written out."""
        tokens, ttfts, delays = prompt
        values = [
            fixed + per_token * tokens + p50 * ttfts[offer][0] + p95 * ttfts[offer][1]
            for fixed, per_token, p50, p95, offer in map(self._lines[figure].__getitem__, places)
        ]
        added = {
            offer: delay.usd if figure == "cost_usd" else delay.p95_s
            for offer, delay in delays.items()
            if figure == "latency_p95_s" or (figure == "cost_usd" and delay.usd_per_s)
        }
        if added:
            for at, place in enumerate(places):
                add = added.get(self.offers[place])
                if add is not None:
                    values[at] += add(self.entries[place].option)
        for place, fixed, per_token, p50, p95, then in self._later[figure]:
            # Places are in their order.
            at = bisect_left(places, place)
            if at < len(places) and places[at] == place:
                ttft = ttfts[then.offer]
                values[at] += fixed + per_token * tokens + p50 * ttft[0] + p95 * ttft[1]
                if then.offer in delays:
                    values[at] += _held(then, figure, delays[then.offer])
        return values


def _later(
    entries: Sequence[Entry],
) -> dict[str, list[tuple[int, float, float, float, float, Then]]]:
    """By figure: each cascade's place, the line of its second deployment, and that deployment."""
    found = [
        (place, entry.option.then)
        for place, entry in enumerate(entries)
        if entry.option.then is not None
    ]
    return {
        name: [(place, *getattr(then.option.figures, name), then) for place, then in found]
        for name in _LIMITS.values()
    }


def later(then: Then, figure: str, prompt: Prompt) -> float:
    """What a cascade's second deployment adds to a figure.

    Args:
        then: The second deployment.
        figure: ``latency_p50_s`` or one of those that are weighed.
        prompt: What they depend on.
    """
    line: Line = getattr(then.option.figures, figure)
    value = line.at(prompt.tokens, prompt.ttfts[then.offer])
    delay = prompt.delays.get(then.offer)
    return value if delay is None else value + _held(then, figure, delay)


def _held(then: Then, figure: str, delay: Delay) -> float:
    """What the present state of the second deployment adds, in those runs that come to it."""
    option = then.option
    if figure == "cost_usd":
        return then.share * delay.usd(option)
    held = {"latency_p50_s": (delay.p50_s, option.p50), "latency_p95_s": (delay.p95_s, option.p95)}
    if figure not in held:
        return 0.0
    held_s, load = held[figure]
    # Of runs at this level of duration, those that come here at all.
    return 0.0 if load is None else min(1.0, load.waves) * held_s(option)


def violations(weighed: Weighed, objective: Objective) -> list[Violation]:
    """Constraints that are not met, tightest first, those on unknown figures last."""
    found: list[Violation] = []
    wanted = objective.quality
    if wanted is not None and weighed.quality < wanted:
        known = weighed.quality > -math.inf
        excess = (1 - weighed.quality) / (1 - wanted) if known else 0.0
        value = weighed.quality if known else math.inf
        found.append(Violation("quality", wanted, value, excess))
    limits = (
        ("max_cost_usd", objective.max_cost_usd, weighed.cost_usd),
        ("max_latency_s", objective.max_latency_s, weighed.latency_p95_s),
        ("max_energy_j", objective.max_energy_j, weighed.energy_j),
    )
    for name, limit, value in limits:
        if limit is not None and value > limit:
            found.append(Violation(name, limit, value, _excess(value, limit)))
    if len(found) > 1:
        found.sort(key=lambda violation: -violation.excess)
    return found


def _limits(objective: Objective) -> list[tuple[str, float]]:
    """(figure, limit) of the limits that are set."""
    limits = ((figure, getattr(objective, name)) for name, figure in _LIMITS.items())
    return [(figure, limit) for figure, limit in limits if limit is not None]


def _distance(weighed: Weighed, objective: Objective) -> tuple[float | str, ...]:
    missed = violations(weighed, objective)
    known = [violation.excess for violation in missed if math.isfinite(violation.found)]
    return (
        max(known, default=0.0),
        len(missed) - len(known),
        _preferred(weighed, objective.prefer),
        *_order(weighed),
    )


def _preferred(weighed: Weighed, prefer: Preference) -> float:
    """What is to be small."""
    if prefer == "quality":
        return -weighed.quality
    value: float = getattr(weighed, _FIGURES[prefer])
    return value


def _order(weighed: Weighed) -> tuple[float | str, ...]:
    option = weighed.entry.option
    return (
        weighed.cost_usd,
        weighed.latency_p95_s,
        -weighed.quality,
        weighed.energy_j,
        math.inf if option.samples_mean is None else option.samples_mean,
        weighed.entry.deployment,
        option.strategy,
        option.max_samples,
        option.wave,
    )


def _quality(entry: Entry) -> float:
    return -math.inf if entry.option.quality is None else entry.option.quality


def _excess(value: float, limit: float) -> float:
    """Value over limit; 0 for an unknown value."""
    return 0.0 if value == math.inf else value / max(limit, _LEAST_LIMIT)


def _excesses(values: Sequence[float], limit: float) -> list[float]:
    """``_excess`` of each value, written out because there are thousands."""
    least = max(limit, _LEAST_LIMIT)
    return [0.0 if value == math.inf else value / least for value in values]
