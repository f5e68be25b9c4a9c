"""The first process inside a sandbox: it runs each case of one program in a fork of itself.

It gets one job on standard input and answers with one line of JSON for each case. Whatever it is told
ends with it: it is process 1 of its namespace, so the program can neither kill nor outlive it. Its text
is handed to an interpreter that sees nothing of this package; only the standard library is imported.
"""

from __future__ import annotations

import atexit
import builtins
import contextlib
import ctypes
import gc
import json
import os
import resource
import select
import signal
import sys
import threading
import time
import types
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn, cast

_STDERR_CHARS = 4000
_RESULT_FD = 3
_CONFINE_S = 2.0
"""Most seconds between the start of a case and its first line."""
_CPU_ENDS_S = 0.5
"""The limit is at least 1 s; the kernel counts it by another clock than it tells the time that was used."""
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2


def main() -> None:
    """Answer one job, or become the program of one case."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What was loaded by now is left alone by every fork's collector, and so stays shared.
    gc.freeze()
    _say({"ready": True})
    job = json.loads(_line())
    ends_at = time.monotonic() + job["limits"]["total_s"]
    for case in job["cases"]:
        if time.monotonic() >= ends_at:
            _say({"ended": "not_run"})
            continue
        running = _start(job, case)
        if running is None:
            # What the other cases hold is none of this program's business.
            job["cases"].clear()
            _end(partial(_become, job, case))
        _say(running.watch(job["limits"]["wall_s"], ends_at))
    os._exit(0)


def _line() -> bytes:
    """The job; unbuffered, so that nothing of it is left in what the forks inherit."""
    parts: list[bytes] = []
    while not parts or not parts[-1].endswith(b"\n"):
        part = os.read(0, 1 << 20)
        if not part:
            os._exit(1)
        parts.append(part)
    return b"".join(parts)


def _say(reply: dict[str, Any]) -> None:
    line = json.dumps(reply).encode() + b"\n"
    while line:
        line = line[os.write(1, line) :]


class _Running:
    """A case under way, seen from outside of it."""

    def __init__(
        self, pid: int, pipes: dict[str, int], stdin: bytes, most: int, token: str
    ) -> None:
        self._pid = pid
        self._stdin = stdin
        self._most = most
        self._token = token
        self._names = {pipes[name]: name for name in ("stdout", "stderr", "result")}
        self._feed = pipes["stdin"]
        self._read: dict[str, bytearray] = {name: bytearray() for name in self._names.values()}
        for fd in (*self._names, self._feed):
            os.set_blocking(fd, False)

    def watch(self, wall_s: float, ends_at: float) -> dict[str, Any]:
        """Look on until the process has ended or must be ended."""
        self._wait_for_its_first_line()
        started = time.monotonic()
        ended = self._wait(min(ends_at, started + wall_s))
        # Nothing of the case may live on: everything in this namespace but this process.
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        _, status, used = os.wait4(self._pid, 0)
        for fd in self._names:
            self._drain(fd)
            os.close(fd)
        if self._feed >= 0:
            os.close(self._feed)
        return self._reply(ended, status, used.ru_utime + used.ru_stime, time.monotonic() - started)

    def _wait_for_its_first_line(self) -> None:
        """Its time begins when it is confined, however long a busy machine takes to come to that."""
        poll = select.poll()
        for fd in (0, *(fd for fd, name in self._names.items() if name == "result")):
            poll.register(fd, select.POLLIN)
        poll.poll(_CONFINE_S * 1000)

    def _wait(self, ends_at: float) -> str:
        poll = select.poll()
        done = os.pidfd_open(self._pid)
        try:
            # Standard input speaks only when the parent outside is gone.
            for fd in (0, done, *self._names):
                poll.register(fd, select.POLLIN)
            poll.register(self._feed, select.POLLOUT)
            while True:
                left_s = ends_at - time.monotonic()
                events = poll.poll(max(0.0, left_s) * 1000)
                if not events and left_s <= 0:
                    return "wall"
                for fd, _ in events:
                    if fd == 0:
                        os._exit(1)
                    if fd == done:
                        return "exit"
                    if not self._serve(fd):
                        poll.unregister(fd)
                if self._flooded():
                    return "output"
                if left_s <= 0:
                    return "wall"
        finally:
            os.close(done)

    def _serve(self, fd: int) -> bool:
        """Move what a pipe holds; whether more can come."""
        if fd != self._feed:
            return self._drain(fd)
        try:
            self._stdin = self._stdin[os.write(fd, self._stdin[:65536]) :] if self._stdin else b""
        except BlockingIOError:
            return True
        except BrokenPipeError:
            self._stdin = b""
        if not self._stdin:
            os.close(fd)
            self._feed = -1
        return bool(self._stdin)

    def _drain(self, fd: int) -> bool:
        into = self._read[self._names[fd]]
        while len(into) <= self._most:
            try:
                part = os.read(fd, 65536)
            except BlockingIOError:
                return True
            if not part:
                return False
            into += part
        return True

    def _flooded(self) -> bool:
        return any(len(read) > self._most for read in self._read.values())

    def _reply(self, ended: str, status: int, cpu_s: float, wall_s: float) -> dict[str, Any]:
        if ended == "exit" and self._flooded():
            ended = "output"
        if ended == "exit" and os.WIFSIGNALED(status):
            by_cpu = os.WTERMSIG(status) in (signal.SIGKILL, signal.SIGXCPU)
            ended = "cpu" if by_cpu and cpu_s > _CPU_ENDS_S else "signal"
        reply: dict[str, Any] = {
            "ended": ended,
            "exit_code": os.WEXITSTATUS(status) if ended == "exit" else None,
            "stdout": self._read["stdout"][: self._most].decode("utf-8", "replace"),
            "stderr": self._read["stderr"].decode("utf-8", "replace")[-_STDERR_CHARS:],
            "wall_s": wall_s,
        }
        confined, *result = self._read["result"].decode("utf-8", "replace").split("\n", 2)
        if confined != self._token:
            reply["ended"] = "unconfined"
        elif ended == "exit" and result[0] == self._token:
            reply.update({"checked": True, "value": result[1] or None})
        return reply


def _start(job: dict[str, Any], case: dict[str, Any]) -> _Running | None:
    """Fork; None in the new process, which has its pipes in place and its limits and filter on."""
    pipes = {name: os.pipe() for name in ("stdin", "stdout", "stderr", "result")}
    token = os.urandom(16).hex()
    pid = os.fork()
    if pid == 0:
        for fd, name in enumerate(pipes):
            os.dup2(pipes[name][0 if name == "stdin" else 1], fd)
        os.closerange(_RESULT_FD + 1, 1024)
        case["token"] = token
        return None
    ours: dict[str, int] = {}
    for name, (reading, writing) in pipes.items():
        ours[name], theirs = (writing, reading) if name == "stdin" else (reading, writing)
        os.close(theirs)
    stdin = case["stdin"].encode("utf-8", "surrogateescape")
    return _Running(pid, ours, stdin, job["limits"]["output_bytes"], token)


def _end(run: Callable[[], None]) -> NoReturn:
    """Run and end as any Python process does, less the taking down of the interpreter (10 ms)."""
    code = 0
    try:
        run()
        wait_for_threads: Callable[[], None] = getattr(threading, "_shutdown")  # noqa: B009 - private; nothing public does it
        wait_for_threads()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException as error:  # noqa: BLE001 - whatever the program raises is told as Python would
        with contextlib.suppress(Exception):  # a hook of the program's own may fail too
            sys.excepthook(type(error), error, error.__traceback__)
        code = 1
    run_exit_functions: Callable[[], None] = getattr(atexit, "_run_exitfuncs")  # noqa: B009 - private; nothing public does it
    run_exit_functions()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # the program may have closed or replaced them
            stream.flush()
    os._exit(code & 0xFF)


def _become(job: dict[str, Any], case: dict[str, Any]) -> None:
    """Put the limits on and run the program in this process."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    source, call, check, token = job["source"], case["call"], case["check"], case["token"]
    args = case["args"]
    _confine(job)
    # Said before a line of the program has run, so that it cannot be kept from being said.
    _tell(f"{token}\n")
    script = call is None and check is None
    module = types.ModuleType("__main__" if script else "program")
    sys.modules[module.__name__] = module
    sys.argv = ["program.py"]
    names = module.__dict__
    # The program may replace what it finds; what comes behind it is run by what was there before.
    kept, execute, translate = dict(vars(builtins)), exec, compile
    evaluate, untrace, unprofile = eval, sys.settrace, sys.setprofile
    execute(translate(source, "program.py", "exec"), names)
    untrace(None)
    unprofile(None)
    names["__builtins__"] = kept
    said = ""
    if call is not None:
        value = evaluate(translate(call, "call", "eval"), names)(*args)
        said = json.dumps(value, default=_plain)
    if check is not None:
        execute(translate(check, "check.py", "exec"), names)
    if not script:
        _tell(f"{token}\n{said}")


def _tell(text: str) -> None:
    result = text.encode()
    while result:
        result = result[os.write(_RESULT_FD, result) :]


def _plain(value: object) -> object:
    if isinstance(value, set | frozenset):
        return sorted(cast("set[Any]", value))
    raise TypeError(f"{type(value).__name__} is nothing that a test can compare")


def _confine(job: dict[str, Any]) -> None:
    """Put on the limits and the filter, for good: nothing raises a hard limit or removes a filter again."""
    limits = job["limits"]
    cpu_s = int(-(-limits["cpu_s"] // 1))
    for kind, most in (
        (resource.RLIMIT_AS, limits["memory_bytes"]),
        (resource.RLIMIT_CPU, cpu_s),
        # This process's parent counts as well.
        (resource.RLIMIT_NPROC, limits["threads"] + 1),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
        # Signals and timers that wait are memory of the kernel.
        (resource.RLIMIT_SIGPENDING, 64),
    ):
        _, hard = resource.getrlimit(kind)
        limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (limit, limit))
    _filter(bytes.fromhex(job["filter"]))


class _Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))


def _filter(steps: bytes) -> None:
    libc = ctypes.CDLL(None)
    none = ctypes.c_ulong(0)
    made = _Filter(len(steps) // 8, steps)
    for option, first, second in (
        (_PR_SET_NO_NEW_PRIVS, 1, none),
        (_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(made)),
    ):
        if libc.prctl(option, ctypes.c_ulong(first), second, none, none) != 0:
            raise OSError(f"prctl {option} failed")


if __name__ == "__main__":
    main()
