"""A run that is watched while it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from types import TracebackType
from typing import Self

import anyio

from tt_compute.errors import TTComputeError, UsageError
from tt_compute.execution import Execution
from tt_compute.results import Result, Standing
from tt_compute.watching import StreamEvent

__all__ = ["SolveRun"]

Start = Callable[[Callable[[StreamEvent], None]], Coroutine[object, object, Execution]]
Finish = Callable[[Execution], Coroutine[object, object, Result]]


class SolveRun:
    """Events of a running ``solve``; then ``result``. Leaving its ``async with`` cancels the run.

    It owns one task, from ``__aenter__`` to ``__aexit__``, which may be called from different tasks.

    Args:
        start: Plans and gives the execution that reports to the callable it is passed.
        finish: Runs the execution to its end.
    """

    def __init__(self, start: Start, finish: Finish) -> None:
        self._start = start
        self._finish = finish
        self._events: asyncio.Queue[StreamEvent | None] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._execution: Execution | None = None
        self._result: Result | None = None
        self._error: TTComputeError | None = None

    async def __aenter__(self) -> Self:
        if self._task is not None:
            raise UsageError("a run can be entered only once", hint="call `stream` again")
        self._task = asyncio.create_task(self._drive())
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        with anyio.CancelScope(shield=True):
            # wait, not await: the task's own end is no error of whoever leaves the block.
            await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.result()

    def __aiter__(self) -> AsyncIterator[StreamEvent]:
        return self

    async def __anext__(self) -> StreamEvent:
        """The next event.

        Raises:
            TTComputeError: The run failed; all its events were given before.
        """
        event = await self.next_event()
        if event is None:
            raise StopAsyncIteration
        return event

    async def next_event(self) -> StreamEvent | None:
        """As ``__anext__``, with None at the end."""
        if self._task is None:
            raise UsageError(
                "the run has not begun",
                hint="write `with client.stream(...) as run:` around the loop",
            )
        event = await self._events.get()
        if event is None:
            self._events.put_nowait(None)
            if self._error is not None:
                raise self._error
        return event

    @property
    def result(self) -> Result:
        """The result, once iteration has ended.

        Raises:
            TTComputeError: The run failed.
            UsageError: The run is still going on, or was ended before it had a result.
        """
        if self._error is not None:
            raise self._error
        if self._result is None:
            if self._task is not None and self._task.done():
                raise UsageError("the run was ended before it had a result", hint="see `partial`")
            raise UsageError("the run has not ended", hint="iterate to the end first")
        return self._result

    @property
    def partial(self) -> Result | None:
        """What is known by now, of a failed run too; None before there is a plan."""
        if self._result is not None or self._execution is None:
            return self._result
        return self._execution.result()

    @property
    def standing(self) -> Standing | None:
        """The best answer so far, with its confidence; None before there is a plan."""
        return None if self._execution is None else self._execution.standing()

    def interrupt(self) -> None:
        """End the run soon with the best answer so far (``stop_reason: interrupted``).

        Before the first sample is drawn there is no answer to wait for: iteration just ends, and
        ``partial`` holds what there is.
        """
        ends_by_itself = self._execution is not None and self._execution.interrupt()
        if self._task is not None and not ends_by_itself:
            self._task.cancel()

    async def _drive(self) -> None:
        try:
            self._execution = await self._start(self._events.put_nowait)
            self._result = await self._finish(self._execution)
        except TTComputeError as exc:
            self._error = exc
        finally:
            self._events.put_nowait(None)
