"""A way to one deployment for one prompt: opened, listened to, closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from typing import Protocol

import msgspec

from tt_compute.backend import Backend, Generation, Pushing
from tt_compute.dispatch.gate import Entry, Gate
from tt_compute.errors import BackendError, ServerError, TTComputeError
from tt_compute.types import DeploymentSpec, Event, GenerateRequest

__all__ = ["CACHED_PROMPT_TOKENS", "Listener", "Route", "Slot", "Try"]

CACHED_PROMPT_TOKENS = 1024
"""Shorter prompts are not cached everywhere (OpenAI: 1,024; Groq: 128 to 1,024 by model; Cerebras: blocks of 100
to 600), and save less than the wait for the first sample is worth."""


class Slot:
    """One sample as the caller knows it, whoever makes it in the end."""

    def __init__(self, index: int, drawn_at: float) -> None:
        self.index = index
        self.drawn_at = drawn_at
        self.attempts = 0
        self.tries: list[Try] = []
        self.leader: Try | None = None
        """The attempt under way that was the first with a token."""
        self.launch: asyncio.Task[None] | None = None
        """Waits to begin an attempt."""
        self.cancelled = False
        self.shown = False
        """Whether the caller has seen a piece of it."""


class Try:
    """One attempt at a slot."""

    def __init__(
        self,
        slot: Slot,
        route: Route,
        entry: Entry,
        reserved: tuple[float, tuple[int, ...]],
    ) -> None:
        self.slot = slot
        self.route = route
        self.entry = entry
        self.reserved = reserved
        self.native = -1
        self.first_at: float | None = None
        self.alive_at: float = entry.started
        self.late: BackendError | None = None
        """Why it was stopped by us: too slow."""
        self.hedged = False
        """Whether a second attempt was sent because this one was slow."""

    def leave(self) -> None:
        """It has ended."""
        self.slot.tries.remove(self)
        if self.slot.leader is self:
            self.slot.leader = None


class Listener(Protocol):
    """Who is told what happens on a route."""

    def on_event(self, route: Route, event: Event) -> None: ...
    def on_lost(self, route: Route, error: Exception) -> None:
        """The route is of no more use; its attempts have failed."""
        ...


class Route:
    """One deployment of the plan.

    Args:
        spec: The deployment.
        gate: Of it.
        backend: Makes or finds its backend.
        request: As this deployment shall get it.
        watch: Ask for deltas, where the deployment can, to see whether an attempt is alive.
        stands_in: It takes samples that another one was planned for: logprobs that it cannot give are not asked for.
            What a request truly needs was a condition of the plan.
    """

    def __init__(
        self,
        spec: DeploymentSpec,
        gate: Gate,
        *,
        backend: Callable[[DeploymentSpec], Awaitable[Backend]],
        request: GenerateRequest,
        watch: bool,
        stands_in: bool = False,
    ) -> None:
        self.spec = spec
        self.gate = gate
        self.tries: dict[int, Try] = {}
        self.streams: bool = False
        self.error: Exception | None = None
        self._backend = backend
        self._request = request
        self._watch = watch
        self._stands_in = stands_in
        self._native: Generation | None = None
        self._opening: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._scope: AbstractAsyncContextManager[Generation] | None = None
        self._wake = asyncio.Event()
        self._closing = False
        self._begun: list[Try] = []

    @property
    def is_open(self) -> bool:
        return self._native is not None and self.error is None

    async def open(self, listener: Listener) -> None:
        """Open the prompt there, if it is not yet.

        Raises:
            TTComputeError: It cannot be opened, now or ever in this run.
        """
        if not self.is_open:
            if self._opening is None:
                self._opening = asyncio.get_running_loop().create_task(self._open(listener))
            # One who waits may be cancelled; the others still want it.
            await asyncio.shield(self._opening)
        if self.error is not None:
            raise self.error

    async def open_now(self, listener: Listener) -> None:
        """As ``open``, in the task of the caller, who is the first and only one to want it.

        Raises:
            TTComputeError: It cannot be opened.
        """
        await self._open(listener)
        if self.error is not None:
            raise self.error

    async def _open(self, listener: Listener) -> None:
        """At a backend that pushes events in this task; else in one that goes on to pump them."""
        try:
            backend = await self._backend(self.spec)
            request = await self._suited(backend)
            if isinstance(backend, Pushing):
                self._scope = backend.open_pushing(request, partial(listener.on_event, self))
                self._native = await self._scope.__aenter__()
                return
        except TTComputeError as error:
            self._scope, self.error = None, error
            return
        ready = asyncio.get_running_loop().create_future()
        serving = self._serve(backend, request, listener, ready)
        self._task = asyncio.get_running_loop().create_task(serving)
        await asyncio.shield(ready)

    async def _suited(self, backend: Backend) -> GenerateRequest:
        """The request as this deployment can serve it, with deltas where they show whether an attempt is alive."""
        capabilities = (await backend.models())[0].capabilities
        request = self._request
        if self._stands_in and request.sampling.logprobs > capabilities.max_logprobs:
            fewer = msgspec.structs.replace(request.sampling, logprobs=capabilities.max_logprobs)
            request = msgspec.structs.replace(request, sampling=fewer)
        self.streams = self._watch and capabilities.streaming
        if self.streams and request.deltas == "none":
            request = msgspec.structs.replace(request, deltas="text")
        return request

    def caches(self, prompt_tokens: int) -> bool:
        """Whether samples of one prompt cost less once its prefix is in the service's cache."""
        per_mtok = self.spec.deployment.price.usd_per_mtok
        if per_mtok is None or prompt_tokens < CACHED_PROMPT_TOKENS or not self.streams:
            return False
        cached, whole = per_mtok.cached_input.value, per_mtok.input.value
        return cached is not None and whole is not None and cached < whole

    def draw(self, one: Try) -> None:
        """Begin an attempt on the open prompt; it goes with the next ``flush``."""
        self._begun.append(one)

    def flush(self) -> None:
        """Draw what was begun, together, so that a service with ``n`` can make one request of it."""
        if not self._begun:
            return
        assert self._native is not None
        begun, self._begun = self._begun, []
        for one, native in zip(begun, self._native.draw(len(begun)), strict=True):
            one.native = native
            self.tries[native] = one
        self._wake.set()

    def stop(self, one: Try) -> None:
        """End an attempt early; its event still comes."""
        if self._native is not None:
            self._native.cancel(one.native)

    def begin_close(self) -> None:
        self._closing = True
        if self._native is not None:
            self._native.cancel()
        self._wake.set()

    @property
    def idle(self) -> bool:
        """Whether closing it has nothing to wait for."""
        return self._task is None and self._opening is None and not self.tries

    async def end_close(self, patience_s: float) -> None:
        """Wait until everything of it is let go."""
        if self._opening is not None and not self._opening.done():
            self._opening.cancel()
            await asyncio.wait([self._opening])
        scope, self._scope = self._scope, None
        if scope is not None:
            await scope.__aexit__(None, None, None)
        if self._task is None:
            return
        done, _ = await asyncio.wait([self._task], timeout=patience_s)
        if not done:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _serve(
        self,
        backend: Backend,
        request: GenerateRequest,
        listener: Listener,
        ready: asyncio.Future[None],
    ) -> None:
        try:
            async with backend.open(request) as native:
                self._native = native
                _settle(ready)
                await self._pump(native, listener)
            # What the exit itself ended, so that no cancelled token goes uncounted.
            with suppress(TTComputeError):
                await self._tell(native, listener)
        except asyncio.CancelledError:
            self.error = self.error or ServerError(f"{self.spec.id} did not let go in time")
            raise
        except Exception as error:  # noqa: BLE001 - whatever a backend raises must reach the one who waits
            self.error = error
            listener.on_lost(self, error)
        finally:
            _settle(ready)

    async def _pump(self, native: Generation, listener: Listener) -> None:
        while True:
            await self._tell(native, listener)
            if self._closing:
                return
            self._wake.clear()
            if not self.tries:
                await self._wake.wait()

    async def _tell(self, native: Generation, listener: Listener) -> None:
        events: AsyncIterator[Event] = aiter(native)
        async for event in events:
            listener.on_event(self, event)


def _settle(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
