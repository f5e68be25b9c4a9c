"""Many requests, a bounded number at a time, pulled as they are needed."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable, Mapping
from typing import Literal, cast

import anyio

from tt_compute.errors import InvalidRequestError, TTComputeError
from tt_compute.options import SolveOptions
from tt_compute.prompts import Prompt
from tt_compute.results import Result

__all__ = ["Item", "solve_many"]

Item = Prompt | Mapping[str, object]
"""A prompt, or a mapping with ``prompt`` and the options of this item alone."""

Done = Callable[[int, Result | TTComputeError], None]


Solve = Callable[[Prompt, SolveOptions], Coroutine[object, object, Result]]


async def solve_many(
    solve: Solve,
    items: Iterable[Item] | AsyncIterable[Item],
    *,
    concurrency: int,
    on_error: Literal["raise", "return"],
    progress: Done | None,
    options: SolveOptions,
) -> list[Result | TTComputeError]:
    """Solve each item; see ``AsyncClient.solve_many``.

    Raises:
        InvalidRequestError: ``concurrency`` is below 1.
        TTComputeError: The first error, under ``on_error="raise"``.
    """
    if concurrency < 1:
        raise InvalidRequestError(f"concurrency must be at least 1, got {concurrency}")
    outcomes: dict[int, Result | TTComputeError] = {}
    failed: list[TTComputeError] = []
    slots = anyio.Semaphore(concurrency)

    async def work(place: int, item: Item) -> None:
        try:
            outcome: Result | TTComputeError = await _solve_item(solve, item, options)
        except TTComputeError as exc:
            outcome = exc
        finally:
            slots.release()
        outcomes[place] = outcome
        if progress is not None:
            progress(place, outcome)
        if isinstance(outcome, TTComputeError) and on_error == "raise":
            failed.append(outcome)
            group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        place = 0
        async for item in _pull(items):
            await slots.acquire()
            group.start_soon(work, place, item)
            place += 1
    if failed:
        raise failed[0]
    return [outcomes[place] for place in sorted(outcomes)]


async def _solve_item(solve: Solve, item: Item, options: SolveOptions) -> Result:
    if isinstance(item, Mapping):
        own = dict(item)
        if "prompt" not in own:
            raise InvalidRequestError(f"an item has no 'prompt', only {sorted(own)}")
        prompt = cast("Prompt", own.pop("prompt"))
        return await solve(prompt, cast("SolveOptions", {**options, **own}))
    return await solve(item, options)


async def _pull(items: Iterable[Item] | AsyncIterable[Item]) -> AsyncIterator[Item]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
        return
    for item in items:
        yield item
