"""The one place that sends work to backends: opens prompts, guards the deadline, books every sample."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TypeVar

import anyio

from tt_compute.backend import Generation, Warmable, second_consumer
from tt_compute.conditions import Conditions
from tt_compute.dispatch.backends import BackendPool
from tt_compute.dispatch.gate import Gate
from tt_compute.dispatch.ledger import Ledger
from tt_compute.dispatch.limiters import Limiters
from tt_compute.dispatch.quota import HedgeBudget, RetryBudget
from tt_compute.dispatch.route import Route
from tt_compute.dispatch.routed import RoutedGeneration
from tt_compute.dispatch.shared import Shared
from tt_compute.dispatch.spend import Cap, SpendGuard
from tt_compute.dispatch.watch import Watchman
from tt_compute.dispatch_settings import DispatchSettings
from tt_compute.errors import DeadlineExceeded, ServerError, TTComputeError
from tt_compute.prompts import estimate_tokens
from tt_compute.supervision import supervisor
from tt_compute.types import (
    Clock,
    Delta,
    DeploymentSpec,
    Event,
    Failed,
    GenerateRequest,
    Usage,
)

__all__ = ["Dispatcher"]

T = TypeVar("T")

DEADLINE_GRACE_S = 1.0
"""How long past the deadline a backend may take to end its samples by itself, as the protocol asks.

One engine step is far shorter; this catches a backend that does not keep the deadline at all.
"""
DRAIN_S = 1.0
"""Longest wait for events that are already there; a guard against a backend that never ends."""
_UNSTATED_OUTPUT_TOKENS = 1024
"""Set aside of limits and caps for a sample whose length nothing bounds."""


class Dispatcher:
    """Sends requests to deployments.

    Args:
        backends: Where backends come from.
        clock: The clock that deadlines are on.
        settings: The configuration's ``dispatch:``; None = the defaults.
        limiters: Of the accounts; None = of this process alone.
        caps: Spend caps of the client.
        rng: For jitter, and for which calls a recovering deployment gets; None = seeded by the system.
    """

    def __init__(
        self,
        backends: BackendPool,
        clock: Clock,
        *,
        settings: DispatchSettings | None = None,
        limiters: Limiters | None = None,
        caps: SpendGuard | None = None,
        rng: random.Random | None = None,
    ) -> None:
        settings = settings or DispatchSettings()
        self._backends = backends
        self._clock = clock
        self._caps = SpendGuard(()) if caps is None else caps
        self._limiters = limiters or Limiters(clock.now)
        self._shared = Shared(
            clock=clock,
            rng=rng or random.Random(),  # noqa: S311 - spreads load, guards nothing
            retries=RetryBudget(),
            hedges=HedgeBudget(settings.hedge_share),
            watchman=Watchman(clock, hedging=settings.hedge_share > 0),
            max_wait_s=settings.max_wait_s,
        )
        self._gates: dict[str, Gate] = {}

    @asynccontextmanager
    async def open(
        self,
        spec: DeploymentSpec,
        request: GenerateRequest,
        ledger: Ledger,
        *,
        alternates: Sequence[DeploymentSpec] = (),
        cap: Cap | None = None,
    ) -> AsyncGenerator[Generation, None]:
        """Open a prompt at a deployment; every sample drawn from it is booked in ``ledger``.

        Args:
            spec: Where it was planned.
            request: What to ask.
            ledger: Of the run.
            alternates: Where samples go that fail there, the next best of the plan first.
            cap: Of what the run may spend, over all its prompts; None = none but the client's.

        Raises:
            BackendError: The backend could not be made or the prompt not be opened.
            UsageError: The backend refused the request.
            DeadlineExceeded: The deadline passed before the prompt was open.
        """
        try:
            capped = bool(self._caps) or cap is not None
            if spec.is_remote or alternates or capped:
                scope = self._open_routed(spec, request, ledger, alternates, cap)
            else:
                scope = self._open_one(spec, request, ledger)
            async with scope as generation:
                yield generation
        finally:
            watching = supervisor()
            if watching is not None:
                watching.book(ledger, self._clock.now() - ledger.started)

    @asynccontextmanager
    async def _open_routed(
        self,
        spec: DeploymentSpec,
        request: GenerateRequest,
        ledger: Ledger,
        alternates: Sequence[DeploymentSpec],
        cap: Cap | None,
    ) -> AsyncGenerator[Generation, None]:
        generation = self._routed(spec, request, ledger, alternates, cap)
        try:
            await self._within(request, spec, generation.open())
            yield generation
        finally:
            if generation.idle:
                await generation.aclose()
            else:
                with anyio.CancelScope(shield=True):
                    await generation.aclose()

    def gate(self, spec: DeploymentSpec) -> Gate:
        """What is known of a deployment's health and limits."""
        if spec.id not in self._gates:
            self._gates[spec.id] = Gate(
                spec, self._limiters.of(spec), self._shared.rng, self._limiters.now
            )
        return self._gates[spec.id]

    def conditions(self, spec: DeploymentSpec) -> Conditions:
        """What stands in the way of a request there now, from memory alone.

        What other processes took is as old as this one's last look at it: see ``look``.
        """
        gate, now = self.gate(spec), self._clock.now()
        cap = self._caps.tightest()
        return Conditions(
            retry_in_s=gate.retry_in_s(now),
            wait_s=gate.rest_s(now),
            allowances=gate.allowances(),
            patience_s=self._shared.max_wait_s,
            live_rows=gate.live_rows,
            queued_rows=gate.bulkhead.waiting,
            place_s=gate.bulkhead.service_s,
            loaded=self._backends.loaded(spec),
            load_s=spec.deployment.speed.load_s.value,
            spend_left_usd=None if cap is None else cap.left_usd(),
            spend_cap="" if cap is None else cap.name,
        )

    def look(self, specs: Iterable[DeploymentSpec]) -> None:
        """Learn what other processes took of shared limits and caps; reads a file, if there is one."""
        for spec in specs:
            self.gate(spec).look()
        self._caps.look()

    def close(self) -> None:
        """Stop looking after attempts and give back unused limits; all generations must be closed."""
        self._shared.watchman.close()
        self._limiters.close()

    async def warm(self, spec: DeploymentSpec) -> None:
        """Make the deployment's backend and, where it has weights to load, load them now.

        Raises:
            BackendError: The backend could not be made ready.
        """
        backend = await self._backends.get(spec)
        if isinstance(backend, Warmable):
            await backend.warm()

    def _routed(
        self,
        spec: DeploymentSpec,
        request: GenerateRequest,
        ledger: Ledger,
        alternates: Sequence[DeploymentSpec],
        cap: Cap | None,
    ) -> RoutedGeneration:
        routes = [
            Route(
                one,
                self.gate(one),
                backend=self._backends.get,
                request=request,
                watch=one.is_remote,
                stands_in=one is not spec,
            )
            for one in (spec, *alternates)
        ]
        caps = self._caps
        if cap is not None:
            caps = caps.with_cap(cap)
        return RoutedGeneration(
            routes, request, ledger, spend=caps, most=_most(spec, request), shared=self._shared
        )

    @asynccontextmanager
    async def _open_one(
        self, spec: DeploymentSpec, request: GenerateRequest, ledger: Ledger
    ) -> AsyncGenerator[Generation, None]:
        """The short way: one deployment of this machine, with nothing to limit and nowhere else to go."""
        booked: _BookedGeneration | None = None
        try:
            async with AsyncExitStack() as stack:

                async def enter() -> Generation:
                    backend = await self._backends.get(spec)
                    return await stack.enter_async_context(backend.open(request))

                generation = await self._within(request, spec, enter())
                booked = _BookedGeneration(
                    generation, spec, request, ledger, clock=self._clock, gate=self.gate(spec)
                )
                yield booked
        finally:
            if booked is not None:
                await booked.drain()

    async def _within(
        self, request: GenerateRequest, spec: DeploymentSpec, work: Awaitable[T]
    ) -> T:
        if request.deadline is None:
            return await work
        with anyio.move_on_after(request.deadline - self._clock.now()):
            return await work
        raise DeadlineExceeded(
            f"the deadline passed before {spec.id} had the prompt open",
            hint="a model that is not loaded yet takes its load time first; allow more, or warm it",
        )


def _most(spec: DeploymentSpec, request: GenerateRequest) -> Usage:
    """What one attempt may take, as far as it can be told before."""
    bounds = (request.sampling.max_tokens, spec.deployment.limits.max_output_tokens)
    stated = [bound for bound in bounds if bound is not None]
    return Usage(
        input_tokens=estimate_tokens(request.messages),
        output_tokens=min(stated, default=_UNSTATED_OUTPUT_TOKENS),
    )


class _BookedGeneration:
    """A generation whose every ended sample is entered in the ledger."""

    def __init__(
        self,
        generation: Generation,
        spec: DeploymentSpec,
        request: GenerateRequest,
        ledger: Ledger,
        *,
        clock: Clock,
        gate: Gate,
    ) -> None:
        self._generation = generation
        self._spec = spec
        self._deadline = request.deadline
        self._ledger = ledger
        self._clock = clock
        self._gate = gate
        self._drawn_at: dict[int, float] = {}
        self._events: AsyncIterator[Event] | None = None
        self._consumed = False

    def draw(self, n: int = 1) -> range:
        indices = self._generation.draw(n)
        now = self._clock.now()
        self._drawn_at.update(dict.fromkeys(indices, now))
        self._gate.placeless_rows += n
        return indices

    def cancel(self, index: int | None = None) -> None:
        self._generation.cancel(index)

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        if self._consumed:
            raise second_consumer()
        if self._events is None:
            self._events = aiter(self._generation)
        self._consumed = True
        try:
            event = await self._next(self._events)
        finally:
            self._consumed = False
        if event is None:
            # The backend's iterator is spent; the next draw makes a new one.
            self._events = None
            raise StopAsyncIteration
        self._book(event)
        return event

    async def drain(self) -> None:
        """Book what ended while the scope was left, so that no cancelled token goes uncounted."""
        # What goes wrong here must not take the place of the run's own outcome.
        with suppress(TTComputeError), anyio.move_on_after(DRAIN_S, shield=True):
            if self._drawn_at:
                async for event in self._generation:
                    self._book(event)
        for index in list(self._drawn_at):
            self._book(Failed(index=index, error=ServerError(f"sample {index} never ended")))

    def _book(self, event: Event) -> None:
        if isinstance(event, Delta):
            return
        drawn_at = self._drawn_at.pop(event.index, None)
        if drawn_at is None:
            raise ServerError(
                f"{self._spec.id} ended sample {event.index}, which was not drawn or had ended",
                backend=self._spec.backend,
                deployment=self._spec.id,
                hint="the backend breaks the protocol; report it to its authors",
            )
        self._gate.placeless_rows -= 1
        self._ledger.book(self._spec, event, drawn_at=drawn_at, ended_at=self._clock.now())

    async def _next(self, events: AsyncIterator[Event]) -> Event | None:
        if self._deadline is None:
            return await anext(events, None)
        patience_s = max(0.0, self._deadline - self._clock.now()) + DEADLINE_GRACE_S
        with anyio.move_on_after(patience_s):
            return await anext(events, None)
        raise DeadlineExceeded(
            f"{self._spec.id} did not end its samples at the deadline",
            hint="the backend does not keep the deadline of the protocol; report it to its authors",
        )
