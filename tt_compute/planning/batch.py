"""One budget over many requests: spend where it pays.

Each item has a few ways to be answered, each with an expected quality and what it takes of each limit; exactly
one is picked, so that the sum of the qualities is greatest within the limits. That is the multiple-choice
knapsack. Relaxed by Lagrange multipliers (Everett 1963), every item picks by itself the way with the greatest
quality - multiplier x cost, which is always one on the upper convex hull of its (cost, quality) points; walking
the hulls' edges by quality per cost, the steepest first, meets every budget in turn. The same allocation of
test-time compute under a budget is that of arXiv 2604.14853.

* The last edge that does not fit whole bounds what any picks can reach; the picks miss that bound by less than
  this one edge, which many items make small.
* Where it is not small, picks off the hull and others near it are tried, item by item, by dynamic programming
  over the states that can still beat what was found.
* Of several limits a weighted mean takes the place, its weights moved towards the limits that are exceeded
  (multiplicative weights), so that one price stands for all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec

from tt_compute.errors import InvalidRequestError

__all__ = ["Allocation", "Budget", "Way", "allocate"]

ENOUGH = 0.005
"""Half a point of quality an item: nothing nearer to the bound is looked for."""
_ROUNDING = 1e-9
"""Ten tenths are the whole."""
_WEIGHINGS = 40
"""Of several limits."""
_STATES = 400
"""Most that are followed from item to item."""


class Budget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What many requests may take together; None does not bind, but one limit must.

    Raises:
        InvalidRequestError: A value is out of range, or there is none.
    """

    max_cost_usd: float | None = None
    max_samples: int | None = None
    max_energy_j: float | None = None
    """Energy is predicted, never measured: each item is charged what was predicted for it."""

    def __post_init__(self) -> None:
        """Refuse values that no allocation could honour."""
        if not self.limits:
            raise InvalidRequestError(
                "the budget limits nothing", hint="say Budget(max_cost_usd=...), or leave it out"
            )
        for name, value in zip(self.names, self.limits, strict=True):
            if not (math.isfinite(value) and value > 0):
                raise InvalidRequestError(f"{name} must be a positive number, got {value}")

    @property
    def names(self) -> tuple[str, ...]:
        """Of the limits that are set."""
        return tuple(name for name in self.__struct_fields__ if getattr(self, name) is not None)

    @property
    def limits(self) -> tuple[float, ...]:
        """In the order of ``names``."""
        return tuple(float(getattr(self, name)) for name in self.names)


class Way(NamedTuple):
    """One way to answer an item."""

    quality: float
    """Expected."""
    costs: tuple[float, ...]
    """Of each limit; expected."""


class Allocation(msgspec.Struct, frozen=True, kw_only=True):
    """What each item gets."""

    picks: tuple[int, ...]
    """For each item the position of its way."""
    quality: float
    """Sum over the items."""
    bound: float
    """No picks within the limits reach more."""


def allocate(items: Sequence[Sequence[Way]], limits: Sequence[float]) -> Allocation | None:
    """Pick a way for every item.

    Args:
        items: The ways of each, at least one.
        limits: At least one; what all picks may cost together, of each limit.

    Returns:
        Picks whose mean quality is within half a point of the best, or as near as the search comes; None
        when the limits do not cover the cheapest ways.
    """
    if not items:
        return Allocation(picks=(), quality=0.0, bound=0.0)
    shares = [[_shared(way, limits) for way in ways] for ways in items]
    enough = ENOUGH * len(items)
    best: _Relaxed | None = None
    picks: tuple[int, ...] | None = None
    reached = -math.inf
    for relaxed in _weighings(shares, len(limits)):
        if best is None or relaxed.bound < best.bound:
            best = relaxed
        if relaxed.picks is not None and _sum(shares, relaxed.picks) > reached:
            picks, reached = relaxed.picks, _sum(shares, relaxed.picks)
        if best.bound - reached <= enough:
            break
    if best is not None and best.bound - reached > enough:
        picks = _improved(shares, best.prices, picks)
    if best is None or picks is None:
        return None
    reached = _sum(shares, picks)
    return Allocation(picks=picks, quality=reached, bound=max(best.bound, reached))


class _Edge(NamedTuple):
    """From one point of an item's hull to the next one."""

    slope: float
    """Quality for each unit of cost."""
    cost: float
    quality: float
    item: int
    to: int


class _Relaxed(NamedTuple):
    """The best that fractions of ways could do, under one weighted mean of the limits."""

    bound: float
    prices: tuple[float, ...]
    """Quality that a unit of each limit is worth: the multipliers."""
    used: tuple[float, ...]
    """Of each limit."""
    picks: tuple[int, ...] | None
    """Whole ways within every limit; None where even the cheapest by this mean are not."""


def _weighings(items: Sequence[Sequence[Way]], limits: int) -> Iterator[_Relaxed]:
    """The relaxation under one mean of the limits after another; nothing where one shows that none can do."""
    weights = [1.0 / limits] * limits
    for step in range(_WEIGHINGS if limits > 1 else 1):
        relaxed = _relax(items, weights)
        if relaxed is None:
            return
        yield relaxed
        pace = 1 / math.sqrt(step + 1)
        weights = [
            weight * math.exp(pace * min(1.0, used - 1))
            for weight, used in zip(weights, relaxed.used, strict=True)
        ]
        whole = math.fsum(weights)
        weights = [weight / whole for weight in weights]


def _relax(items: Sequence[Sequence[Way]], weights: Sequence[float]) -> _Relaxed | None:
    """None when the cheapest ways cost more than the whole."""
    hulls = [_hull(ways, weights) for ways in items]
    start = tuple(hull[0] for hull in hulls)
    edges = sorted(
        (
            edge
            for item, hull in enumerate(hulls)
            for edge in _edges(item, items[item], hull, weights)
        ),
        key=lambda edge: -edge.slope,
    )
    left = (
        1
        + _ROUNDING
        - math.fsum(_mean(items[item][pick].costs, weights) for item, pick in enumerate(start))
    )
    if left < 0:
        return None
    bound, price, picks = _sum(items, start), 0.0, list(start)
    for edge in edges:
        if edge.cost > left:
            bound += edge.slope * left
            price = edge.slope
            break
        bound, left = bound + edge.quality, left - edge.cost
        picks[edge.item] = edge.to
    return _Relaxed(
        bound=bound,
        prices=tuple(price * weight for weight in weights),
        used=_used(items, picks),
        picks=_whole(items, start, edges),
    )


def _whole(
    items: Sequence[Sequence[Way]], start: tuple[int, ...], edges: Iterable[_Edge]
) -> tuple[int, ...] | None:
    """Every edge in turn that still fits into every limit; an item whose edge does not fit stays where it is."""
    used = list(_used(items, start))
    if max(used) > 1 + _ROUNDING:
        return None
    picks, stays = list(start), set[int]()
    for edge in edges:
        if edge.item in stays:
            continue
        before, after = items[edge.item][picks[edge.item]], items[edge.item][edge.to]
        then = [
            sum_ - old + new for sum_, old, new in zip(used, before.costs, after.costs, strict=True)
        ]
        if max(then) > 1 + _ROUNDING:
            stays.add(edge.item)
        else:
            used, picks[edge.item] = then, edge.to
    return tuple(picks)


def _hull(ways: Sequence[Way], weights: Sequence[float]) -> list[int]:
    """Positions of the ways on the upper convex hull, the cheapest first."""
    costs = [_mean(way.costs, weights) for way in ways]
    order = sorted(range(len(ways)), key=lambda place: (costs[place], -ways[place].quality))
    hull: list[int] = []
    for place in order:
        quality = ways[place].quality
        if hull and quality <= ways[hull[-1]].quality:
            continue
        while len(hull) > 1:
            first, middle = hull[-2], hull[-1]
            rise = (ways[middle].quality - ways[first].quality) * (costs[place] - costs[first])
            if rise > (quality - ways[first].quality) * (costs[middle] - costs[first]):
                break
            hull.pop()
        hull.append(place)
    return hull


def _edges(
    item: int, ways: Sequence[Way], hull: Sequence[int], weights: Sequence[float]
) -> Iterator[_Edge]:
    for here, there in pairwise(hull):
        cost = _mean(ways[there].costs, weights) - _mean(ways[here].costs, weights)
        quality = ways[there].quality - ways[here].quality
        yield _Edge(quality / cost if cost else math.inf, cost, quality, item, there)


class _State(NamedTuple):
    """Picks for the items so far."""

    loss: float
    """How much less they are worth than what each item would pick at the prices."""
    used: tuple[float, ...]
    picks: _Chain | None
    """Of the last item; then those before it."""


class _Chain(NamedTuple):
    pick: int
    before: _Chain | None


def _improved(
    items: Sequence[Sequence[Way]], prices: Sequence[float], picks: tuple[int, ...] | None
) -> tuple[int, ...] | None:
    """Picks that are at least as good; with None, any that are within the limits.

    Any picks within the limits are worth at most the sum of the items' own best at the prices, plus the
    prices, less their losses; so only losses below what is open between that and what was found are of use.
    """
    worths = [[way.quality - _mean(way.costs, prices) for way in ways] for ways in items]
    best = math.fsum(max(worth) for worth in worths) + math.fsum(prices)
    open_ = math.inf if picks is None else best - _sum(items, picks)
    states = [_State(0.0, (0.0,) * len(prices), None)]
    for ways, worth in zip(items, worths, strict=True):
        most = max(worth)
        found = [
            _State(loss, used, _Chain(place, state.picks))
            for state in states
            for place, way in enumerate(ways)
            if (loss := state.loss + most - worth[place]) < open_
            and max(used := tuple(map(sum, zip(state.used, way.costs, strict=True))))
            <= 1 + _ROUNDING
        ]
        states = _best_states(found, prices)
    ends = [_unrolled(state.picks) for state in states]
    if picks is not None:
        ends.append(picks)
    return max(ends, key=lambda end: _sum(items, end), default=None)


def _unrolled(chain: _Chain | None) -> tuple[int, ...]:
    picks: list[int] = []
    while chain is not None:
        picks.append(chain.pick)
        chain = chain.before
    return tuple(reversed(picks))


def _best_states(states: list[_State], prices: Sequence[float]) -> list[_State]:
    """Those that no other one beats, the least losses first, as many as are followed."""
    if len(prices) == 1:
        # Quality so far = price x used - loss, up to what all states share.
        states.sort(key=lambda state: (state.used, state.loss))
        kept: list[_State] = []
        most = -math.inf
        for state in states:
            quality = prices[0] * state.used[0] - state.loss
            if quality > most + _ROUNDING:
                most = quality
                kept.append(state)
        states = kept
    return sorted(states, key=lambda state: state.loss)[:_STATES]


def _shared(way: Way, limits: Sequence[float]) -> Way:
    """With costs as shares of the limits."""
    costs = (
        (cost / limit if limit > 0 else math.inf) if cost > 0 else 0.0
        for cost, limit in zip(way.costs, limits, strict=True)
    )
    return Way(way.quality, tuple(costs))


def _mean(costs: Sequence[float], weights: Sequence[float]) -> float:
    return sum(cost * weight for cost, weight in zip(costs, weights, strict=True))


def _used(items: Sequence[Sequence[Way]], picks: Sequence[int]) -> tuple[float, ...]:
    costs = (ways[pick].costs for ways, pick in zip(items, picks, strict=True))
    return tuple(map(math.fsum, zip(*costs, strict=True)))


def _sum(items: Sequence[Sequence[Way]], picks: Sequence[int]) -> float:
    return math.fsum(ways[pick].quality for ways, pick in zip(items, picks, strict=True))
