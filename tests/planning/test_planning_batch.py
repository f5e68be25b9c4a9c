"""One budget over many items: within the limits, near the best, and honest about how near."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tt_compute.errors import InvalidRequestError
from tt_compute.planning.batch import ENOUGH, Budget, Way, allocate

Items = list[list[Way]]


def best_of_all(items: Sequence[Sequence[Way]], limits: Sequence[float]) -> float | None:
    """By trying every combination."""
    sums = [
        sum(way.quality for way in ways)
        for ways in itertools.product(*items)
        if all(
            used <= limit * (1 + 1e-9)
            for used, limit in zip(costs_of(ways, len(limits)), limits, strict=True)
        )
    ]
    return max(sums, default=None)


def costs_of(ways: Sequence[Way], limits: int) -> list[float]:
    return [sum(way.costs[place] for way in ways) for place in range(limits)]


def votes(count: int, seed: int, limits: int = 1) -> Items:
    """Items whose quality rises with 1, 2, 4, ... samples, each less than the one before."""
    rng = random.Random(seed)
    items: Items = []
    for _ in range(count):
        start, sample = rng.random(), [rng.uniform(0.5, 2) for _ in range(limits)]
        items.append(
            [
                Way(start + (1 - start) * (1 - 0.6**step), tuple(cost * 2**step for cost in sample))
                for step in range(5)
            ]
        )
    return items


@st.composite
def problems(draw: st.DrawFn) -> tuple[Items, list[float]]:
    limits = draw(st.integers(1, 3))
    amount = st.floats(0, 10, allow_subnormal=False)
    way = st.builds(
        Way,
        st.floats(0, 1, allow_subnormal=False),
        st.tuples(*[amount] * limits),
    )
    items = draw(st.lists(st.lists(way, min_size=1, max_size=4), min_size=1, max_size=4))
    return items, draw(st.lists(st.floats(0.01, 30), min_size=limits, max_size=limits))


@given(problems())
def test_picks_are_within_half_a_point_of_the_best_and_within_the_limits(
    problem: tuple[Items, list[float]],
) -> None:
    """By trying every combination; also of several limits, and where hulls miss the best."""
    check_against_all(*problem)


def test_picks_are_near_the_best_where_budgets_are_tight() -> None:
    """Most of these budgets allow some of what is better and not all of it."""
    rng = random.Random(1)
    for _ in range(600):
        limits, count = rng.choice([1, 1, 2, 3]), rng.randint(1, 5)
        items = [
            [
                Way(rng.random(), tuple(rng.random() ** 2 for _ in range(limits)))
                for _ in range(rng.randint(1, 4))
            ]
            for _ in range(count)
        ]
        check_against_all(items, [0.01 + 0.6 * count * rng.random() for _ in range(limits)])


def check_against_all(items: Items, limits: list[float]) -> None:
    best, found = best_of_all(items, limits), allocate(items, limits)
    assert (found is None) == (best is None)
    if found is None or best is None:
        return
    chosen = [ways[pick] for ways, pick in zip(items, found.picks, strict=True)]
    for used, limit in zip(costs_of(chosen, len(limits)), limits, strict=True):
        assert used <= limit * (1 + 1e-8)
    assert found.quality == pytest.approx(sum(way.quality for way in chosen))
    assert best - found.quality <= ENOUGH * len(items) + 1e-9
    assert found.bound >= best - 1e-9


@pytest.mark.parametrize("limits", [1, 2])
def test_many_items_come_within_half_a_point_of_the_bound(limits: int) -> None:
    """The one edge that does not fit whole is then a small part."""
    for count, seed in itertools.product((60, 200, 1000), range(3)):
        found = allocate(votes(count, seed, limits), [3.3 * count] * limits)
        assert found is not None
        assert found.bound - found.quality <= ENOUGH * count


def test_equal_items_do_not_keep_the_search_busy() -> None:
    """Which of them get more is all the same; there are 2^100 ways to choose."""
    items = [[Way(0.3, (1.0,)), Way(0.8, (5.0,))] for _ in range(100)]
    found = allocate(items, [100 + 4 * 34 + 3.9])
    assert found is not None
    assert sum(found.picks) == 34


def test_more_budget_is_never_worse() -> None:
    items = votes(12, 7)
    found = [allocate(items, [budget]) for budget in range(20, 200, 5)]
    qualities = [one.quality for one in found if one is not None]
    slack = ENOUGH * len(items)
    assert all(later >= before - slack for before, later in itertools.pairwise(qualities))
    assert len(qualities) > 30


def test_what_is_out_of_reach_is_none() -> None:
    assert allocate([[Way(1.0, (2.0,))], [Way(1.0, (2.0,))]], [3.9]) is None
    assert allocate([[Way(1.0, (0.1,))]], [0.0]) is None
    assert allocate([[Way(1.0, (0.1,))]], [-1.0]) is None


def test_what_is_free_needs_no_budget() -> None:
    found = allocate([[Way(0.2, (0.0,)), Way(0.9, (0.1,))]], [0.0])
    assert found is not None
    assert found.picks == (0,)


def test_no_items_take_nothing() -> None:
    found = allocate([], [1.0])
    assert found is not None
    assert (found.picks, found.quality) == ((), 0.0)


@pytest.mark.parametrize(
    "limits",
    [
        {},
        {"max_cost_usd": 0},
        {"max_cost_usd": -1.0},
        {"max_samples": 0},
        {"max_energy_j": float("nan")},
        {"max_energy_j": float("inf")},
    ],
)
def test_a_budget_that_limits_nothing_or_allows_nothing_is_refused(
    limits: dict[str, float],
) -> None:
    with pytest.raises(InvalidRequestError):
        Budget(**limits)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] - the wrong value is the subject
