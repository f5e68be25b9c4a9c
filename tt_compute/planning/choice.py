"""Choosing among options: constraints first, then what is preferred.

Order among options that meet every constraint:

1. the preferred quantity: best quality within half a point, else the least cost, latency (p95) or energy;
2. quality, within half a point of the best that is left;
3. cheaper, then quicker, then better, then less energy, then fewer samples, then cheaper tokens, then by name.

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
from tt_compute.planning.times import Times
from tt_compute.planning.types import Objective, Preference

__all__ = [
    "QUALITY_SLACK",
    "Board",
    "Entry",
    "Prompt",
    "Violation",
    "Weighed",
    "value",
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
    completion_usd: float = math.inf
    """As of its offer: tells options apart of which nothing else is known."""


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
        self._lay_out()
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
        for place, *_, then in self._further["cost_usd"]:
            kept[place] = kept[place] and then.offer not in offers
        board = copy(self)
        board._keep(kept)  # noqa: SLF001 - its own class
        return board

    def _keep(self, kept: Sequence[bool]) -> None:
        self.entries = tuple(compress(self.entries, kept))
        self.offers = list(compress(self.offers, kept))
        self._lay_out()
        self._errors = list(compress(self._errors, kept))
        self._lines = {name: list(compress(lines, kept)) for name, lines in self._lines.items()}

    def _lay_out(self) -> None:
        """The few options over several deployments, apart from the many others."""
        across = [
            (place, entry.option)
            for place, entry in enumerate(self.entries)
            if entry.option.then is not None or entry.option.members
        ]
        self._further = _further(across)
        self._panels = [
            (place, option, option.times) for place, option in across if option.times is not None
        ]

    def weigh(self, place: int, prompt: Prompt) -> Weighed:
        """The figures of the entry at a place for a prompt."""
        entry = self.entries[place]
        return Weighed(
            entry,
            _quality(entry),
            value(entry, "cost_usd", prompt),
            value(entry, "latency_p95_s", prompt),
            value(entry, "energy_j", prompt),
        )

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
                    option = self.entries[place].option
                    values[at] += add(option.own if option.members else option)
        for place, fixed, per_token, p50, p95, then in self._further[figure]:
            found = _find(places, place)
            if found is not None:
                ttft = ttfts[then.offer]
                values[found] += fixed + per_token * tokens + p50 * ttft[0] + p95 * ttft[1]
                if then.offer in delays:
                    values[found] += _held(then, figure, delays[then.offer])
        if figure == "latency_p95_s":
            for place, option, times in self._panels:
                found = _find(places, place)
                if found is not None:
                    values[found] += times.at(figure, tokens)
                    values[found] += _held_panel(option, times, figure, delays) if delays else 0.0
        return values


def _find(places: Sequence[int], place: int) -> int | None:
    """Where a place stands among some that are in their order."""
    at = bisect_left(places, place)
    return at if at < len(places) and places[at] == place else None


def _further(
    across: Sequence[tuple[int, Option]],
) -> dict[str, list[tuple[int, float, float, float, float, Then]]]:
    """By figure: the place of each option, the line of a further deployment of it, and that deployment."""
    return {
        name: [
            (place, *getattr(then.option.figures, name), then)
            for place, option in across
            for then in _adding(option, name)
        ]
        for name in _LIMITS.values()
    }


def _adding(option: Option, figure: str) -> tuple[Then, ...]:
    """The further deployments whose own figure adds to the option's; to a panel's latency none does by itself."""
    if option.then is not None:
        return (option.then,)
    return () if figure.startswith("latency") else option.members[1:]


def value(entry: Entry, figure: str, prompt: Prompt) -> float:
    """A figure of an option, with what the present state of its deployments adds; infinite = unknown.

    Args:
        entry: The option.
        figure: ``latency_p50_s`` or one of those that are weighed.
        prompt: What figures depend on.
    """
    option, delays = entry.option, prompt.delays
    line: Line = getattr(option.figures, figure)
    total = line.at(prompt.tokens, prompt.ttfts[entry.offer])
    if entry.offer in delays:
        total += _added(option.own, figure, delays[entry.offer])
    for then in _adding(option, figure):
        line = getattr(then.option.figures, figure)
        total += line.at(prompt.tokens, prompt.ttfts[then.offer])
        if then.offer in delays:
            total += _held(then, figure, delays[then.offer])
    if option.times is not None and figure.startswith("latency"):
        total += option.times.at(figure, prompt.tokens)
        total += _held_panel(option, option.times, figure, delays)
    return total


def _held_panel(option: Option, times: Times, figure: str, delays: Mapping[int, Delay]) -> float:
    """What the present state of members adds beyond that of the first: those of a batch wait at the same time."""
    held_s = [
        _added(one.option, figure, delays[one.offer]) if one.offer in delays else 0.0
        for one in option.members
    ]
    batch = len(held_s) - len(times.late)
    column = 0 if figure == "latency_p50_s" else 1
    later = sum(
        late[column] * seconds for late, seconds in zip(times.late, held_s[batch:], strict=True)
    )
    return max(held_s[:batch]) - held_s[0] + later


def _held(then: Then, figure: str, delay: Delay) -> float:
    """What the present state of a further deployment adds, in those runs that come to it."""
    added = _added(then.option, figure, delay)
    if figure == "cost_usd" or not added:
        return then.share * added
    load = then.option.p50 if figure == "latency_p50_s" else then.option.p95
    # Of runs at this level of duration, those that come here at all.
    return 0.0 if load is None else min(1.0, load.waves) * added


def _added(option: Option, figure: str, delay: Delay) -> float:
    """What the present state of a deployment adds to what it does."""
    if figure == "cost_usd":
        return delay.usd(option)
    if figure == "latency_p50_s":
        return delay.p50_s(option)
    return delay.p95_s(option) if figure == "latency_p95_s" else 0.0


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
        weighed.entry.completion_usd,
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
