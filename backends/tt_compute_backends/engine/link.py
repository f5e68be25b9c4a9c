"""The wire to an engine: a process of its own, or a thread of this one for debugging.

A link owns its threads. It never blocks the caller: sending goes through a queue, and what arrives is handed
over on the link's own thread.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Protocol

import msgspec

from tt_compute_backends.engine.frames import read_frames, write_frame
from tt_compute_backends.engine.serve import Inbox, serve

__all__ = ["ChildLink", "Exit", "InlineLink", "Link", "StartLink"]

_NOISE_BYTES = 1 << 20
"""Most of the process's standard error that is kept; beyond it the file starts anew."""
_LAST_WORDS_BYTES = 2000
_EXIT_WAIT_S = 5.0
"""From the close of its pipe, which only its end should cause, to the process being killed."""
_START = "import sys; sys.path[:] = sys.argv[1:]; from tt_compute_backends.engine.child import main; main()"


class Exit(msgspec.Struct, frozen=True, kw_only=True):
    """How an engine ended."""

    code: int | None
    """Exit code, negative = the signal that ended it; None = there was no process."""
    last_words: str = ""
    """The end of what it wrote to standard error."""


class Link(Protocol):
    """A started engine."""

    @property
    def pid(self) -> int | None:
        """Of the process once it runs; None without one."""
        ...

    def send(self, message: bytes) -> None:
        """Queue an encoded command; what is sent to an engine that ended is dropped."""
        ...

    def kill(self) -> None:
        """End the engine now, if it can be done; its exit is reported as any other."""
        ...


StartLink = Callable[[Callable[[bytes], None], Callable[[Exit], None]], Link]
"""Makes a link from what to call with each frame and, once, with the exit; both on the link's thread."""


class ChildLink:
    """An engine in a process of its own.

    The process is a fresh interpreter that never sees the caller's ``__main__``, so scripts without a guard,
    notebooks and ``python -c`` work. One thread lives exactly as long as the process, starts it, reads from
    it and reaps it; on Linux the process is killed when that thread ends. Another one writes.
    """

    def __init__(self, on_frame: Callable[[bytes], None], on_exit: Callable[[Exit], None]) -> None:
        self._on_frame = on_frame
        self._on_exit = on_exit
        self._outbox: Inbox = SimpleQueue()
        self._process: subprocess.Popen[bytes] | None = None
        self._killed = False
        threading.Thread(target=self._run, name="tt-engine-read", daemon=True).start()

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def send(self, message: bytes) -> None:
        self._outbox.put(message)

    def kill(self) -> None:
        self._killed = True
        if self._process is not None:
            self._process.kill()

    def _run(self) -> None:
        with tempfile.TemporaryFile() as noise:
            try:
                process = self._process = _spawn(noise)
            except OSError as error:
                self._on_exit(Exit(code=None, last_words=str(error)))
                return
            if self._killed:
                process.kill()
            with process:
                writer = threading.Thread(
                    target=self._write, args=(process.stdin,), name="tt-engine-write", daemon=True
                )
                writer.start()
                self._read(process, noise)
                code = _reap(process)
                self._outbox.put(None)
                writer.join()
            self._on_exit(Exit(code=code, last_words=_tail(noise)))

    def _read(self, process: subprocess.Popen[bytes], noise: IO[bytes]) -> None:
        assert process.stdout is not None
        for frame in read_frames(process.stdout.fileno()):
            self._on_frame(frame)
            if os.fstat(noise.fileno()).st_size > _NOISE_BYTES:
                noise.seek(0)
                noise.truncate()

    def _write(self, pipe: IO[bytes]) -> None:
        while (message := self._outbox.get()) is not None:
            try:
                write_frame(pipe.fileno(), message)
            except OSError:  # the process ended; the reading thread reports it
                return


class InlineLink:
    """The same engine on a thread of this process, to be stepped through with a debugger."""

    pid = None

    def __init__(self, on_frame: Callable[[bytes], None], on_exit: Callable[[Exit], None]) -> None:
        self._on_frame = on_frame
        self._on_exit = on_exit
        self._inbox: Inbox = SimpleQueue()
        threading.Thread(target=self._run, name="tt-engine-inline", daemon=True).start()

    def send(self, message: bytes) -> None:
        self._inbox.put(message)

    def kill(self) -> None:
        """Ask the thread to end after its step; a thread cannot be ended from outside."""
        self._inbox.put(None)

    def _run(self) -> None:
        try:
            serve(self._inbox, self._on_frame, time.monotonic)
        finally:
            self._on_exit(Exit(code=None))


def _spawn(noise: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start the engine's process with this one's import path."""
    paths = [path or str(Path.cwd()) for path in sys.path]
    return subprocess.Popen(  # noqa: S603 - our own interpreter and code
        [sys.executable, "-c", _START, *paths],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=noise,
        bufsize=0,
        # Ctrl-C at the terminal reaches the whole group, and would end a process that has only begun.
        process_group=0,
    )


def _reap(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(_EXIT_WAIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _tail(noise: IO[bytes]) -> str:
    end = noise.seek(0, os.SEEK_END)
    noise.seek(max(0, end - _LAST_WORDS_BYTES))
    return noise.read().decode(errors="replace").strip()
