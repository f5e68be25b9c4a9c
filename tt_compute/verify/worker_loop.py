"""The main loop of a child process that judges: one JSON request a line in, one JSON reply a line out.

It ends at the end of its input, and by an alarm of the kernel when one request takes too long, so
that neither a hang nor the death of its parent leaves it behind. The parent is ``killable``.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import IO, Any

__all__ = ["Answer", "serve"]

MEMORY_BYTES = 2 << 30
"""Address space of the child; sympy itself takes about a tenth of it."""

Answer = Callable[[dict[str, Any]], bool]


def serve(load: Callable[[], Answer]) -> None:
    """Answer requests until the input ends.

    Args:
        load: Makes what answers a request; runs once, under the limits.
    """
    # Whatever a library prints must not reach the pipe that carries the replies.
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    logging.disable(logging.CRITICAL)
    _limit_memory()
    answer = load()
    _write(replies, {"ready": True})
    for line in sys.stdin:
        request = json.loads(line)
        _alarm(request["timeout_s"])
        reply = _answer(answer, request)
        _alarm(0)
        _write(replies, reply)


def _answer(answer: Answer, request: dict[str, Any]) -> dict[str, object]:
    try:
        return {"value": answer(request)}
    except Exception as error:  # noqa: BLE001 - the main loop of a process; the parent turns it into a VerifierError
        return {"error": f"{type(error).__name__}: {error}"[:200]}


def _write(replies: IO[str], reply: dict[str, object]) -> None:
    replies.write(json.dumps(reply) + "\n")
    replies.flush()


def _alarm(seconds: float) -> None:
    """Let the kernel end this process after ``seconds``; 0 takes the alarm back."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _limit_memory() -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):
        resource: Any = importlib.import_module("resource")
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        limit = MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(MEMORY_BYTES, hard)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
