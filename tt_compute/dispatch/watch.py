"""Looks after the attempts under way: who shows no life is stopped, who is slow is hedged."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Final, Protocol

from tt_compute.dispatch.route import Route, Slot, Try
from tt_compute.errors import DeadlineExceeded, Stalled
from tt_compute.types import Clock

__all__ = ["Watched", "Watchman"]

GRACE_S: Final = 1.0
"""How long past the deadline a backend may take to end its samples by itself, as the protocol asks."""
_LOOK_S: Final = 0.25
"""An attempt that began since the last look is looked at within this time."""


class Watched(Protocol):
    """A generation that is looked after."""

    @property
    def deadline(self) -> float:
        """Of the run; infinite = none."""
        ...

    def waiting(self) -> Sequence[Slot]: ...
    def running(self) -> Sequence[Try]: ...
    def has_others(self, route: Route) -> bool: ...
    def end_waiting(self, slot: Slot) -> None: ...
    def lose(self, error: BaseException) -> None: ...
    def hedge(self, one: Try) -> None: ...


class Watchman:
    """Looks after all generations of a client, in one task that ends when there are none.

    Args:
        clock: The clock of the deadlines.
        hedging: Whether slow attempts may be sent twice.
    """

    def __init__(self, clock: Clock, *, hedging: bool) -> None:
        self._clock = clock
        self._hedging = hedging
        self._watched: set[Watched] = set()
        self._task: asyncio.Task[None] | None = None
        self._due = math.inf

    def add(self, watched: Watched) -> None:
        """Look after it until nothing of it waits or runs."""
        self._watched.add(watched)
        running = self._task is not None and not self._task.done()
        if running and watched.deadline >= self._due:
            return
        self.close()
        self._task = asyncio.get_running_loop().create_task(self._run())

    def discard(self, watched: Watched) -> None:
        """Look after it no more; with nothing left the task ends, so that no sleeper of it moves virtual time."""
        self._watched.discard(watched)
        if not self._watched:
            self.close()

    def close(self) -> None:
        """Stop looking; ``add`` begins again."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        while self._watched:
            now = self._clock.now()
            soonest = now + _LOOK_S
            for watched in list(self._watched):
                if watched.waiting() or watched.running():
                    soonest = min(soonest, _look(watched, now, hedging=self._hedging))
                else:
                    self._watched.discard(watched)
            self._due = soonest
            await self._clock.sleep(max(soonest - now, 0.0))
        self._task = None


def _look(watched: Watched, now: float, *, hedging: bool) -> float:
    """Stop what is too slow; returns when the next one is."""
    soonest = _keep_deadline(watched, watched.deadline, now)
    for one in watched.running():
        soonest = min(soonest, _look_at(watched, one, watched.deadline, now))
        if hedging:
            soonest = min(soonest, _hedge(watched, one, now))
    return soonest


def _keep_deadline(watched: Watched, deadline: float, now: float) -> float:
    if now < deadline:
        return deadline
    for slot in watched.waiting():
        watched.end_waiting(slot)
    late = watched.running()
    if late and now >= deadline + GRACE_S:
        error = DeadlineExceeded(
            f"{late[0].route.spec.id} did not end its samples at the deadline",
            hint="the backend does not keep the deadline of the protocol; report it to its authors",
        )
        watched.lose(error)
    return deadline + GRACE_S


def _look_at(watched: Watched, one: Try, deadline: float, now: float) -> float:
    """Stop an attempt that shows no life; returns when it next must have shown some."""
    if one.late is not None or not one.route.streams:
        return math.inf
    if one.first_at is not None:
        patience_s, due = one.route.gate.stall_timeout_s, one.alive_at
        what = "further"
    else:
        patience_s, due = _first_token_patience_s(watched, one, deadline), one.entry.started
        what = "first"
    due += patience_s
    if now < due:
        return due
    deployment = one.route.spec.id
    one.late = Stalled(
        f"{deployment}: no {what} token within {patience_s:.3g} s", deployment=deployment
    )
    one.route.stop(one)
    return math.inf


def _first_token_patience_s(watched: Watched, one: Try, deadline: float) -> float:
    """Never over half the time that was left when it began, while another deployment could still help."""
    patience_s = one.route.gate.first_token_timeout_s
    if math.isfinite(deadline) and watched.has_others(one.route):
        return min(patience_s, (deadline - one.entry.started) / 2)
    return patience_s


def _hedge(watched: Watched, one: Try, now: float) -> float:
    """Returns when the attempt would be slow enough to be sent a second time."""
    after_s = one.route.gate.hedge_after_s()
    if after_s is None or one.first_at is not None or one.hedged or len(one.slot.tries) > 1:
        return math.inf
    due = one.entry.started + after_s
    if now < due:
        return due
    watched.hedge(one)
    return math.inf
