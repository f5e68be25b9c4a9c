"""Where a value stands in the text of a JSON document."""

from __future__ import annotations

import json
import re

__all__ = ["line_of"]

_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")
_BETWEEN = re.compile(r"[\s,:]*")
_decode = json.JSONDecoder().raw_decode


def line_of(text: str, path: str) -> int:
    """1-based line of the value at a path, or of the nearest one around it.

    Args:
        text: A valid document.
        path: As msgspec tells it: ``$.events[0].sample``.
    """
    at = _next(text, 0)
    for key, place in _STEP.findall(path):
        found = _member(text, at, key or int(place))
        if found is None:
            break
        at = found
    return text.count("\n", 0, at) + 1


def _member(text: str, at: int, step: str | int) -> int | None:
    """Place of one member of what begins at ``at``."""
    keyed = text[at] == "{"
    if not keyed and text[at] != "[":
        return None
    at = _next(text, at + 1)
    number = 0
    while text[at] not in "]}":
        name: object = number
        if keyed:
            name, at = _decode(text, at)
            at = _next(text, at)
        if name == step:
            return at
        _, at = _decode(text, at)
        at = _next(text, at)
        number += 1
    return None


def _next(text: str, at: int) -> int:
    found = _BETWEEN.match(text, at)
    assert found is not None, "it may be empty"
    return found.end()
