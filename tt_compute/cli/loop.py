"""Commands that run on an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar, TypeVarTuple, Unpack

import anyio

from tt_compute.cli.interrupts import INTERRUPTS

__all__ = ["run_async"]

T = TypeVar("T")
Given = TypeVarTuple("Given")


def run_async(work: Callable[[Unpack[Given]], Awaitable[T]], *given: *Given) -> T:
    """Run ``work`` on a loop of its own; an interrupt cancels it and is raised when it has ended.

    Raises:
        KeyboardInterrupt: It was interrupted.
    """

    async def cancellable() -> T:
        task = asyncio.current_task()
        assert task is not None
        loop = asyncio.get_running_loop()

        def cancel() -> None:
            loop.call_soon_threadsafe(task.cancel)

        with INTERRUPTS.meaning(cancel):
            return await work(*given)

    try:
        # Neither the loop's start nor its end is cut off.
        with INTERRUPTS.held():
            result = anyio.run(cancellable)
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    if INTERRUPTS.seen:
        # It came too late to cancel anything, and what would come next is not to begin.
        raise KeyboardInterrupt
    return result
