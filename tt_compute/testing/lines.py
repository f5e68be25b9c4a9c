"""JSON for people and for version control: what fits into a line stands in one."""

from __future__ import annotations

import json
import math
from typing import TypeAlias

__all__ = ["Json", "dump", "rounded"]

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

_WIDTH = 100
_DIGITS = 6


def dump(tree: Json) -> str:
    """The document, ending in a newline; the same tree gives the same text."""
    return f"{_lines(tree, 0)}\n"


def rounded(tree: Json) -> Json:
    """The tree with numbers of six digits, which no machine computes otherwise than another."""
    if isinstance(tree, dict):
        return {key: rounded(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [rounded(value) for value in tree]
    if isinstance(tree, float) and math.isfinite(tree):
        return float(f"{tree:.{_DIGITS}g}")
    return tree


def _lines(tree: Json, depth: int) -> str:
    short = json.dumps(tree, ensure_ascii=False, allow_nan=False)
    indent = "  " * depth
    if len(indent) + len(short) <= _WIDTH or not isinstance(tree, dict | list) or not tree:
        return short
    inner = "  " * (depth + 1)
    if isinstance(tree, list):
        parts = [f"{inner}{_lines(value, depth + 1)}" for value in tree]
        opening, closing = "[", "]"
    else:
        parts = [
            f"{inner}{json.dumps(key, ensure_ascii=False)}: {_lines(value, depth + 1)}"
            for key, value in tree.items()
        ]
        opening, closing = "{", "}"
    return "\n".join([opening, ",\n".join(parts), f"{indent}{closing}"])
