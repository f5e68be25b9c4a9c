"""One sandbox, from its start over its one job to its end. Used once: what a program may have left goes with it."""

from __future__ import annotations

import contextlib
import os
import selectors
import time

import msgspec

from tt_compute.errors import VerifierError
from tt_compute.verify.sandbox.launch import Launch, explain
from tt_compute.verify.sandbox.types import Program, Ran

__all__ = ["SandboxProcess"]

_GRACE_S = 5.0
"""Beyond the program's own time: the worker inside ends each case by itself, within milliseconds."""
_START_S = 2.0
"""Of each case, beside the program's own time; what the worker allows it."""
_ESCAPES = 8
"""Most bytes of JSON that one byte of output can become, and some."""


class _Reply(msgspec.Struct, frozen=True):
    ready: bool = False
    ended: str = ""
    exit_code: int | None = None
    stdout: str = ""
    stderr: str = ""
    value: str | None = None
    checked: bool = False
    wall_s: float = 0.0


class SandboxProcess:
    """A started sandbox. ``kill`` may be called from any thread at any time, everything else from one at a time.

    Whoever has it calls ``end`` at last.

    Raises:
        VerifierError: It cannot be started.
    """

    def __init__(self, launch: Launch) -> None:
        self._child = launch.start()
        self._buffer = bytearray()

    @property
    def pid(self) -> int:
        """Of bubblewrap, seen from outside."""
        return self._child.pid

    @property
    def alive(self) -> bool:
        return self._child.poll() is None

    def wait_ready(self, timeout_s: float) -> None:
        """Wait for the process inside to say that it waits for a job.

        Raises:
            VerifierError: It ended, or took too long.
        """
        try:
            reply = self._reply(time.monotonic() + timeout_s, 4096)
        except VerifierError as error:
            self.kill()
            raise explain(self._complaint() or error.message) from error
        if not reply.ready:
            raise VerifierError("the sandbox did not say that it is ready")

    def run(self, program: Program, filter_steps: bytes) -> tuple[Ran, ...]:
        """Run every case; there is no second time.

        Raises:
            VerifierError: The sandbox died, spoke nonsense or took too long.
        """
        limits = program.limits
        longest_s = limits.wall_s + _START_S
        ends_at = time.monotonic() + min(limits.total_s + longest_s, longest_s * len(program.cases))
        self._send(_job(program, filter_steps), ends_at + _GRACE_S)
        most = _ESCAPES * 3 * limits.output_bytes + 65536
        return tuple(
            _ran(self._reply(ends_at + _GRACE_S, most), case.call) for case in program.cases
        )

    def kill(self) -> None:
        """End the process and everything in it; may be called twice."""
        # The kernel ends what is inside with bubblewrap (--die-with-parent, process 1 of the namespace).
        self._child.kill()

    def end(self) -> None:
        """Kill it and leave nothing: no zombie, no open pipe."""
        self._child.kill()
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout, self._child.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _complaint(self) -> str:
        assert self._child.stderr is not None
        return self._child.stderr.read(4096).decode("utf-8", "replace")

    def _send(self, job: bytes, ends_at: float) -> None:
        assert self._child.stdin is not None
        fd = self._child.stdin.fileno()
        os.set_blocking(fd, False)
        view = memoryview(job)
        with selectors.DefaultSelector() as selector:
            selector.register(fd, selectors.EVENT_WRITE)
            while view:
                if not selector.select(max(0.0, ends_at - time.monotonic())):
                    raise VerifierError("the sandbox did not take the program in time")
                try:
                    view = view[os.write(fd, view) :]
                except OSError as error:
                    raise VerifierError(f"the sandbox died: {error}") from error

    def _reply(self, ends_at: float, most: int) -> _Reply:
        line = self._line(ends_at, most)
        try:
            return msgspec.json.decode(line, type=_Reply)
        except msgspec.DecodeError as error:
            raise VerifierError("the sandbox wrote something unreadable") from error

    def _line(self, ends_at: float, most: int) -> bytes:
        assert self._child.stdout is not None
        fd = self._child.stdout.fileno()
        with selectors.DefaultSelector() as selector:
            selector.register(fd, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                if len(self._buffer) > most:
                    raise VerifierError("the sandbox wrote more than its limits allow")
                if not selector.select(max(0.0, ends_at - time.monotonic())):
                    raise VerifierError("the sandbox did not answer in time")
                try:
                    part = os.read(fd, 1 << 20)
                except OSError as error:
                    raise VerifierError(f"the sandbox died: {error}") from error
                if not part:
                    raise VerifierError("the sandbox died")
                self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\n")
        return bytes(line)


def _job(program: Program, filter_steps: bytes) -> bytes:
    job = {
        "source": program.source,
        "cases": program.cases,
        "limits": program.limits,
        "filter": filter_steps.hex(),
    }
    try:
        return msgspec.json.encode(job) + b"\n"
    except (TypeError, UnicodeError) as error:
        raise VerifierError(f"the program or a case of it cannot be sent: {error}") from error


def _ran(reply: _Reply, call: str | None) -> Ran:
    fields = msgspec.structs.asdict(reply)
    del fields["ready"]
    if call is None:
        fields["value"] = None
    if reply.ended == "unconfined":
        raise VerifierError("a limit or the filter of the sandbox could not be put on")
    try:
        return msgspec.convert(fields, Ran)
    except msgspec.ValidationError as error:
        raise VerifierError("the sandbox wrote something unreadable") from error
