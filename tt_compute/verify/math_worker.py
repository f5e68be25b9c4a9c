"""The child process that holds math-verify; its parent is ``math_process``."""

from __future__ import annotations

import importlib
import re
from functools import lru_cache
from typing import Any

from tt_compute.verify.worker_loop import Answer, serve

__all__ = ["main"]

_EQUATION = re.compile(r"(?<![<>!])=")


def main() -> None:
    """Answer requests until the input ends."""
    serve(_load)


def _load() -> Answer:
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

    def answer(request: dict[str, Any]) -> bool:
        expressions: list[str] = request["expressions"]
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


if __name__ == "__main__":
    main()
