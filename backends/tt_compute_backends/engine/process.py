"""The parent's side of one engine process: what it was told, what it answered, how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import secrets
import signal
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import msgspec

from tt_compute.errors import EngineDied, InvalidRequestError, ModelLoadError, UsageError
from tt_compute.types import GenerateRequest
from tt_compute_backends.engine.asking import Asking
from tt_compute_backends.engine.generation import LocalGeneration
from tt_compute_backends.engine.link import Exit, StartLink
from tt_compute_backends.engine.messages import (
    Close,
    Closed,
    Command,
    Events,
    Fatal,
    Forget,
    Load,
    LoadFailed,
    Open,
    Opened,
    Origin,
    Read,
    ReadDone,
    ReadFailed,
    Ready,
    Refused,
    Reply,
    Shutdown,
    WireError,
    decode_replies,
    encode,
    from_wire,
    to_wire,
)
from tt_compute_backends.engine.runtime import Loaded, LoadRequest, Reading, Vectors

__all__ = ["EngineProcess"]

_SHUTDOWN_WAIT_S = 5.0
"""From being told to end to being killed: a few steps and the freeing of the model."""
_SEED_BITS = 63
_LAST_LINES = 3
"""Of the process's standard error, shown in the hint."""


class _Answer:
    """What the engine says to one ``Open``."""

    def __init__(self) -> None:
        self.ready = anyio.Event()
        self.refusal: WireError | None = None
        self.generation: LocalGeneration | None = None


class EngineProcess:
    """One engine from its start to its end; used from one event loop.

    Args:
        load: What it loads, at once.
        start: Starts it.
        now: System-wide monotonic seconds, which the engine reads too.
    """

    def __init__(
        self, load: LoadRequest, start: StartLink, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._load = load
        self._now = now
        self._loop = asyncio.get_running_loop()
        self._owner = os.getpid()
        self._numbers = itertools.count()
        self._generations: dict[int, LocalGeneration] = {}
        self._opening: dict[int, tuple[_Answer, Origin]] = {}
        self._asking = Asking()
        self._loaded: Loaded | None = None
        self._settled = anyio.Event()
        """Loaded, or never will be."""
        self._ended = anyio.Event()
        self._closing = False
        self.failure: WireError | None = None
        """Why it is of no more use; None while it lives."""
        self.failed_s = 0.0
        """When that became known, on ``now``'s clock."""
        self.worked = False
        """Whether anything has come out of it."""
        self._link = start(self._on_frame, self._on_exit)
        self._link.send(encode(Load(request=load)))

    @property
    def pid(self) -> int | None:
        """Of the engine's process; None before it runs, and inline."""
        return self._link.pid

    @property
    def is_loaded(self) -> bool:
        """Whether the model is there and the process lives."""
        return self._loaded is not None and self.failure is None

    async def loaded(self, origin: Origin) -> Loaded:
        """Wait until the model is loaded.

        Raises:
            ModelLoadError: It could not be, or the process crashed over it.
            BackendUnavailable: The runtime cannot be imported.
            EngineDied: The process ended after loading.
        """
        await self._settled.wait()
        if self.failure is not None:
            raise from_wire(self.failure, origin)
        assert self._loaded is not None
        return self._loaded

    @asynccontextmanager
    async def open(
        self, request: GenerateRequest, seconds_left: float | None, origin: Origin
    ) -> AsyncGenerator[LocalGeneration, None]:
        """Open a prompt on the loaded engine; see ``tt_compute.backend.Backend.open``."""
        number = next(self._numbers)
        try:
            generation = await self._opened(number, request, seconds_left, origin)
        except BaseException:
            self._forget(number)
            raise
        try:
            yield generation
        finally:
            await self._leave(generation)

    async def read(self, reading: Reading, seconds_left: float | None, origin: Origin) -> Vectors:
        """Have the loaded engine read texts; whoever gives up waiting stops it.

        Raises:
            UnsupportedError: The model was not made for it.
            InvalidRequestError: As the runtime found, or text that cannot be encoded.
            DeadlineExceeded: ``seconds_left`` have passed.
            BackendError: The engine failed or is gone.
        """
        number = next(self._numbers)
        message = _encoded(
            Read(number=number, reading=reading, sent_s=self._now(), seconds_left=seconds_left)
        )
        self.check_owner()
        if self.failure is not None:
            raise from_wire(self.failure, origin)
        self._link.send(message)
        try:
            found = await self._asking.answer(number)
        except BaseException:
            # A cancellation above all: nobody waits for the answer any more.
            self._post(Forget(number=number))
            raise
        if isinstance(found, WireError):
            raise from_wire(found, origin)
        return found

    async def close(self) -> None:
        """End the engine and wait for its end; what still runs on it fails. May be called twice."""
        if os.getpid() != self._owner:
            return
        self._closing = True
        self._post(Shutdown())
        with anyio.CancelScope(shield=True):
            if self._loaded is not None:
                await self._wait_for_end()
            self._link.kill()
            await self._wait_for_end()

    def check_owner(self) -> None:
        """Refuse to be used by a forked child, which has the memory of the engine but not its threads.

        Raises:
            UsageError: This is another process than the one that started the engine.
        """
        if os.getpid() != self._owner:
            raise UsageError(
                f"the local engine belongs to process {self._owner} and was inherited by a fork",
                hint="make a new client in the child process",
            )

    async def _wait_for_end(self) -> None:
        with anyio.move_on_after(_SHUTDOWN_WAIT_S):
            await self._ended.wait()

    async def _opened(
        self, number: int, request: GenerateRequest, seconds_left: float | None, origin: Origin
    ) -> LocalGeneration:
        message = _encoded(self._open_command(number, request, seconds_left))
        answer = _Answer()
        self._opening[number] = (answer, origin)
        self.check_owner()
        if self.failure is None:
            self._link.send(message)
            await answer.ready.wait()
        refusal = answer.refusal or self.failure
        if refusal is not None:
            raise from_wire(refusal, origin)
        assert answer.generation is not None
        return answer.generation

    def _open_command(
        self, number: int, request: GenerateRequest, seconds_left: float | None
    ) -> Open:
        seed = request.sampling.seed
        sampling = msgspec.structs.replace(request.sampling, seed=None)
        return Open(
            generation=number,
            request=msgspec.structs.replace(request, sampling=sampling, deadline=None, tags={}),
            seed=str(secrets.randbits(_SEED_BITS) if seed is None else seed),
            sent_s=self._now(),
            seconds_left=seconds_left,
        )

    def _forget(self, number: int) -> None:
        """Give up a prompt whose opener has gone or was refused."""
        self._opening.pop(number, None)
        self._generations.pop(number, None)
        self._post(Close(generation=number))

    async def _leave(self, generation: LocalGeneration) -> None:
        if not await generation.leave():
            hung = EngineDied(f"the engine of {self._name} hung inside a step and was killed")
            self._give_up(to_wire(hung))
            self._link.kill()
        self._generations.pop(generation.number, None)

    def _post(self, command: Command) -> None:
        self.check_owner()
        if self.failure is None:
            self._link.send(encode(command))

    # --- on the link's thread --------------------------------------------------------------------

    def _on_frame(self, frame: bytes) -> None:
        replies = decode_replies(frame)
        try:
            self._loop.call_soon_threadsafe(self._receive, replies)
        except RuntimeError:  # the loop was closed and the engine left behind
            self._link.kill()

    def _on_exit(self, how: Exit) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody is left to be told
            self._loop.call_soon_threadsafe(self._end, how)

    # --- on the event loop -----------------------------------------------------------------------

    def _receive(self, replies: list[Reply]) -> None:
        for reply in replies:
            match reply:
                case Events():
                    self._feed(reply)
                case Opened() | Refused():
                    self._answer(reply)
                case ReadDone() | ReadFailed():
                    self._tell(reply)
                case Closed(generation=number):
                    if number in self._generations:
                        self._generations[number].close()
                case Ready(loaded=loaded):
                    self._loaded = loaded
                    self._settled.set()
                case LoadFailed(error=error):
                    self._give_up(error)
                case Fatal(error=error):
                    self._give_up(to_wire(EngineDied(error.message, hint=error.hint)))

    def _feed(self, events: Events) -> None:
        generation = self._generations.get(events.generation)
        if generation is not None:
            self.worked = self.worked or bool(events.samples)
            generation.feed(events)

    def _tell(self, reply: ReadDone | ReadFailed) -> None:
        if isinstance(reply, ReadDone):
            self.worked = True
            self._asking.tell(reply.number, reply.rows)
        else:
            self._asking.tell(reply.number, reply.error)

    def _answer(self, reply: Opened | Refused) -> None:
        if reply.generation not in self._opening:
            return
        answer, origin = self._opening.pop(reply.generation)
        if isinstance(reply, Refused):
            answer.refusal = reply.error
        else:
            answer.generation = self._generations[reply.generation] = LocalGeneration(
                reply.generation,
                prompt_tokens=reply.prompt_tokens,
                send=self._post,
                now=self._now,
                origin=origin,
            )
        answer.ready.set()

    def _end(self, how: Exit) -> None:
        self._give_up(self._obituary(how))
        self._ended.set()

    def _give_up(self, error: WireError) -> None:
        """The engine is of no more use; the first reason stands."""
        if self.failure is not None:
            return
        self.failure = error
        self.failed_s = self._now()
        self._settled.set()
        for generation in self._generations.values():
            generation.lose(error)
        for answer, _ in self._opening.values():
            answer.ready.set()
        self._asking.lose(error)

    def _obituary(self, how: Exit) -> WireError:
        if self._closing:
            return to_wire(EngineDied("the engine was closed while it was in use"))
        words = " / ".join(how.last_words.splitlines()[-_LAST_LINES:])
        if self._loaded is None:
            return to_wire(
                ModelLoadError(
                    f"the runtime {_ending(how)} while loading {self._load.model_path};"
                    " the file may be damaged",
                    hint=words or None,
                )
            )
        died = EngineDied(f"the engine of {self._name} {_ending(how)}", hint=words or None)
        return to_wire(died)

    @property
    def _name(self) -> str:
        return Path(self._load.model_path).name


def _encoded(command: Open | Read) -> bytes:
    try:
        return encode(command)
    except (UnicodeEncodeError, OverflowError, TypeError, RecursionError) as error:
        raise InvalidRequestError(
            f"the request cannot be encoded: {error}",
            hint="text must be valid Unicode, numbers must fit into 64 bits, schemas must be JSON",
        ) from error


def _ending(how: Exit) -> str:
    if how.code is None:
        return "could not be started"
    if how.code >= 0:
        return f"ended with exit code {how.code}"
    try:
        return f"crashed ({signal.Signals(-how.code).name})"
    except ValueError:  # a real-time signal has no name
        return f"crashed (signal {-how.code})"
