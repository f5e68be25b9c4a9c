"""Entry of the engine's process: commands come on its standard input, replies leave on its standard output.

Both are moved to private descriptors before anything else is imported, because native libraries print: what
they write to standard output goes to standard error, which the parent keeps for its error messages.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from functools import partial
from queue import SimpleQueue

from tt_compute_backends.engine.frames import read_frames, write_frame
from tt_compute_backends.engine.serve import Inbox, serve

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1
"""From <linux/prctl.h>."""
_SWITCH_INTERVAL_S = 0.0005
"""Longest the thread that reads commands waits for the one that runs Python code; the default of 5 ms would be
added to every command, and steps are not much longer."""


def main() -> None:
    """Serve one model until told to end or until the parent is gone; never returns."""
    # Ctrl-C in a terminal reaches the whole process group; what it means is the parent's to decide.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    _die_with_parent()
    commands, replies = _take_pipes()
    inbox: Inbox = SimpleQueue()
    threading.Thread(target=_read, args=(commands, inbox), daemon=True).start()
    serve(inbox, partial(_send, replies), time.monotonic)
    _exit()


def _take_pipes() -> tuple[int, int]:
    commands, replies = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return commands, replies


def _die_with_parent() -> None:
    """Ask the kernel for SIGKILL when the parent's thread that started us ends, where there is a way.

    A runtime that hangs inside a step with the GIL held would otherwise never see its pipe close.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _read(fd: int, inbox: Inbox) -> None:
    for frame in read_frames(fd):
        inbox.put(frame)
    _exit()


def _send(fd: int, message: bytes) -> None:
    try:
        write_frame(fd, message)
    except OSError:
        _exit()


def _exit() -> None:
    """End at once: the destructors of native runtimes crash at exit, and nothing is left to save."""
    sys.stderr.flush()
    os._exit(0)
