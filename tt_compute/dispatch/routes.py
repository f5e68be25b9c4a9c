"""The deployments of a plan for one prompt, and who of them could take a sample now."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Iterator

from tt_compute.dispatch.bulkhead import Bulkhead
from tt_compute.dispatch.decide import Standing
from tt_compute.dispatch.route import Listener, Route
from tt_compute.errors import BackendError, RequestRefused, ServerError, TTComputeError

__all__ = ["Routes", "place_at"]


class Routes:
    """The planned deployment first, then the plan's next best ones."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes = list(routes)

    def __iter__(self) -> Iterator[Route]:
        return iter(self._routes)

    def __getitem__(self, place: int) -> Route:
        return self._routes[place]

    def place(self, route: Route) -> int:
        return self._routes.index(route)

    @property
    def all_lost(self) -> bool:
        return all(route.error is not None for route in self._routes)

    def has_others(self, route: Route) -> bool:
        """Whether another deployment could still help."""
        return any(other is not route and other.error is None for other in self._routes)

    async def open_first(self, listener: Listener) -> None:
        """Open the prompt at the first deployment that takes it; what cannot be had goes to the end of the line.

        Raises:
            TTComputeError: None does; the error of the planned one.
        """
        first: TTComputeError | None = None
        for route in self._routes:
            try:
                await route.open_now(listener)
            except RequestRefused:
                raise
            except BackendError as error:
                first = first or error
            else:
                self._routes.sort(key=lambda one: one.error is not None)
                return
        assert first is not None
        raise first

    def flush(self) -> None:
        """Send what was begun."""
        for route in self._routes:
            route.flush()

    def standings(self, tokens: float, now: float) -> list[Standing]:
        """When each of them would take an attempt of so many tokens."""
        return [
            Standing(
                route=at,
                wait_s=route.gate.wait_s(tokens, now) if route.error is None else math.inf,
                least_s=route.gate.least_s,
            )
            for at, route in enumerate(self._routes)
        ]

    def why_not(self, tokens: float, now: float) -> BackendError:
        """Why none of them can begin in time; the planned one's reason."""
        for route in self._routes:
            if isinstance(route.error, BackendError):
                return route.error
        held = self._routes[0].gate.hold(tokens, now)
        if held is not None:
            return held.error
        return ServerError(f"{self._routes[0].spec.id} could not begin within the time left")


async def place_at(bulkhead: Bulkhead, *, left_s: float) -> None:
    """Take a place, waiting for one if need be.

    Raises:
        Overloaded: The queue is full, or longer than the time left.
    """
    if bulkhead.try_enter():
        return
    granted = asyncio.get_running_loop().create_future()
    waiter = bulkhead.enqueue(
        lambda: None if granted.done() else granted.set_result(None),
        left_s=None if math.isinf(left_s) else left_s,
    )
    try:
        await granted
    except asyncio.CancelledError:
        if waiter.active:
            bulkhead.give_up(waiter)
        else:
            bulkhead.leave()
        raise
