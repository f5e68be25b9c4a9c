"""A generation over several deployments: every sample ends well somewhere, or says why not."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Final, Literal

import msgspec

from tt_compute.backend import second_consumer
from tt_compute.dispatch.decide import Next, Standing, decide, first_choice
from tt_compute.dispatch.gate import Entry, Hold
from tt_compute.dispatch.ledger import Ledger
from tt_compute.dispatch.quota import FanOutQuota
from tt_compute.dispatch.route import Route, Slot, Try
from tt_compute.dispatch.routes import Routes, place_at
from tt_compute.dispatch.shared import Shared
from tt_compute.dispatch.spend import SpendGuard
from tt_compute.errors import (
    BackendError,
    GenerationClosed,
    Overloaded,
    RateLimitError,
    ServerError,
    TTComputeError,
    UsageError,
)
from tt_compute.types import Delta, Event, Failed, GenerateRequest, Sample, Timing, Usage

__all__ = ["RoutedGeneration"]

_CLOSE_S: Final = 1.0


class RoutedGeneration:
    """Satisfies ``tt_compute.backend.Generation`` and books every attempt.

    Args:
        routes: The planned deployment's first, then the plan's next best ones.
        request: What the caller asked for.
        ledger: Of the run.
        spend: Caps that every attempt stands under.
        most: Tokens that one attempt may take, for limits and caps.
        shared: Of the client.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        request: GenerateRequest,
        ledger: Ledger,
        *,
        spend: SpendGuard,
        most: Usage,
        shared: Shared,
    ) -> None:
        self._routes = Routes(routes)
        self._request = request
        self.deadline: float = math.inf if request.deadline is None else request.deadline
        self._ledger = ledger
        self._spend = spend
        self._most = most
        self._tokens = most.input_tokens + most.output_tokens
        self._shared = shared
        self._clock = shared.clock
        self._quota = FanOutQuota()
        self._slots: dict[int, Slot] = {}
        self._drawn = 0
        self._unfunded: deque[Slot] = deque()
        self._followers: list[Slot] = []
        """Drawn, and held back until the first sample has a token."""
        self._events: deque[Event] = deque()
        self._consumer: asyncio.Future[None] | None = None
        self._lost: BaseException | None = None
        self._closed = False

    async def open(self) -> None:
        """Open the prompt at the first deployment of the plan that takes it.

        Raises:
            TTComputeError: None does; the error of the planned one.
        """
        await self._routes.open_first(self)

    # --- the protocol ----------------------------------------------------------------------------

    def draw(self, n: int = 1) -> range:
        if self._closed:
            raise GenerationClosed("the generation's scope was left")
        indices = range(self._drawn, self._drawn + n)
        self._drawn += n
        self._quota.grow(n)
        now = self._clock.now()
        slots = [Slot(index, now) for index in indices]
        for slot in slots:
            self._shared.retries.on_sample()
            self._slots[slot.index] = slot
        if indices.start == 0 and n > 1 and self._routes[0].caches(self._most.input_tokens):
            # The others read from the cache what the first one writes there.
            self._followers = slots[1:]
            slots = slots[:1]
        self._begin_all(slots)
        if self._slots:
            self._shared.watchman.add(self)
        return indices

    def cancel(self, index: int | None = None) -> None:
        for one in list(self._slots) if index is None else [index]:
            slot = self._slots.get(one)
            if slot is not None and not slot.cancelled:
                slot.cancelled = True
                self._stop(slot, "cancelled")

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        while not self._events:
            if not self._slots:
                lost, self._lost = self._lost, None
                if lost is not None:
                    raise lost
                raise StopAsyncIteration
            if self._lost is not None and not isinstance(self._lost, BackendError | UsageError):
                raise self._lost
            if self._consumer is not None:
                raise second_consumer()
            self._consumer = asyncio.get_running_loop().create_future()
            try:
                await self._consumer
            finally:
                self._consumer = None
        return self._events.popleft()

    @property
    def idle(self) -> bool:
        """Whether closing it has nothing to wait for."""
        return not self._slots and all(route.idle for route in self._routes)

    async def aclose(self) -> None:
        """End everything; every attempt is booked when it returns."""
        self._closed = True
        self.cancel()
        self._shared.watchman.discard(self)
        for route in self._routes:
            route.begin_close()
        for route in self._routes:
            await route.end_close(_CLOSE_S)
        for slot in list(self._slots.values()):
            error = ServerError(f"sample {slot.index} never ended")
            self._end(slot, Failed(index=slot.index, error=error), self._routes[0])

    # --- beginning an attempt ----------------------------------------------------------------------

    def _begin_all(self, slots: Iterable[Slot]) -> None:
        for slot in slots:
            if slot.index in self._slots:
                self._begin(slot)
        self._routes.flush()

    def _release_followers(self) -> None:
        """The first sample has written its prompt into the cache, or never will."""
        followers, self._followers = self._followers, []
        if followers and not self._closed:
            self._begin_all(followers)

    def _begin(self, slot: Slot) -> None:
        """Begin at once where nothing stands in the way; else a task waits."""
        planned = self._routes[0]
        now = self._clock.now()
        if planned.is_open and planned.gate.bulkhead.try_enter():
            made = planned.gate.enter(self._tokens, now)
            if not isinstance(made, Hold):
                self._start(slot, planned, made)
                return
            planned.gate.bulkhead.leave()
        self._launch(slot, None)

    def _launch(self, slot: Slot, chosen: Next | None) -> None:
        slot.launch = asyncio.get_running_loop().create_task(self._launch_later(slot, chosen))
        slot.launch.add_done_callback(self._on_launched)

    def _on_launched(self, launch: asyncio.Task[None]) -> None:
        error = None if launch.cancelled() else launch.exception()
        if error is not None:
            self.lose(error)

    async def _launch_later(self, slot: Slot, chosen: Next | None) -> None:
        tried: set[int] = set()
        held: BackendError | None = None
        while True:
            left_s = self._left_s()
            if chosen is None:
                standings = [one for one in self._standings() if one.route not in tried]
                limit_s = min(left_s, self._shared.max_wait_s)
                chosen = first_choice(standings, left_s=limit_s) if standings else None
            if chosen is None:
                why_not = self._routes.why_not(self._tokens, self._clock.now())
                self._give_up(slot, held or why_not)
                return
            if chosen.wait_s > 0:
                await self._clock.sleep(chosen.wait_s)
            route, chosen = self._routes[chosen.route], None
            held = await self._try_at(slot, route)
            if held is None:
                return
            if isinstance(held, Overloaded) or not isinstance(held, RateLimitError):
                tried.add(self._routes.place(route))

    async def _try_at(self, slot: Slot, route: Route) -> BackendError | None:
        """Begin an attempt there; the error where it cannot be."""
        try:
            await route.open(self)
            await place_at(route.gate.bulkhead, left_s=self._left_s())
        except BackendError as error:
            return error
        except TTComputeError as error:
            return BackendError(error.message, deployment=route.spec.id, hint=error.hint)
        made = route.gate.enter(self._tokens, self._clock.now())
        if isinstance(made, Hold):
            route.gate.bulkhead.leave()
            return made.error
        slot.launch = None
        self._start(slot, route, made)
        self._routes.flush()
        return None

    def _start(self, slot: Slot, route: Route, entry: Entry) -> None:
        try:
            reserved = self._spend.reserve(route.spec, self._most)
        except BackendError as error:
            route.gate.end(entry, self._clock.now(), tokens=0, sent=False, gave_up=True)
            if any(other.tries for other in self._slots.values()):
                # What is under way will cost less than was set aside for it.
                self._unfunded.append(slot)
            else:
                self._give_up(slot, error)
            return
        one = Try(slot, route, entry, reserved)
        slot.attempts += 1
        slot.tries.append(one)
        self._shared.hedges.on_attempt()
        route.draw(one)

    # --- what comes of it --------------------------------------------------------------------------

    def on_event(self, route: Route, event: Event) -> None:
        """Told by the route."""
        one = route.tries.get(event.index)
        if one is None:
            self.on_lost(
                route,
                ServerError(
                    f"{route.spec.id} spoke of sample {event.index}, which was not drawn or had ended",
                    deployment=route.spec.id,
                    hint="the backend breaks the protocol; report it to its authors",
                ),
            )
        elif isinstance(event, Delta):
            self._on_delta(one, event)
        else:
            del route.tries[event.index]
            one.leave()
            self._on_end(one, event)

    def on_lost(self, route: Route, error: Exception) -> None:
        """Told by the route."""
        route.error = error
        if not isinstance(error, TTComputeError):
            self.lose(error)
        failure = error if isinstance(error, BackendError) else ServerError(str(error))
        for one in list(route.tries.values()):
            one.leave()
            self._on_failed(one, Failed(index=one.native, error=failure))
        route.tries.clear()
        if self._routes.all_lost:
            self._lost = self._lost or error
            self._wake()

    def _on_delta(self, one: Try, delta: Delta) -> None:
        now, slot = self._clock.now(), one.slot
        one.alive_at = now
        if one.first_at is None and (delta.text or delta.reasoning or delta.logprobs):
            one.first_at = now
            one.route.gate.first_token(now - one.entry.started)
            self._release_followers()
            if slot.leader is None:
                slot.leader = one
                self._stop_others(slot, one)
                if slot.shown:
                    delta = msgspec.structs.replace(delta, restart=True)
        if self._request.deltas != "none" and slot.leader is one and slot.index in self._slots:
            slot.shown = True
            self._put(msgspec.structs.replace(delta, index=slot.index))

    @staticmethod
    def _stop_others(slot: Slot, one: Try | None) -> None:
        """Nothing more is needed of a sample's other attempts, those that have yet to begin included."""
        launch, slot.launch = slot.launch, None
        if launch is not None:
            launch.cancel()
        for other in slot.tries:
            if other is not one:
                other.route.stop(other)

    def _on_end(self, one: Try, event: Sample | Failed) -> None:
        if isinstance(event, Failed):
            self._on_failed(one, event)
        elif event.finish_reason in {"cancelled", "deadline"}:
            if one.late is not None:
                failed = Failed(
                    index=event.index, error=one.late, text=event.text, usage=event.usage
                )
                self._on_failed(one, failed)
            else:
                self._on_stopped(one, event)
        else:
            self._settle(one, event.usage, limits=event)
            self._end(one.slot, event, one.route)

    def _on_stopped(self, one: Try, event: Sample) -> None:
        self._settle(one, event.usage, gave_up=True)
        if one.slot.tries or one.slot.launch is not None or one.slot.index not in self._slots:
            self._book_extra(one, event.usage, None)
        else:
            self._end(one.slot, event, one.route)

    def _on_failed(self, one: Try, event: Failed) -> None:
        slot, error = one.slot, event.error
        self._settle(one, event.usage, error=error)
        if slot.index not in self._slots or slot.tries or slot.launch is not None:
            self._book_extra(one, event.usage, error)
            return
        following = None if slot.cancelled or self._closed else self._next(one, error)
        if following is None:
            self._end(slot, event, one.route)
        else:
            self._book_extra(one, event.usage, error)
            self._launch(slot, following)

    def _next(self, one: Try, error: BackendError) -> Next | None:
        """Where the sample is drawn again; takes it from what extra attempts are left."""
        at = self._routes.place(one.route)
        standings = self._standings()
        following = decide(
            error,
            attempts=one.slot.attempts,
            failed=standings[at],
            others=[standing for standing in standings if standing.route != at],
            left_s=self._left_s(),
            max_wait_s=self._shared.max_wait_s,
            rng=self._shared.rng,
        )
        if following is None:
            return None
        if following.route != at and self._routes[following.route].gate.clean:
            # The sample's own attempt, made elsewhere: what bounds repetition must not lose samples.
            return following
        if not self._quota.take():
            return None
        if not self._shared.retries.take():
            self._quota.give_back()
            return None
        return following

    def _end(self, slot: Slot, event: Sample | Failed, route: Route) -> None:
        if self._slots.pop(slot.index, None) is None:
            return
        self._release_followers()
        self._stop_others(slot, None)
        now = self._clock.now()
        ended = msgspec.structs.replace(event, index=slot.index)
        if isinstance(ended, Sample) and slot.attempts > 1:
            ended = msgspec.structs.replace(ended, timing=_whole(ended.timing, now - slot.drawn_at))
        self._ledger.book(route.spec, ended, drawn_at=slot.drawn_at, ended_at=now)
        self._put(ended)

    def _give_up(self, slot: Slot, error: BackendError) -> None:
        slot.launch = None
        if not slot.tries:
            self._end(slot, Failed(index=slot.index, error=error), self._routes[0])

    def _stop(self, slot: Slot, reason: Literal["cancelled", "deadline"]) -> None:
        """End a sample for the caller's sake: what runs is stopped, what waits has cost nothing."""
        self._stop_others(slot, None)
        if not slot.tries:
            took = Timing(total_s=self._clock.now() - slot.drawn_at)
            ended = Sample(index=slot.index, text="", finish_reason=reason, timing=took)
            self._end(slot, ended, self._routes[0])

    def _settle(
        self,
        one: Try,
        usage: Usage,
        *,
        error: BackendError | None = None,
        gave_up: bool = False,
        limits: Sample | None = None,
    ) -> None:
        now = self._clock.now()
        one.route.gate.end(
            one.entry,
            now,
            tokens=usage.input_tokens - usage.cached_tokens + usage.output_tokens,
            error=error,
            gave_up=gave_up,
            limits=() if limits is None else limits.rate_limits,
        )
        self._spend.settle(one.reserved, one.route.spec, usage)
        if self._unfunded and not self._closed:
            waiting, self._unfunded = self._unfunded, deque()
            self._begin_all(waiting)

    def _book_extra(self, one: Try, usage: Usage, error: BackendError | None) -> None:
        self._ledger.book_extra(
            one.route.spec,
            usage,
            outcome="cancelled" if error is None else "failed",
            status=None if error is None else type(error).__name__,
            latency_s=self._clock.now() - one.entry.started,
        )

    # --- told by the watch -------------------------------------------------------------------------

    def waiting(self) -> Sequence[Slot]:
        """Samples that have no attempt under way."""
        return [slot for slot in self._slots.values() if not slot.tries]

    def running(self) -> Sequence[Try]:
        return [one for slot in self._slots.values() for one in slot.tries]

    def has_others(self, route: Route) -> bool:
        """Whether another deployment could still help."""
        return self._routes.has_others(route)

    def end_waiting(self, slot: Slot) -> None:
        """Its deadline passed before it could begin."""
        self._stop(slot, "deadline")

    def lose(self, error: BaseException) -> None:
        """The whole generation is lost."""
        self._lost = error
        self._wake()

    def hedge(self, one: Try) -> None:
        """Send a slow attempt a second time, to a deployment that is free."""
        one.hedged = True
        free = (s.route for s in self._standings() if s.wait_s <= 0)
        other = next((at for at in free if self._routes[at] is not one.route), None)
        if other is not None and self._shared.hedges.take():
            self._launch(one.slot, Next(route=other, wait_s=0.0))

    # --- small things ----------------------------------------------------------------------------------

    def _standings(self) -> list[Standing]:
        return self._routes.standings(self._tokens, self._clock.now())

    def _left_s(self) -> float:
        return self.deadline - self._clock.now()

    def _put(self, event: Event) -> None:
        self._events.append(event)
        self._wake()

    def _wake(self) -> None:
        if self._consumer is not None and not self._consumer.done():
            self._consumer.set_result(None)


def _whole(timing: Timing, total_s: float) -> Timing:
    """Since ``draw`` asked, not since the last attempt began."""
    shift_s = total_s - timing.total_s
    first_s = None if timing.first_token_s is None else timing.first_token_s + shift_s
    return msgspec.structs.replace(timing, total_s=total_s, first_token_s=first_s)
