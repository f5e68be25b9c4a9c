"""Ctrl-C: the first ends a command tidily, its echoes are nothing, and a later one ends the program at once.

Imported before anything that takes long to import, so that it holds from there on.
"""

from __future__ import annotations

import _thread
import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Final

from tt_compute.cli.codes import INTERRUPTED

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

__all__ = ["ECHO_S", "INTERRUPTS", "Interrupts", "interrupted"]

ECHO_S: Final = 0.5
"""An interrupt that comes so soon after the first is the same one, passed on by a parent as well, or a key that
was pressed twice."""
_AGAIN_S: Final = 0.01
_SHOW_CURSOR: Final = b"\x1b[?25h"


def interrupted() -> None:
    """What an interrupt means unless somebody says otherwise."""
    raise KeyboardInterrupt


def _leave() -> None:
    """End the process from within a signal's handler, where no stream may be written to."""
    os.write(2, (_SHOW_CURSOR if os.isatty(2) else b"") + b"interrupted\n")
    os._exit(INTERRUPTED)


class Interrupts:
    """What the interrupts of one command line mean, one after the other.

    Args:
        clock: Seconds.
        leave: Ends the process.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, leave: Callable[[], None] = _leave
    ) -> None:
        self._clock = clock
        self._leave = leave
        self._means: Callable[[], None] = interrupted
        self._seen_at: float | None = None
        self._waiting = False

    @property
    def seen(self) -> bool:
        """Whether there was one."""
        return self._seen_at is not None

    def arrived(self) -> None:
        """Take in one."""
        now = self._clock()
        if self._seen_at is None:
            self._seen_at = now
            self._means()
        elif now - self._seen_at > ECHO_S:
            self._leave()

    @contextmanager
    def meaning(self, action: Callable[[], None]) -> Generator[None]:
        """Have the first interrupt call ``action``; so does one that was held until now."""
        before, self._means = self._means, action
        self._deliver()
        try:
            yield
        finally:
            self._means = before

    @contextmanager
    def held(self) -> Generator[None]:
        """Have an interrupt wait for the end of what must not be cut off."""
        try:
            with self.meaning(self._wait):
                yield
        finally:
            self._deliver()

    @contextmanager
    def watched(self, *, to_the_end: bool) -> Generator[None]:
        """Take in this process's interrupts, unless it ignores them, or this is not its main thread.

        Args:
            to_the_end: Go on after the block, where there is nothing left to end but the process itself.
        """
        self._means, self._seen_at, self._waiting = interrupted, None, False
        before = signal.getsignal(signal.SIGINT)
        here = threading.current_thread() is threading.main_thread()
        # A shell's background job ignores them.
        if not here or before is signal.SIG_IGN or before is None:
            yield
            return
        if to_the_end:
            sys.unraisablehook = self._unraisable
            # The last of the exit functions: between it and the end the handler would be gone.
            atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGINT, self._handle)
        try:
            yield
        finally:
            self._means = self._leave
            if not to_the_end:
                signal.signal(signal.SIGINT, before)

    def _handle(self, _signal: int, _frame: FrameType | None) -> None:
        self.arrived()

    def _wait(self) -> None:
        self._waiting = True

    def _deliver(self) -> None:
        if self._waiting and self._means != self._wait:
            self._waiting = False
            self._means()

    def _unraisable(self, lost: UnraisableHookArgs) -> None:
        """Have an interrupt come again that came within a finaliser, which cannot raise."""
        if not issubclass(lost.exc_type, KeyboardInterrupt):
            sys.__unraisablehook__(lost)
            return
        self._seen_at = None
        # Not from here: this cannot raise either.
        timer = threading.Timer(_AGAIN_S, _thread.interrupt_main)
        timer.daemon = True
        timer.start()


INTERRUPTS: Final = Interrupts()
"""Those of this process."""
