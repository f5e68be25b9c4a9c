"""The default sandbox: bubblewrap around a Python that is started beforehand and used once.

Sandboxes wait ready, so that a check does not wait for one to start; each runs the cases of one program
and is ended, so that no program meets what another one left. They are started by one thread, which stays
while they do: the kernel ends a sandbox with the thread that started it.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque

import anyio.to_thread

from tt_compute.errors import VerifierError
from tt_compute.verify.sandbox.launch import Launch, find_launch
from tt_compute.verify.sandbox.process import SandboxProcess
from tt_compute.verify.sandbox.seccomp import filter_for
from tt_compute.verify.sandbox.selftest import probe_program, refuse_leaks
from tt_compute.verify.sandbox.types import Program, Ran

__all__ = ["BubblewrapSandbox"]

_START_S = 30.0
"""Most seconds for a start; 10 ms on an idle machine."""


class _Ticket:
    """One program on its way through a sandbox, and whether anybody still waits for it."""

    def __init__(self) -> None:
        self.abandoned = False
        self.process: SandboxProcess | None = None


class BubblewrapSandbox:
    """Runs programs under bubblewrap, several at once. See ``types.Sandbox``.

    Args:
        size: Sandboxes that are kept ready, and programs that run at once; None = one for each core, at
            most four.
        idle_s: After so long without a program none is kept ready.
        launch: What starts one; None = what is found at first use.
    """

    name = "bubblewrap"

    def __init__(
        self, *, size: int | None = None, idle_s: float = 60.0, launch: Launch | None = None
    ) -> None:
        self._size = size or min(4, os.cpu_count() or 1)
        self._idle_s = idle_s
        self._launch = launch
        self._filter = b""
        self._tested = False
        self._testing = threading.Lock()
        self._reset()

    def _reset(self) -> None:
        self._changed = threading.Condition()
        self._ready: deque[SandboxProcess] = deque()
        self._running: set[SandboxProcess] = set()
        self._wanted = 0
        """Programs that wait for a sandbox."""
        self._starter: threading.Thread | None = None
        self._failure: VerifierError | None = None
        self._used_at = 0.0
        self._closing = False
        self._owner = os.getpid()

    @property
    def waiting(self) -> frozenset[int]:
        """Processes of the sandboxes that wait for a program, seen from outside."""
        with self._changed:
            return frozenset(process.pid for process in self._ready)

    @property
    def running(self) -> frozenset[int]:
        """Processes of the sandboxes that run a program, seen from outside."""
        with self._changed:
            return frozenset(process.pid for process in self._running)

    async def ready(self) -> None:
        """Find bubblewrap and try every probe; only the first call does it."""
        if not self._tested:
            await self._in_thread(None)

    async def run(self, program: Program) -> tuple[Ran, ...]:
        """Run every case of a program; see ``types.Sandbox.run``."""
        return await self._in_thread(program)

    def close(self) -> None:
        """End whatever runs; may be called twice, and a later run starts anew."""
        self._forget_after_fork()
        with self._changed:
            self._closing = True
            starter = self._starter
            for process in self._running:
                process.kill()
            self._changed.notify_all()
            # Each is taken down by the thread that has it.
            self._changed.wait_for(lambda: not self._running, _START_S)
        if starter is not None:
            starter.join()
        with self._changed:
            self._closing = False

    async def _in_thread(self, program: Program | None) -> tuple[Ran, ...]:
        ticket = _Ticket()
        try:
            return await anyio.to_thread.run_sync(
                self._run_blocking, program, ticket, abandon_on_cancel=True
            )
        except anyio.get_cancelled_exc_class():
            with self._changed:
                ticket.abandoned = True
                if ticket.process is not None:
                    ticket.process.kill()
                self._changed.notify_all()
            raise

    def _run_blocking(self, program: Program | None, ticket: _Ticket) -> tuple[Ran, ...]:
        self._forget_after_fork()
        if not self._tested:
            self._test(ticket)
        return () if program is None else self._run_in_one(program, ticket)

    def _test(self, ticket: _Ticket) -> None:
        with self._testing:
            if not self._tested:
                self._filter = filter_for()
                self._launch = self._launch or find_launch()
                refuse_leaks(self._run_in_one(probe_program(), ticket))
                self._tested = True

    def _run_in_one(self, program: Program, ticket: _Ticket) -> tuple[Ran, ...]:
        process = self._take(ticket)
        try:
            return process.run(program, self._filter)
        finally:
            process.end()
            with self._changed:
                ticket.process = None
                self._running.discard(process)
                self._used_at = time.monotonic()
                self._changed.notify_all()

    def _take(self, ticket: _Ticket) -> SandboxProcess:
        with self._changed:
            self._used_at = time.monotonic()
            self._failure = None
            self._wanted += 1
            try:
                process = self._next(ticket)
            finally:
                self._wanted -= 1
            ticket.process = process
            self._running.add(process)
            self._changed.notify_all()
            return process

    def _next(self, ticket: _Ticket) -> SandboxProcess:
        """A sandbox that is ready, once one is free; with the lock held."""
        while True:
            if ticket.abandoned or self._closing:
                raise VerifierError("the program was not run: nobody waits for it any more")
            if self._ready and len(self._running) < self._size:
                process = self._ready.popleft()
                if process.alive:
                    return process
                process.end()
                continue
            if self._failure is not None:
                raise self._failure
            self._keep_starting()
            self._changed.notify_all()
            self._changed.wait()

    def _keep_starting(self) -> None:
        if self._starter is None:
            self._starter = threading.Thread(
                target=self._start_all, name="tt_compute-sandboxes", daemon=True
            )
            self._starter.start()

    def _start_all(self) -> None:
        """Keep sandboxes ready until nobody needs them or one cannot be started."""
        try:
            while self._wants_another():
                self._start_one()
        except VerifierError as error:
            with self._changed:
                self._failure = error
        finally:
            with self._changed:
                self._starter = None
                while self._ready:
                    self._ready.pop().end()
                self._changed.notify_all()

    def _wants_another(self) -> bool:
        """Wait until one is missing; False when no more are needed."""
        with self._changed:
            while not self._closing:
                idle_s = time.monotonic() - self._used_at
                if idle_s >= self._idle_s and not (self._running or self._wanted):
                    return False
                if len(self._ready) < self._size:
                    return True
                self._changed.wait(max(0.1, self._idle_s - idle_s))
            return False

    def _start_one(self) -> None:
        assert self._launch is not None
        process = SandboxProcess(self._launch)
        try:
            process.wait_ready(_START_S)
        except VerifierError:
            process.end()
            raise
        with self._changed:
            self._ready.append(process)
            self._changed.notify_all()

    def _forget_after_fork(self) -> None:
        if self._owner != os.getpid():
            # What the parent started is the parent's; its threads and the state of its locks are not here.
            self._testing = threading.Lock()
            self._reset()
