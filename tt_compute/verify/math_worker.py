"""The child process that holds math-verify: one JSON request a line in, one JSON reply a line out.

It ends at the end of its input, and by an alarm of the kernel when one request takes too long, so
that neither a hang nor the death of its parent leaves it behind. The parent is ``math_process``.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import os
import re
import signal
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import IO, Any

__all__ = ["main"]

_EQUATION = re.compile(r"(?<![<>!])=")

MEMORY_BYTES = 2 << 30
"""Address space of the child; sympy itself takes about a tenth of it."""


def main() -> None:
    """Answer requests until the input ends."""
    # Whatever a library prints must not reach the pipe that carries the replies.
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    logging.disable(logging.CRITICAL)
    _limit_memory()
    answer = _load()
    _write(replies, {"ready": True})
    for line in sys.stdin:
        request = json.loads(line)
        _alarm(request["timeout_s"])
        reply = _answer(answer, request)
        _alarm(0)
        _write(replies, reply)


def _answer(answer: Callable[[list[str]], bool], request: dict[str, Any]) -> dict[str, object]:
    try:
        return {"value": answer(request["expressions"])}
    except Exception as error:  # noqa: BLE001 - the main loop of a process; the parent turns it into a VerifierError
        return {"error": f"{type(error).__name__}: {error}"[:200]}


def _load() -> Callable[[list[str]], bool]:
    """Import math-verify and return what answers a request.

    One expression asks whether it can be parsed, two whether they are equal. Only the LaTeX parser is
    used: math-verify's parser of plain expressions evaluates Python.
    """
    library: Any = importlib.import_module("math_verify")
    configs = [library.LatexExtractionConfig()]

    @lru_cache(maxsize=256)
    def parse(expression: str) -> Any:
        parsed = library.parse(
            f"${expression}$", configs, fallback_mode="no_fallback", parsing_timeout=None
        )
        return parsed[0] if parsed else None

    def equal(gold: Any, target: Any) -> bool:
        return bool(library.verify(gold, target, timeout_seconds=None))

    def answer(expressions: list[str]) -> bool:
        parsed = [parse(expression) for expression in expressions]
        if any(expression is None for expression in parsed):
            return False
        if len(parsed) == 1:
            return True
        # ``verify`` is not symmetric. For an inequality and an interval only one order converts, so either
        # yes will do; but a value in front also accepts every equation that ends in it ("3x + y = 7" for
        # 7), so an equation against something else needs both.
        orders = equal(*parsed), equal(*reversed(parsed))
        equations = [_EQUATION.search(expression) is not None for expression in expressions]
        return any(orders) if equations[0] == equations[1] else all(orders)

    return answer


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


if __name__ == "__main__":
    main()
