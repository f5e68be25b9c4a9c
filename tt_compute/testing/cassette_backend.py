"""Backends of a cassette: one that records what another does, one that replays it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio.lowlevel

from tt_compute.backend import Backend, Generation
from tt_compute.errors import BackendError, GenerationClosed, TTComputeError
from tt_compute.testing.cassette_file import Entry, Interaction, Trouble, asked, entry_of, event_of
from tt_compute.types import Delta, Event, Failed, GenerateRequest, ModelInfo, Sample

__all__ = ["RecordingBackend", "ReplayingBackend"]

Complain = Callable[[str], None]


class RecordingBackend:
    """Does what ``inner`` does, and keeps it. Optional abilities stay unknown, as they are in a replay.

    Args:
        inner: The backend that is recorded.
        deployment: Id of its deployment.
        tape: Where interactions are put, as they begin.
    """

    def __init__(self, inner: Backend, deployment: str, tape: list[Interaction]) -> None:
        self._inner = inner
        self._deployment = deployment
        self._tape = tape

    async def models(self) -> Sequence[ModelInfo]:
        return await self._inner.models()

    @asynccontextmanager
    async def open(self, request: GenerateRequest) -> AsyncGenerator[Generation, None]:
        interaction = Interaction(deployment=self._deployment, request=asked(request))
        self._tape.append(interaction)
        scope = self._inner.open(request)
        try:
            generation = await scope.__aenter__()
        except TTComputeError as error:
            interaction.refused = Trouble.of(error)
            raise
        async with _entered(scope):
            yield _RecordingGeneration(generation, interaction)

    async def aclose(self) -> None:
        await self._inner.aclose()


@asynccontextmanager
async def _entered(scope: AbstractAsyncContextManager[Generation]) -> AsyncGenerator[None, None]:
    """The rest of a scope that was entered by hand."""
    try:
        yield
    except BaseException as error:
        if not await scope.__aexit__(type(error), error, error.__traceback__):
            raise
    else:
        await scope.__aexit__(None, None, None)


class _RecordingGeneration:
    """Satisfies ``tt_compute.backend.Generation``."""

    def __init__(self, inner: Generation, interaction: Interaction) -> None:
        self._inner = inner
        self._interaction = interaction
        self._events: AsyncIterator[Event] | None = None

    def draw(self, n: int = 1) -> range:
        indices = self._inner.draw(n)
        self._interaction.drawn += n
        return indices

    def cancel(self, index: int | None = None) -> None:
        self._inner.cancel(index)

    def __aiter__(self) -> AsyncIterator[Event]:
        self._events = aiter(self._inner)
        return self

    async def __anext__(self) -> Event:
        assert self._events is not None, "an iterator comes from aiter()"
        try:
            event = await anext(self._events)
        except TTComputeError as error:
            self._interaction.lost = Trouble.of(error)
            raise
        self._interaction.events.append(entry_of(event))
        return event


class ReplayingBackend:
    """Says what was recorded, at once, and nothing else.

    Args:
        models: As they were recorded.
        find: Takes the interaction of a request from the cassette; raises where there is none.
        complain: Told what is not as it was recorded.
    """

    def __init__(
        self,
        models: Sequence[ModelInfo],
        find: Callable[[GenerateRequest], Interaction],
        complain: Complain,
    ) -> None:
        self._models = models
        self._find = find
        self._complain = complain

    async def models(self) -> Sequence[ModelInfo]:
        return self._models

    @asynccontextmanager
    async def open(self, request: GenerateRequest) -> AsyncGenerator[Generation, None]:
        interaction = self._find(request)
        if interaction.refused is not None:
            raise interaction.refused.error()
        generation = _ReplayingGeneration(interaction, self._complain)
        try:
            yield generation
        finally:
            generation.close()

    async def aclose(self) -> None:
        """Nothing is held."""


class _ReplayingGeneration:
    """Satisfies ``tt_compute.backend.Generation``: events come in the order of the recording.

    Samples that were cancelled when it was recorded end so again; cancelling another one changes nothing.
    """

    def __init__(self, interaction: Interaction, complain: Complain) -> None:
        self._interaction = interaction
        self._complain = complain
        self._left: list[Entry] = list(interaction.events)
        self._live: set[int] = set()
        self._drawn = 0
        self._lost = interaction.lost
        self._closed = False

    def draw(self, n: int = 1) -> range:
        if self._closed:
            raise GenerationClosed("draw after the generation's scope was left")
        indices = range(self._drawn, self._drawn + n)
        self._drawn += n
        self._live.update(indices)
        return indices

    def cancel(self, index: int | None = None) -> None:
        """What a cancel came to is in the recording."""

    def close(self) -> None:
        """The scope is left."""
        self._closed = True
        missed = self._interaction.drawn - self._drawn
        if missed > 0:
            self._complain(
                f"{self._interaction.deployment}: {self._interaction.drawn} samples of a prompt were "
                f"recorded, and {missed} of them were not drawn"
            )

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        await anyio.lowlevel.checkpoint()
        for place, entry in enumerate(self._left):
            event = event_of(entry)
            if event.index < self._drawn:
                del self._left[place]
                if not isinstance(event, Delta):
                    self._live.discard(event.index)
                return event
        if self._live:
            return self._unrecorded(min(self._live))
        lost, self._lost = self._lost, None
        if lost is not None:
            raise lost.error()
        raise StopAsyncIteration

    def _unrecorded(self, index: int) -> Sample | Failed:
        """The end of a sample whose end the recording does not hold."""
        self._live.discard(index)
        if index < self._interaction.drawn:
            return Sample(index=index, text="", finish_reason="cancelled")
        message = (
            f"{self._interaction.deployment}: {self._interaction.drawn} samples of a prompt were "
            f"recorded, and a further one was drawn"
        )
        self._complain(message)
        return Failed(index=index, error=BackendError(message))
