"""The SDK: ``AsyncClient``, and ``Client``, which runs the same code on a background loop."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, Unpack, overload

from tt_compute.backend import Generation
from tt_compute.config import Config
from tt_compute.dispatch.ledger import Ledger
from tt_compute.errors import InvalidRequestError, TTComputeError, UsageError
from tt_compute.execution import Execution
from tt_compute.learning import what_was_learned
from tt_compute.many import Done, Item, OnError, solve_many, solve_within
from tt_compute.modelstore.transfer import ProgressCallback
from tt_compute.options import SolveOptions, raw_request
from tt_compute.planning.batch import Budget
from tt_compute.planning.learned import Learned
from tt_compute.planning.types import Objective, Plan
from tt_compute.prompts import Prompt
from tt_compute.reading import AsyncReading, Reading
from tt_compute.requests import Prepared, Requests
from tt_compute.results import Result
from tt_compute.setup import Setup
from tt_compute.streaming import SolveRun
from tt_compute.sync import BackgroundLoop, SyncRun
from tt_compute.types import (
    Clock,
    Delta,
    Failed,
    JsonSchemaFormat,
    Sample,
    SamplingParams,
)
from tt_compute.watching import SHOW_AT, StreamEvent

__all__ = ["AsyncClient", "Client"]


class AsyncClient(AsyncReading):
    """Plans and runs requests. Use it as ``async with``, or call ``aclose``.

    Backends, engines and the store are made at first use and shared by all requests of the client.

    Args:
        config: A ``ttc.yaml``, or a ready ``Config``; None = the one that is found, else the embedded
            default.
        clock: Where time comes from; None = the system's monotonic clock.
        environ: The environment to read; None = the process's own.
        download_progress: Told how far a model's download is, from a worker thread.
    """

    def __init__(
        self,
        config: Config | Path | str | None = None,
        *,
        clock: Clock | None = None,
        environ: Mapping[str, str] | None = None,
        download_progress: ProgressCallback | None = None,
    ) -> None:
        self._setup = Setup(config, clock=clock, environ=environ, progress=download_progress)
        self._requests = Requests(self._setup)

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self._setup.config

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End every engine and close the store, for good; may be called twice."""
        await self._setup.aclose()

    async def plan(self, prompt: Prompt, **options: Unpack[SolveOptions]) -> Plan:
        """Decide how ``prompt`` would be answered; runs nothing.

        Raises:
            UsageError: The prompt or an option is not usable.
        """
        return (await self._requests.prepare(prompt, options)).plan

    async def solve(self, prompt: Prompt, **options: Unpack[SolveOptions]) -> Result:
        """Answer ``prompt`` with as much compute as the objective asks for.

        Raises:
            UsageError: The prompt or an option is not usable.
            InfeasibleError: Under ``strict``, when no plan meets the objective.
            DeadlineExceeded: ``max_latency_s`` passed before there was any answer.
            BackendError: Every sample failed.
        """
        return await self._solve(prompt, options)

    def stream(
        self, prompt: Prompt, *, show_at: float | None = SHOW_AT, **options: Unpack[SolveOptions]
    ) -> SolveRun:
        """Answer ``prompt`` and watch it: ``async with client.stream(...) as run: async for event in run``.

        Args:
            prompt: A question or messages.
            show_at: Posterior of a vote's leader from which its text is shown, to be replaced by a ``Revision``
                should another one win; None = once the vote has ended.
            options: As ``solve``.

        Raises:
            TTComputeError: As ``solve``, from the iteration.
        """
        start = partial(self._start, prompt, options, show_at=show_at)
        return SolveRun(start, self._finish)

    @overload
    async def solve_many(
        self,
        items: Iterable[Item] | AsyncIterable[Item],
        *,
        concurrency: int = 8,
        on_error: Literal["raise"] = "raise",
        progress: Done | None = None,
        budget: Budget | None = None,
        **options: Unpack[SolveOptions],
    ) -> list[Result]: ...
    @overload
    async def solve_many(
        self,
        items: Iterable[Item] | AsyncIterable[Item],
        *,
        concurrency: int = 8,
        on_error: OnError,
        progress: Done | None = None,
        budget: Budget | None = None,
        **options: Unpack[SolveOptions],
    ) -> list[Result | TTComputeError]: ...
    async def solve_many(
        self,
        items: Iterable[Item] | AsyncIterable[Item],
        *,
        concurrency: int = 8,
        on_error: OnError = "raise",
        progress: Done | None = None,
        budget: Budget | None = None,
        **options: Unpack[SolveOptions],
    ) -> list[Result] | list[Result | TTComputeError]:
        """Solve each item; results come in the items' order.

        Args:
            items: Prompts, or mappings with ``prompt`` and options of their own; pulled as needed.
            concurrency: Most items in work at once.
            on_error: ``raise`` ends all at the first error; ``return`` puts it in its item's place.
            progress: Told each item's number, from 0 on, and outcome as it ends.
            budget: What all items may take together, spent where it brings most; the items must be a list.
            options: As for ``solve``, for every item.

        Raises:
            InfeasibleError: The budget does not cover the cheapest way for every item.
            TTComputeError: The first error, under ``on_error="raise"``.
            Exception: Whatever ``items`` or ``progress`` raise, as it is; it ends all.
        """
        if budget is not None:
            return await solve_within(
                _Desk(self._setup, self._requests, self._finish),
                items,
                budget=budget,
                concurrency=concurrency,
                on_error=on_error,
                progress=progress,
                options=options,
            )
        return await solve_many(
            self._solve,
            items,
            concurrency=concurrency,
            on_error=on_error,
            progress=progress,
            options=options,
        )

    async def feedback(self, result_id: str, *, correct: bool) -> None:
        """Tell whether an answer was right; teaches the ability model of later plans.

        Raises:
            StoreError: There is no store, or no such result in it.
        """
        await self._requests.feedback(result_id, correct=correct)

    async def estimates(
        self, *, model: str | None = None, deployment: str | None = None, mock: bool = False
    ) -> Learned:
        """What past runs taught, beside what the profiles say.

        Args:
            model: Only of this model and the deployments that run it; None = all.
            deployment: Only of this deployment and its model; None = all.
            mock: Of mock runs, which teach no plan, instead of real ones.

        Raises:
            UnknownNameError: There is no such model or deployment.
            StoreError: There is no store, or it cannot be read.
        """
        return await what_was_learned(self._setup, model=model, deployment=deployment, mock=mock)

    @asynccontextmanager
    async def open(
        self,
        prompt: Prompt,
        *,
        deployment: str,
        system: str | None = None,
        sampling: SamplingParams | None = None,
        response_format: JsonSchemaFormat | None = None,
        deltas: Literal["none", "text", "logprobs"] = "none",
        max_latency_s: float | None = None,
    ) -> AsyncGenerator[Generation, None]:
        """Open a prompt at a deployment and draw from it as needed: the protocol itself.

        Args:
            prompt: A string or messages.
            deployment: Id of one of the configuration's deployments, or any other with a profile.
            system: A system prompt to put before the messages.
            sampling: How samples are drawn; None leaves all to the model's or the service's defaults.
            response_format: Every sample must satisfy this schema.
            deltas: Which pieces of running samples to give: text, text with logprobs, or none.
            max_latency_s: From now on; then every live sample ends with ``deadline``. None = no limit.

        Raises:
            UsageError: The prompt or an option is not usable there.
            BackendError: The backend could not be made ready.
        """
        started = self._setup.clock.now()
        # An objective refuses what is no latency.
        limit_s = Objective(max_latency_s=max_latency_s).max_latency_s
        request = raw_request(
            prompt,
            system=system,
            sampling=sampling,
            response_format=response_format,
            deltas=deltas,
            deadline=None if limit_s is None else started + limit_s,
        )
        spec = self._setup.permitted(deployment)
        async with self._setup.dispatcher.open(spec, request, Ledger(started)) as generation:
            yield generation

    async def generate(
        self,
        prompt: Prompt,
        *,
        deployment: str,
        n: int = 1,
        system: str | None = None,
        sampling: SamplingParams | None = None,
        response_format: JsonSchemaFormat | None = None,
        max_latency_s: float | None = None,
    ) -> list[Sample | Failed]:
        """Draw ``n`` samples, no strategy; by index. A failed one stands as ``Failed`` in its place.

        Raises:
            UsageError: The prompt or an option is not usable there.
            BackendError: The whole generation was lost.
        """
        _check_number(n)
        async with self.open(
            prompt,
            deployment=deployment,
            system=system,
            sampling=sampling,
            response_format=response_format,
            max_latency_s=max_latency_s,
        ) as generation:
            generation.draw(n)
            ended = [event async for event in generation if not isinstance(event, Delta)]
        return sorted(ended, key=lambda event: event.index)

    async def warm(self, deployment: str) -> None:
        """Load a local deployment's model now, so that the first request does not wait for it."""
        await self._setup.dispatcher.warm(self._setup.spec(deployment))

    async def _solve(self, prompt: Prompt, options: SolveOptions) -> Result:
        return await self._finish(await self._start(prompt, options, None))

    async def _start(
        self,
        prompt: Prompt,
        options: SolveOptions,
        emit: Callable[[StreamEvent], None] | None,
        show_at: float | None = None,
    ) -> Execution:
        prepared = await self._requests.prepare(prompt, options)
        job = await self._requests.job(prepared, stream_text=emit is not None)
        setup = self._setup
        return Execution(
            job, dispatcher=setup.dispatcher, clock=setup.clock, emit=emit, show_at=show_at
        )

    async def _finish(self, execution: Execution) -> Result:
        try:
            result = await execution.run()
        except Exception as error:
            # What was drawn was paid for, whatever became of it; a strategy of the caller's may raise anything.
            partial = execution.result()
            if partial.receipt.samples_drawn:
                recorded = await self._requests.record(execution, partial)
                if isinstance(error, TTComputeError):
                    error.partial = recorded
            raise
        return await self._requests.record(execution, result)


class _Desk:
    """``batch.Desk``."""

    def __init__(
        self,
        setup: Setup,
        requests: Requests,
        finish: Callable[[Execution], Coroutine[object, object, Result]],
    ) -> None:
        self._setup = setup
        self._finish = finish
        self._requests = requests
        self.prepare = requests.prepare
        self.spec = setup.spec

    async def run(self, prepared: Prepared) -> Result:
        job = await self._requests.job(prepared, stream_text=False)
        return await self._finish(
            Execution(job, dispatcher=self._setup.dispatcher, clock=self._setup.clock)
        )


def _check_number(n: object) -> None:
    """Refuse what untyped callers pass for a number of samples."""
    if not isinstance(n, int) or n < 1:
        raise InvalidRequestError(f"n must be a whole number of at least 1, got {n!r}")


class Client(Reading):
    """``AsyncClient`` for programs without an event loop: the same arguments, every call waits.

    Works in notebooks beside a running loop. Use it as ``with``, or call ``close``.
    """

    def __init__(
        self,
        config: Config | Path | str | None = None,
        *,
        clock: Clock | None = None,
        environ: Mapping[str, str] | None = None,
        download_progress: ProgressCallback | None = None,
    ) -> None:

        # A function, not a partial, whose repr would show the environment.
        def make() -> AsyncClient:
            return AsyncClient(
                config, clock=clock, environ=environ, download_progress=download_progress
            )

        self._make = make
        self._loop = BackgroundLoop()
        self._async: AsyncClient | None = self._make()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self._client.config

    def close(self) -> None:
        """End every engine, close the store and stop the loop, for good; may be called twice."""
        if self._async is not None and not self._loop.forked():
            self._loop.run(self._async.aclose())
        self._async = None
        self._loop.close()

    def plan(self, prompt: Prompt, **options: Unpack[SolveOptions]) -> Plan:
        """As ``AsyncClient.plan``."""
        return self._loop.run(self._client.plan(prompt, **options))

    def solve(self, prompt: Prompt, **options: Unpack[SolveOptions]) -> Result:
        """As ``AsyncClient.solve``; an interrupt (Ctrl-C) cancels the run."""
        return self._loop.run(self._client.solve(prompt, **options))

    def stream(
        self, prompt: Prompt, *, show_at: float | None = SHOW_AT, **options: Unpack[SolveOptions]
    ) -> SyncRun:
        """As ``AsyncClient.stream``: ``with client.stream(...) as run: for event in run: ...``."""
        return SyncRun(self._loop, self._client.stream(prompt, show_at=show_at, **options))

    @overload
    def solve_many(
        self,
        items: Iterable[Item],
        *,
        concurrency: int = 8,
        on_error: Literal["raise"] = "raise",
        progress: Done | None = None,
        budget: Budget | None = None,
        **options: Unpack[SolveOptions],
    ) -> list[Result]: ...
    @overload
    def solve_many(
        self,
        items: Iterable[Item],
        *,
        concurrency: int = 8,
        on_error: OnError,
        progress: Done | None = None,
        budget: Budget | None = None,
        **options: Unpack[SolveOptions],
    ) -> list[Result | TTComputeError]: ...
    def solve_many(
        self,
        items: Iterable[Item],
        *,
        concurrency: int = 8,
        on_error: OnError = "raise",
        progress: Done | None = None,
        budget: Budget | None = None,
        **options: Unpack[SolveOptions],
    ) -> list[Result] | list[Result | TTComputeError]:
        """As ``AsyncClient.solve_many``; ``items`` and ``progress`` are used from the loop's thread."""
        return self._loop.run(
            self._client.solve_many(
                items,
                concurrency=concurrency,
                on_error=on_error,
                progress=progress,
                budget=budget,
                **options,
            )
        )

    def feedback(self, result_id: str, *, correct: bool) -> None:
        """As ``AsyncClient.feedback``."""
        self._loop.run(self._client.feedback(result_id, correct=correct))

    def estimates(
        self, *, model: str | None = None, deployment: str | None = None, mock: bool = False
    ) -> Learned:
        """As ``AsyncClient.estimates``."""
        return self._loop.run(self._client.estimates(model=model, deployment=deployment, mock=mock))

    def generate(
        self,
        prompt: Prompt,
        *,
        deployment: str,
        n: int = 1,
        system: str | None = None,
        sampling: SamplingParams | None = None,
        response_format: JsonSchemaFormat | None = None,
        max_latency_s: float | None = None,
    ) -> list[Sample | Failed]:
        """As ``AsyncClient.generate``."""
        return self._loop.run(
            self._client.generate(
                prompt,
                deployment=deployment,
                n=n,
                system=system,
                sampling=sampling,
                response_format=response_format,
                max_latency_s=max_latency_s,
            )
        )

    def warm(self, deployment: str) -> None:
        """As ``AsyncClient.warm``."""
        self._loop.run(self._client.warm(deployment))

    @property
    def _client(self) -> AsyncClient:
        if self._async is None:
            raise UsageError("the client is closed", hint="make a new one")
        if self._loop.forked():
            # Engines and connections of a parent process are not this one's.
            self._async = self._make()
        return self._async
