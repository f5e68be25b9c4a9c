"""Many requests at once: order, bound, laziness, errors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from tt_compute.client import AsyncClient, Client
from tt_compute.errors import InvalidRequestError, OutOfMemory, TTComputeError
from tt_compute.many import Item, OnError
from tt_compute.results import Result

Connect = Callable[..., Client]
ConnectAsync = Callable[..., AsyncClient]

ECHO = [{"pattern": f"number {n}\\b", "answers": [f"The answer is {n}."]} for n in range(20)]
POISON = [{"kind": "oom", "pattern": "poison"}]


def question(n: int) -> str:
    return f"Which is number {n}? 1 + 1"


def test_results_come_in_the_items_order(connect: Connect) -> None:
    """Whichever ends first: later items are quicker here."""
    client = connect(rules=ECHO, latency={"ttft_s": {"p50": 0.001, "p95": 0.02}})
    results = client.solve_many((question(n) for n in range(12)), concurrency=5, seed=1)
    assert [result.answer for result in results] == [str(n) for n in range(12)]


def test_nothing_in_nothing_out(connect: Connect) -> None:
    assert connect().solve_many([]) == []


@pytest.mark.anyio
@pytest.mark.parametrize("concurrency", [1, 3, 100])
async def test_no_more_items_are_pulled_than_are_in_work(
    connect_async: ConnectAsync, concurrency: int
) -> None:
    """So that a long file is never read ahead of the work."""
    pulled = ended = most = 0

    def items() -> Iterator[str]:
        nonlocal pulled, most
        for n in range(10):
            pulled += 1
            most = max(most, pulled - ended)
            yield question(n)

    def count(_place: int, _outcome: Result | TTComputeError) -> None:
        nonlocal ended
        ended += 1

    async with connect_async(rules=ECHO, latency={"ttft_s": 1.0}) as client:
        results = await client.solve_many(items(), concurrency=concurrency, progress=count)
    assert len(results) == pulled == ended == 10
    assert most == min(concurrency, 10)


@pytest.mark.anyio
async def test_items_may_come_from_an_asynchronous_source(connect_async: ConnectAsync) -> None:
    async def items() -> AsyncIterator[str]:
        for n in range(3):
            yield question(n)

    async with connect_async(rules=ECHO) as client:
        results = await client.solve_many(items(), concurrency=2)
    assert [result.answer for result in results] == ["0", "1", "2"]


def test_an_item_may_have_options_of_its_own(connect: Connect) -> None:
    items: list[Item] = [
        {"prompt": question(1), "strategy": "single", "seed": 5},
        {"prompt": question(2)},
        [{"role": "user", "content": question(3)}],
    ]
    first, second, third = connect(rules=ECHO).solve_many(items, strategy="majority")
    assert (first.answer, second.answer, third.answer) == ("1", "2", "3")
    assert first.receipt.seed == 5
    assert first.plan.chosen is not None
    assert second.plan.chosen is not None
    assert (first.plan.chosen.strategy, second.plan.chosen.strategy) == ("single", "majority")


def test_an_error_stands_in_its_items_place(connect: Connect) -> None:
    client = connect(rules=ECHO, faults=POISON)
    prompts: list[Item] = [question(0), "poison 1 + 1", "", question(3), {"no": "prompt"}]
    outcomes = client.solve_many(prompts, on_error="return")
    kinds = [Result, OutOfMemory, InvalidRequestError, Result, InvalidRequestError]
    assert [type(outcome) for outcome in outcomes] == kinds


@pytest.mark.anyio
async def test_the_first_error_ends_all(connect_async: ConnectAsync) -> None:
    """What runs is cancelled and nothing more is pulled."""
    pulled: list[int] = []
    at_the_error: list[int] = []

    def items() -> Iterator[str]:
        for n in range(10):
            pulled.append(n)
            yield "poison 1 + 1" if n == 2 else question(n)

    def watch(_place: int, outcome: Result | TTComputeError) -> None:
        if isinstance(outcome, TTComputeError):
            at_the_error.extend(pulled)

    async with connect_async(rules=ECHO, faults=POISON, latency={"ttft_s": 1.0}) as client:
        with pytest.raises(OutOfMemory):
            await client.solve_many(items(), concurrency=2, progress=watch)
    assert pulled == at_the_error
    assert len(pulled) < 10


def test_progress_is_told_each_number_and_outcome_once(connect: Connect) -> None:
    told: dict[int, Result | TTComputeError] = {}
    client = connect(rules=ECHO, faults=POISON)
    prompts = [question(0), "poison 1 + 1", question(2)]
    outcomes = client.solve_many(prompts, on_error="return", progress=told.__setitem__)
    assert [told[place] for place in range(3)] == outcomes


@pytest.mark.parametrize("on_error", ["raise", "return"])
def test_what_the_items_raise_comes_back_as_it_is(connect: Connect, on_error: OnError) -> None:
    """Not wrapped into a group, and not taken for an error of one request."""

    def items() -> Iterator[str]:
        yield question(0)
        raise ZeroDivisionError

    client = connect(rules=ECHO)
    with pytest.raises(ZeroDivisionError):
        client.solve_many(items(), on_error=on_error)
    assert client.solve(question(1)).answer == "1"


def test_what_progress_raises_comes_back_as_it_is(connect: Connect) -> None:
    def broken(_place: int, _outcome: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        connect(rules=ECHO).solve_many([question(0)], progress=broken)


def test_one_prompt_is_no_list_of_prompts(connect: Connect) -> None:
    """A string would be taken letter by letter."""
    with pytest.raises(InvalidRequestError, match="one prompt"):
        connect().solve_many("6 * 7 = ?")
    with pytest.raises(InvalidRequestError, match="one prompt"):
        connect().solve_many({"prompt": "6 * 7 = ?"})


def test_a_concurrency_below_one_is_refused(connect: Connect) -> None:
    with pytest.raises(InvalidRequestError, match="concurrency"):
        connect().solve_many(["6 * 7 = ?"], concurrency=0)


def test_an_unknown_way_with_errors_is_refused(connect: Connect) -> None:
    with pytest.raises(InvalidRequestError, match="on_error"):
        connect().solve_many(["6 * 7 = ?"], on_error="ignore")  # type: ignore[call-overload] # pyright: ignore[reportArgumentType, reportCallIssue] - the wrong value is the subject
