"""Many requests, a bounded number at a time, pulled as they are needed."""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Coroutine,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from functools import partial
from typing import Literal, cast

import anyio
from anyio.abc import TaskGroup

from tt_compute.batch import Batch, Desk
from tt_compute.errors import InvalidRequestError, TTComputeError
from tt_compute.options import SolveOptions
from tt_compute.planning.batch import Budget
from tt_compute.prompts import Prompt
from tt_compute.results import Result
from tt_compute.task_groups import first_error

__all__ = ["Done", "Item", "OnError", "solve_many", "solve_within"]

Item = Prompt | Mapping[str, object]
"""A prompt, or a mapping with ``prompt`` and the options of this item alone."""
OnError = Literal["raise", "return"]
Done = Callable[[int, Result | TTComputeError], None]
"""Told an item's number and outcome."""
Solve = Callable[[Prompt, SolveOptions], Coroutine[object, object, Result]]
_Work = Callable[[int, Item], Coroutine[object, object, Result]]
"""Solves the item of a number."""


async def solve_many(
    solve: Solve,
    items: Iterable[Item] | AsyncIterable[Item],
    *,
    concurrency: int,
    on_error: OnError,
    progress: Done | None,
    options: SolveOptions,
) -> list[Result | TTComputeError]:
    """Solve each item; see ``AsyncClient.solve_many``.

    Raises:
        InvalidRequestError: An argument is not usable.
        TTComputeError: The first error, under ``on_error="raise"``.
    """
    _check(items, concurrency, on_error)

    async def work(_place: int, item: Item) -> Result:
        return await solve(*_split(item, options))

    return await _run(work, items, concurrency, on_error, progress)


async def solve_within(
    desk: Desk,
    items: Iterable[Item] | AsyncIterable[Item],
    *,
    budget: Budget,
    concurrency: int,
    on_error: OnError,
    progress: Done | None,
    options: SolveOptions,
) -> list[Result | TTComputeError]:
    """Solve each item within one budget; see ``AsyncClient.solve_many``.

    Raises:
        InvalidRequestError: An argument is not usable.
        InfeasibleError: The budget does not cover the items.
        TTComputeError: The first error, under ``on_error="raise"``.
    """
    _check(items, concurrency, on_error)
    _check_budget(budget)
    if not isinstance(items, Sequence):
        raise InvalidRequestError(
            "a budget is shared out before the first item runs, and these items are no list",
            hint="pass list(items)",
        )
    items = tuple(items)
    batch = Batch(desk, budget, [partial(_split, item, options) for item in items])
    await batch.open(refuse=on_error == "raise")

    async def work(place: int, _item: Item) -> Result:
        return await batch.solve(place)

    return await _run(work, items, concurrency, on_error, progress)


async def _run(
    work: _Work,
    items: Iterable[Item] | AsyncIterable[Item],
    concurrency: int,
    on_error: OnError,
    progress: Done | None,
) -> list[Result | TTComputeError]:
    async with aclosing(_pull(items)) as source:
        many = _Many(work, source, concurrency=concurrency, on_error=on_error, progress=progress)
        return await many.run()


class _Many:
    def __init__(
        self,
        work: _Work,
        source: AsyncIterator[Item],
        *,
        concurrency: int,
        on_error: OnError,
        progress: Done | None,
    ) -> None:
        self._solve = work
        self._source = source
        self._concurrency = concurrency
        self._on_error = on_error
        self._progress = progress
        self._outcomes: dict[int, Result | TTComputeError] = {}
        self._failed: TTComputeError | None = None
        self._workers = 0
        self._pulled = 0
        self._pulling = anyio.Lock()

    async def run(self) -> list[Result | TTComputeError]:
        with first_error():
            async with anyio.create_task_group() as group:
                self._add_worker(group)
        if self._failed is not None:
            raise self._failed
        return [self._outcomes[place] for place in range(self._pulled)]

    def _add_worker(self, group: TaskGroup) -> None:
        if self._workers < self._concurrency:
            self._workers += 1
            group.start_soon(self._work, group)

    async def _work(self, group: TaskGroup) -> None:
        while (pulled := await self._next()) is not None:
            self._add_worker(group)
            place, item = pulled
            outcome = await self._outcome(place, item)
            self._outcomes[place] = outcome
            if self._progress is not None:
                self._progress(place, outcome)
            if isinstance(outcome, TTComputeError) and self._on_error == "raise":
                self._failed = self._failed or outcome
                group.cancel_scope.cancel()

    async def _next(self) -> tuple[int, Item] | None:
        """The next item and its place; None at the end."""
        async with self._pulling:
            if self._failed is not None:
                return None
            try:
                item = await anext(self._source)
            except StopAsyncIteration:
                return None
            place = self._pulled
            self._pulled += 1
            return place, item

    async def _outcome(self, place: int, item: Item) -> Result | TTComputeError:
        try:
            return await self._solve(place, item)
        except TTComputeError as exc:
            return exc


def _split(item: Item, options: SolveOptions) -> tuple[Prompt, SolveOptions]:
    """An item's prompt and options.

    Raises:
        InvalidRequestError: It has no prompt.
    """
    if not isinstance(item, Mapping):
        return item, options
    own = dict(item)
    if "prompt" not in own:
        raise InvalidRequestError(f"an item has no 'prompt', only {sorted(own)}")
    prompt = cast("Prompt", own.pop("prompt"))
    return prompt, cast("SolveOptions", {**options, **own})


def _check(items: object, concurrency: int, on_error: str) -> None:
    if isinstance(items, str | Mapping):
        raise InvalidRequestError("items is one prompt", hint="pass a list of prompts")
    if concurrency < 1:
        raise InvalidRequestError(f"concurrency must be at least 1, got {concurrency}")
    if on_error not in ("raise", "return"):
        raise InvalidRequestError(f"on_error must be 'raise' or 'return', got {on_error!r}")


def _check_budget(budget: object) -> None:
    if not isinstance(budget, Budget):
        raise InvalidRequestError(
            f"budget must be a Budget, got {type(budget).__name__}",
            hint="say budget=Budget(max_cost_usd=...)",
        )


async def _pull(items: Iterable[Item] | AsyncIterable[Item]) -> AsyncGenerator[Item, None]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
        return
    for item in items:
        yield item
