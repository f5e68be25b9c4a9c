"""Functions of the user's that take part in a search, and the model as they see it."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar, cast

import anyio
import anyio.to_thread
import msgspec

from tt_compute.errors import TTComputeError, UsageError
from tt_compute.strategies.base import Run
from tt_compute.strategies.collecting import finished
from tt_compute.strategies.drawing import Ask, Drawer
from tt_compute.types import Message

__all__ = ["Model", "together"]

S = TypeVar("S")
R = TypeVar("R")


class Model:
    """The run's model, for functions that take part in its search."""

    def __init__(self, run: Run, drawer: Drawer) -> None:
        self._run = run
        self._drawer = drawer

    async def ask(
        self,
        prompt: str | Sequence[Message],
        n: int = 1,
        *,
        temperature: float | None = None,
        max_tokens: int | None = None,
        stop: Sequence[str] = (),
    ) -> list[str]:
        """Up to ``n`` completions: fewer when samples fail, the budget is spent or the deadline passes.

        Args:
            prompt: A text or messages; nothing of the request's own prompt is added.
            n: Samples, which count in the run's budget.
            temperature: None = the plan's.
            max_tokens: None = the plan's.
            stop: Strings that end a completion.
        """
        messages = (
            (Message(role="user", content=prompt),) if isinstance(prompt, str) else tuple(prompt)
        )
        sampling = self._run.sampling
        sampling = msgspec.structs.replace(
            sampling,
            temperature=sampling.temperature if temperature is None else temperature,
            max_tokens=sampling.max_tokens if max_tokens is None else max_tokens,
            stop=tuple(stop),
        )
        ask = Ask(messages=messages, number=n, sampling=sampling, answers=False)
        samples = (await self._drawer.draw([ask]))[0]
        return [one.event.text for one in samples if finished(one)]


async def together(
    function: Callable[[S, Model], R | Awaitable[R]], states: Sequence[S], model: Model, name: str
) -> list[R]:
    """What the user's function makes of each state; it is called for all of them at once.

    Raises:
        UsageError: It raised.
    """
    made: dict[int, R] = {}
    failures: list[TTComputeError] = []

    async def one(place: int) -> None:
        try:
            made[place] = await _call(function, states[place], model)
        except TTComputeError as error:
            failures.append(error)
            tasks.cancel_scope.cancel()
        except Exception as error:  # noqa: BLE001 - the boundary to code that is not ours
            failure = UsageError(f"the function `{name}` raised {type(error).__name__}: {error}")
            failure.__cause__ = error
            failures.append(failure)
            tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        for place in range(len(states)):
            tasks.start_soon(one, place)
    if failures:
        raise failures[0]
    return [made[place] for place in range(len(states))]


async def _call(function: Callable[[S, Model], R | Awaitable[R]], state: S, model: Model) -> R:
    if inspect.iscoroutinefunction(function):
        result: object = function(state, model)
    else:
        result = await anyio.to_thread.run_sync(function, state, model, abandon_on_cancel=True)
    return cast("R", await result if inspect.isawaitable(result) else result)
