"""The dispatcher: whatever a backend does, every drawn sample is booked and the outcome stands."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar, cast

import anyio
import anyio.lowlevel
import msgspec
import pytest

from tt_compute.clock import SystemClock
from tt_compute.dispatch.backends import BackendPool
from tt_compute.dispatch.dispatcher import Dispatcher
from tt_compute.dispatch.ledger import Ledger
from tt_compute.errors import ServerError, UsageError
from tt_compute.registry import Registry
from tt_compute.testing import backend_env, deployment_spec
from tt_compute.types import Event, GenerateRequest, Message, Sample

pytestmark = pytest.mark.anyio

Script = Sequence[Event | Exception | anyio.Event]
REQUEST = GenerateRequest(messages=(Message(role="user", content="hi"),))


class Options(msgspec.Struct):
    """None."""


class RudeGeneration:
    """Plays a list of events; an exception in it is raised there, and one of anyio's waited for."""

    def __init__(self, script: Script) -> None:
        self._script = list(script)

    def draw(self, n: int = 1) -> range:
        return range(n)

    def cancel(self, _index: int | None = None) -> None:
        return None

    def __aiter__(self) -> AsyncIterator[Event]:
        return self._play()

    async def _play(self) -> AsyncIterator[Event]:
        while self._script:
            step = self._script.pop(0)
            if isinstance(step, Exception):
                raise step
            if isinstance(step, anyio.Event):
                await step.wait()
            else:
                yield step


class RudeBackend:
    """Keeps no rule of the protocol."""

    Options: ClassVar[type[Options]] = Options
    script: ClassVar[Script] = ()
    closed: ClassVar[list[str]] = []

    def __init__(self, name: str) -> None:
        self._name = name

    @classmethod
    async def create(cls, spec: Any, _env: Any) -> RudeBackend:
        return cls(spec.id)

    @asynccontextmanager
    async def open(self, _request: GenerateRequest) -> AsyncGenerator[RudeGeneration, None]:
        yield RudeGeneration(self.script)

    async def aclose(self) -> None:
        self.closed.append(self._name)
        if self._name.endswith("bad"):
            raise ServerError("cannot close")


class OneBackend:
    """A registry that knows the rude backend."""

    def load(self, _name: str) -> type[RudeBackend]:
        return RudeBackend


@pytest.fixture
def pool() -> BackendPool:
    RudeBackend.closed.clear()
    return BackendPool(cast("Registry", OneBackend()), backend_env())


@pytest.fixture
def play(
    pool: BackendPool, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Script], tuple[Dispatcher, Ledger]]:
    def make(script: Script) -> tuple[Dispatcher, Ledger]:
        monkeypatch.setattr(RudeBackend, "script", script)
        return Dispatcher(pool, SystemClock()), Ledger(0.0)

    return make


def sample(index: int) -> Sample:
    return Sample(index=index, text="t", finish_reason="stop")


async def test_samples_that_a_backend_never_ends_are_booked_as_failed(play: Any) -> None:
    dispatcher, ledger = play([sample(0)])
    async with dispatcher.open(deployment_spec("rude"), REQUEST, ledger) as generation:
        generation.draw(3)
        assert [event.index async for event in generation] == [0]
    assert (ledger.samples_drawn, ledger.samples_finished, ledger.samples_failed) == (3, 1, 2)


async def test_an_error_of_the_scopes_end_does_not_replace_the_outcome(play: Any) -> None:
    dispatcher, ledger = play([sample(0), ServerError("gone")])
    async with dispatcher.open(deployment_spec("rude"), REQUEST, ledger) as generation:
        generation.draw(2)
        assert (await anext(aiter(generation))).index == 0
    assert (ledger.samples_drawn, ledger.samples_failed) == (2, 1)


async def test_a_second_end_of_one_sample_is_the_backends_error(play: Any) -> None:
    dispatcher, ledger = play([sample(0), sample(0)])
    async with dispatcher.open(deployment_spec("rude"), REQUEST, ledger) as generation:
        generation.draw(1)
        with pytest.raises(ServerError, match="sample 0"):
            [event async for event in generation]
    assert ledger.samples_drawn == 1


async def test_one_backend_that_cannot_close_keeps_no_other_open(pool: BackendPool) -> None:
    for name in ("a", "bad", "c"):
        spec = deployment_spec("rude")
        deployment = msgspec.structs.replace(spec.deployment, id=name)
        await pool.get(msgspec.structs.replace(spec, deployment=deployment))
    with pytest.raises(ServerError, match="cannot close"):
        await pool.aclose()
    assert sorted(RudeBackend.closed) == ["a", "bad", "c"]


async def test_a_second_reader_is_refused_whatever_the_backend_does(play: Any) -> None:
    """Here its iterator is an async generator, which raises an error of Python's; the first reader goes on."""
    go_on = anyio.Event()
    dispatcher, ledger = play([go_on, sample(0)])
    ends: list[Event] = []
    async with dispatcher.open(deployment_spec("rude"), REQUEST, ledger) as generation:

        async def read() -> None:
            ends.extend([event async for event in generation])

        generation.draw(1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await anyio.lowlevel.checkpoint()
            with pytest.raises(UsageError, match="second consumer"):
                await anext(aiter(generation))
            go_on.set()
    assert [event.index for event in ends] == [0]
