"""The parent's side of work that may hang or die: a child process that takes nothing along.

What judges a model's text can be kept busy for ever by it, or fill the memory, and no thread can be killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence

import anyio.to_thread
import msgspec

from tt_compute.errors import VerifierError

__all__ = ["KillableProcess"]


class _Reply(msgspec.Struct):
    ready: bool = False
    value: bool | None = None
    error: str | None = None


class _Question:
    """One request, and whether its asker has gone."""

    def __init__(self, request: Mapping[str, object], about: str) -> None:
        self.request = request
        self.about = about
        self.abandoned = False


class KillableProcess:
    """A child process that answers questions by yes or no: started at the first, reused, restarted when lost.

    Safe to share between tasks, threads and event loops; one question at a time. It ends with ``close``,
    with this object, or with the interpreter, whichever comes first. After a ``fork`` the child process
    starts its own.

    Args:
        what: Its name in errors.
        command: What to run; it speaks the lines of ``worker_loop``.
        timeout_s: Most seconds one question may take before the process is killed.
        start_timeout_s: Most seconds for the start.
        mend: What to do when it does not start; None when nothing is known.
    """

    def __init__(
        self,
        what: str,
        command: Sequence[str],
        *,
        timeout_s: float,
        start_timeout_s: float = 60.0,
        mend: str | None = None,
    ) -> None:
        self._what = what
        self._command = tuple(command)
        self._timeout_s = timeout_s
        self._start_timeout_s = start_timeout_s
        self._mend = mend
        self._lock = threading.Lock()
        """Held during a question."""
        self._turn = threading.Lock()
        """Held for a moment, to know or change which question the child works on."""
        self._asked: _Question | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()
        self._end: weakref.finalize[..., KillableProcess] | None = None

    @property
    def pid(self) -> int | None:
        """Of the child process; None while there is none."""
        return None if self._child is None else self._child.pid

    async def ask(self, request: Mapping[str, object], about: str) -> bool:
        """Put a question.

        Args:
            request: For the child, as JSON.
            about: The question in an error's words.

        Raises:
            VerifierError: The process hung, died or failed on it.
        """
        question = _Question(request, about)
        try:
            return await anyio.to_thread.run_sync(
                self._ask_blocking, question, abandon_on_cancel=True
            )
        except anyio.get_cancelled_exc_class():
            question.abandoned = True
            # The thread left behind would wait out the time limit; without the child it ends at once.
            self._kill_for(question)
            raise

    def close(self) -> None:
        """End the child process; may be called twice, and a later question starts a new one."""
        self._forget_after_fork()
        self._kill_for(self._asked)
        with self._lock:
            self._stop()

    def _kill_for(self, question: _Question | None) -> None:
        """Kill the child if it works on ``question``, and on no other one."""
        with self._turn:
            if question is not None and self._asked is question and self._child is not None:
                self._child.kill()

    def _ask_blocking(self, question: _Question) -> bool:
        self._forget_after_fork()
        with self._lock:
            if question.abandoned:
                raise VerifierError(f"the question to {self._what} was abandoned")
            with self._turn:
                self._asked = question
            try:
                reply = self._exchange(self._running(), self._line(question), self._timeout_s)
            except VerifierError:
                self._stop()
                raise
            finally:
                with self._turn:
                    self._asked = None
        if reply.value is None:
            raise VerifierError(f"{self._what} failed on {question.about}: {reply.error}")
        return reply.value

    def _line(self, question: _Question) -> bytes:
        # The child's own alarm comes second; it matters when this process is gone.
        request = {**question.request, "timeout_s": self._timeout_s + 1}
        return json.dumps(request).encode() + b"\n"

    def _forget_after_fork(self) -> None:
        if self._owner != os.getpid():
            # The fork copied the locks as they were, perhaps held by a thread that it did not copy.
            self._lock, self._turn = threading.Lock(), threading.Lock()
            self._asked = None
            self._stop()
            self._owner = os.getpid()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is not None and self._child.poll() is None:
            return self._child
        self._stop()
        child = _start(self._what, self._command)
        self._child = child
        self._end = weakref.finalize(self, _end, child, self._owner)
        try:
            ready = self._exchange(child, b"", self._start_timeout_s).ready
        except VerifierError as error:
            raise VerifierError(
                f"{self._what} did not start: {error.message}", hint=self._mend
            ) from error
        if not ready:
            raise VerifierError(f"{self._what} did not start: it did not say that it is ready")
        return child

    def _exchange(self, child: subprocess.Popen[bytes], line: bytes, timeout_s: float) -> _Reply:
        """Send a line (none when empty) and read one; a child that is too slow is killed.

        Raises:
            VerifierError: It was too slow, died or wrote something else.
        """
        late = threading.Event()

        def give_up() -> None:
            late.set()
            child.kill()

        timer = threading.Timer(timeout_s, give_up)
        timer.daemon = True
        timer.start()
        try:
            answer = _talk(child, line)
        finally:
            timer.cancel()
        if late.is_set():
            raise VerifierError(f"{self._what} took longer than {timeout_s:g} s and was stopped")
        try:
            return msgspec.json.decode(answer, type=_Reply)
        except msgspec.DecodeError as error:
            raise VerifierError(
                f"the {self._what} process died or wrote something unreadable"
            ) from error

    def _stop(self) -> None:
        if self._end is not None:
            self._end()
        self._child = self._end = None


def _start(what: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
    # A session of its own keeps Ctrl-C at the terminal from killing it in the middle of an orderly end.
    # It gets this process's import path, and of the environment nothing that could hold a secret.
    kept = ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH", "TMPDIR", "TEMP", "LANG")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    try:
        return subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise VerifierError(f"the {what} process did not start: {error}") from error


def _talk(child: subprocess.Popen[bytes], line: bytes) -> bytes:
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        if line:
            child.stdin.write(line)
            child.stdin.flush()
        return child.stdout.readline()
    except OSError:
        return b""


def _end(child: subprocess.Popen[bytes], owner: int) -> None:
    """End ``child`` and its pipes; in a fork of its owner only the inherited pipes."""
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    if os.getpid() == owner:
        child.kill()
        child.wait()
    else:
        child.returncode = 0  # not ours to wait for; keeps Popen from warning about it
