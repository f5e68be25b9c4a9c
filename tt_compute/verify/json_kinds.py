"""The kinds of value that JSON has."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeGuard

__all__ = ["TYPES", "is_array", "is_number", "is_object", "same"]


def is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def is_array(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def same(first: Any, second: Any) -> bool:
    """Equality of JSON: 1 is 1.0, and neither is true."""
    if isinstance(first, bool) or isinstance(second, bool):
        return first is second
    if is_object(first) and is_object(second):
        return first.keys() == second.keys() and all(
            same(first[name], second[name]) for name in first
        )
    if is_array(first) and is_array(second):
        return len(first) == len(second) and all(map(same, first, second))
    return bool(first == second)


TYPES: Mapping[str, Callable[[Any], bool]] = MappingProxyType(
    {
        "object": is_object,
        "array": is_array,
        "string": lambda value: isinstance(value, str),
        "boolean": lambda value: isinstance(value, bool),
        "null": lambda value: value is None,
        "number": is_number,
        "integer": lambda value: is_number(value) and float(value).is_integer(),
    }
)
"""By the names that schemas use."""
