"""The child process that matches patterns and checks JSON documents; its parent is ``text_process``."""

from __future__ import annotations

import json
import re
from typing import Any

from tt_compute.verify.schema import satisfies
from tt_compute.verify.worker_loop import serve

__all__ = ["main"]


def main() -> None:
    """Answer requests until the input ends."""
    serve(lambda: _answer)


def _answer(request: dict[str, Any]) -> bool:
    if "pattern" in request:
        return re.search(request["pattern"], request["text"]) is not None
    try:
        document = json.loads(request["document"])
    except (ValueError, RecursionError):
        return False
    return satisfies(document, request["schema"])


if __name__ == "__main__":
    main()
