"""What a local backend holds: its share of an engine that runs one loaded model.

``acquire`` gives a hold on the engine of a ``LoadRequest``; holds with equal requests on one event loop share
one engine and so one copy of the weights. The process starts at the first ``warm`` or ``open`` and ends with
the last ``release``. After a crash the next ``open`` starts a new one.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Literal
from weakref import WeakKeyDictionary

import msgspec

from tt_compute.errors import BackendError, GenerationClosed, UsageError
from tt_compute.types import Clock, GenerateRequest
from tt_compute_backends.engine.generation import LocalGeneration
from tt_compute_backends.engine.link import ChildLink, InlineLink, StartLink
from tt_compute_backends.engine.messages import Origin, from_wire
from tt_compute_backends.engine.process import EngineProcess
from tt_compute_backends.engine.runtime import Loaded, LoadRequest, Reading, Vectors

__all__ = ["EngineHost", "acquire"]

_BACK_OFF_S = 1.0
"""Wait before the second restart in a row without a sample; doubled for each further one."""
_MAX_BACK_OFF_S = 30.0

_Key = tuple[str, bytes]
"""Where the engine runs, and the encoded ``LoadRequest``."""


class EngineHost:
    """One deployment's hold on an engine; made by ``acquire``."""

    def __init__(
        self,
        engine: _SharedEngine,
        *,
        clock: Clock,
        origin: Origin,
        unload_after_s: float | None = None,
    ) -> None:
        self._engine = engine
        self._unload_after_s = unload_after_s
        engine.hold(unload_after_s)
        self._clock = clock
        self._origin = origin
        self._released = False

    @property
    def pid(self) -> int | None:
        """Of the engine's process; None before it runs, and inline."""
        return self._engine.pid

    @property
    def loaded(self) -> bool:
        """Whether the model is loaded now."""
        return self._engine.loaded

    async def warm(self) -> Loaded:
        """Load the model now, if it is not loaded; concurrent callers load it once.

        Raises:
            ModelLoadError: The file is damaged, or the runtime refused it or crashed over it.
            BackendUnavailable: The runtime cannot be imported.
            EngineDied: The engine keeps crashing; ``retry_after_s`` tells when the next start is due.
            UsageError: The hold was released, or is used in a forked child.
        """
        with self._engine.in_use():
            return await self._process().loaded(self._origin)

    @asynccontextmanager
    async def open(self, request: GenerateRequest) -> AsyncGenerator[LocalGeneration, None]:
        """Open a prompt, loading the model first if need be; see ``tt_compute.backend.Backend.open``.

        Raises:
            InvalidRequestError: As the runtime found, or text that cannot be encoded.
            UnsupportedError: The request needs an ability that the runtime lacks.
            BackendError: As ``warm``.
        """
        with self._engine.in_use():
            process = self._process()
            await process.loaded(self._origin)
            left = None if request.deadline is None else request.deadline - self._clock.now()
            async with process.open(request, left, self._origin) as generation:
                yield generation

    async def read(self, reading: Reading, deadline: float | None) -> Vectors:
        """Have the model read texts, loading it first if need be.

        Args:
            reading: What is wanted of which texts.
            deadline: On the clock that the hold was taken with; None = there is none.

        Raises:
            UnsupportedError: The model was not made for it.
            InvalidRequestError: A text that cannot be read or encoded, or is too long.
            DeadlineExceeded: The deadline passed.
            BackendError: As ``warm``.
        """
        with self._engine.in_use():
            process = self._process()
            await process.loaded(self._origin)
            left = None if deadline is None else deadline - self._clock.now()
            return await process.read(reading, left, self._origin)

    async def release(self) -> None:
        """Give the hold back; the last one ends the engine and frees its memory. May be called twice."""
        if self._released:
            return
        self._released = True
        await self._engine.release(self._unload_after_s)

    def _process(self) -> EngineProcess:
        if self._released:
            raise GenerationClosed(f"the engine of {self._origin.deployment} was released")
        return self._engine.process(self._origin)


def acquire(
    load: LoadRequest,
    *,
    clock: Clock,
    backend: str,
    deployment: str,
    process: Literal["own", "inline"] = "own",
    unload_after_s: float | None = None,
) -> EngineHost:
    """Take a hold on the engine of ``load``; starts nothing. Called from a running event loop.

    Args:
        load: What the engine must load; equal requests on one event loop share one engine.
        clock: Of the backend's environment; ``GenerateRequest.deadline`` is a time on it.
        backend: Name that errors carry.
        deployment: Id that errors carry.
        process: ``own`` runs the model in a process of its own, ``inline`` on a thread of this one.
        unload_after_s: Seconds without an open prompt after which the engine ends, to start again when next
            needed; None = never. Of several holds on one engine the most patient decides.

    Raises:
        UsageError: ``load`` cannot be served or sent.
    """
    if load.max_rows < 1:
        raise UsageError(f"{deployment}: max_rows is {load.max_rows}", hint="at least 1 is needed")
    start: StartLink = ChildLink if process == "own" else InlineLink
    engine = _REGISTRY.engine(_key(load, process, deployment), load, start)
    origin = Origin(backend=backend, deployment=deployment)
    return EngineHost(engine, clock=clock, origin=origin, unload_after_s=unload_after_s)


class _SharedEngine:
    """One model on one event loop: the process that serves it now, and how the last ones fared.

    Args:
        load: What each process loads.
        start: Starts one.
        forget: Called when nobody holds the engine any more.
        now: System-wide monotonic seconds.
    """

    def __init__(
        self,
        load: LoadRequest,
        start: StartLink,
        forget: Callable[[], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._patience_s: list[float | None] = []
        """Of each holder."""
        self._users = 0
        """Prompts that are open or being opened."""
        self._idle: asyncio.TimerHandle | None = None
        self._unloading: set[asyncio.Task[None]] = set()
        self._load = load
        self._start = start
        self._forget = forget
        self._now = now
        self._current: EngineProcess | None = None
        self._failures = 0
        """Processes in a row, before the current one, that failed without a sample."""

    @property
    def pid(self) -> int | None:
        return None if self._current is None else self._current.pid

    @property
    def loaded(self) -> bool:
        return self._current is not None and self._current.is_loaded

    def process(self, origin: Origin) -> EngineProcess:
        """The process that serves now, started if there is none.

        Raises:
            BackendError: What the last one failed with, while the next start is not due.
            UsageError: This is a forked child.
        """
        current = self._current
        if current is not None:
            current.check_owner()
            if current.failure is None:
                return current
            self._failures = self._count_failure(current, origin)
        self._current = EngineProcess(self._load, self._start, self._now)
        return self._current

    def hold(self, patience_s: float | None) -> None:
        self._patience_s.append(patience_s)

    @contextmanager
    def in_use(self) -> Generator[None]:
        """The engine is not unloaded inside."""
        self._users += 1
        self._stop_waiting()
        try:
            yield
        finally:
            self._users -= 1
            self._wait_if_idle()

    async def release(self, patience_s: float | None) -> None:
        self._patience_s.remove(patience_s)
        self._stop_waiting()
        if self._patience_s:
            self._wait_if_idle()
            return
        self._forget()
        for unloading in list(self._unloading):
            await unloading
        if self._current is not None:
            await self._current.close()

    def _wait_if_idle(self) -> None:
        patience_s = [seconds for seconds in self._patience_s if seconds is not None]
        if patience_s and len(patience_s) == len(self._patience_s) and not self._users:
            loop = asyncio.get_running_loop()
            self._idle = loop.call_later(max(patience_s), self._unload)

    def _stop_waiting(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _unload(self) -> None:
        current, self._current = self._current, None
        self._failures = 0
        if current is not None:
            task = asyncio.ensure_future(current.close())
            self._unloading.add(task)
            task.add_done_callback(self._unloading.discard)

    def _count_failure(self, failed: EngineProcess, origin: Origin) -> int:
        """How many failed in a row, ``failed`` included; raises while the next start is not due."""
        assert failed.failure is not None
        failures = 1 if failed.worked else self._failures + 1
        wait_s = _back_off_s(failures) - (self._now() - failed.failed_s)
        if wait_s > 0:
            error = from_wire(failed.failure, origin)
            if isinstance(error, BackendError):
                error.retry_after_s = wait_s
            raise error
        return failures


class _Registry:
    """The engines of every event loop, by what they load.

    It is the one thing here that outlives a call: backends that know nothing of each other must find the
    same engine. A loop only ever sees its own engines.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[_Key, _SharedEngine]] = (
            WeakKeyDictionary()
        )

    def engine(self, key: _Key, load: LoadRequest, start: StartLink) -> _SharedEngine:
        with self._lock:
            engines = self._loops.setdefault(asyncio.get_running_loop(), {})
            engine = engines.get(key)
            if engine is None:
                engine = _SharedEngine(load, start, forget=lambda: _drop(engines, key))
                engines[key] = engine
            return engine


_REGISTRY = _Registry()


def _drop(engines: dict[_Key, _SharedEngine], key: _Key) -> None:
    del engines[key]


def _key(load: LoadRequest, process: str, deployment: str) -> _Key:
    try:
        return process, msgspec.msgpack.encode(load, order="deterministic")
    except (UnicodeEncodeError, OverflowError, TypeError) as error:
        raise UsageError(
            f"{deployment}: the model's path or options cannot be sent to an engine: {error}"
        ) from error


def _back_off_s(failures: int) -> float:
    """Seconds from the last of ``failures`` in a row to the next start; the first one costs nothing."""
    if failures <= 1:
        return 0.0
    return min(_MAX_BACK_OFF_S, _BACK_OFF_S * 2.0 ** min(failures - 2, 16))
