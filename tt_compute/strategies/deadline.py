"""Work that a run's deadline cuts short."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from tt_compute.errors import TTComputeError
from tt_compute.strategies.base import Run

__all__ = ["before_deadline"]

T = TypeVar("T")


async def before_deadline(run: Run, work: Callable[[], Awaitable[T]]) -> T | None:
    """What ``work`` gives; None when the deadline passes first.

    Raises:
        TTComputeError: The work's own.
    """
    if run.until_deadline is None:
        return await work()
    until_deadline = run.until_deadline
    found: list[T] = []
    failures: list[TTComputeError] = []

    async def watch() -> None:
        await until_deadline()
        tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        try:
            found.append(await work())
        except TTComputeError as error:
            # Raised below: a task group would wrap it up.
            failures.append(error)
        tasks.cancel_scope.cancel()
    if failures:
        raise failures[0]
    return found[0] if found else None
