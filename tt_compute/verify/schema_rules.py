"""Which JSON schemas are refused, because part of them would not be checked or means nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from tt_compute.errors import InvalidRequestError
from tt_compute.verify.json_kinds import TYPES, is_array, is_number, is_object
from tt_compute.verify.schema import KEYWORDS, MAX_DEPTH

__all__ = ["refuse_unknown"]

_NOTES = frozenset(
    {
        "$schema",
        "$id",
        "$comment",
        "$defs",
        "definitions",
        "title",
        "description",
        "default",
        "examples",
    }
    | {"deprecated", "readOnly", "writeOnly", "format"}
)
"""Keywords that refuse no document; ``format`` is a note by the standard's default."""
_OF_SCHEMAS = frozenset({"properties", "patternProperties", "$defs", "definitions"})
_LISTS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_SINGLE = frozenset({"items", "additionalProperties", "propertyNames", "not"})


def refuse_unknown(schema: object, path: str = "schema") -> None:
    """Look through a schema before it is used.

    Raises:
        InvalidRequestError: It is no schema, or has a keyword that is not checked here; with its place.
    """
    if isinstance(schema, bool):
        return
    if not is_object(schema):
        raise InvalidRequestError(f"{path} must be an object or a bool, got {schema!r:.80}")
    if path.count(".") > MAX_DEPTH:
        raise InvalidRequestError("the schema is nested too deeply")
    for keyword, value in schema.items():
        _refuse(keyword, value, f"{path}.{keyword}")


def _refuse(keyword: str, value: Any, path: str) -> None:
    if keyword not in KEYWORDS and keyword not in _NOTES:
        raise InvalidRequestError(
            f"{path}: the keyword {keyword!r} is not checked here",
            hint=f"checked: {', '.join(KEYWORDS)}",
        )
    shape = _SHAPES.get(keyword)
    if shape is not None and not shape(value):
        raise InvalidRequestError(f"{path} cannot be {value!r:.80}")
    if keyword in _OF_SCHEMAS:
        for name, one in value.items():
            refuse_unknown(one, f"{path}.{name}")
    elif keyword in _LISTS:
        for at, one in enumerate(value):
            refuse_unknown(one, f"{path}.{at}")
    elif keyword in _SINGLE:
        refuse_unknown(value, path)


def _is_pattern(value: Any) -> bool:
    try:
        re.compile(value)
    except (re.error, TypeError, OverflowError, RecursionError):
        return False
    return True


def _is_names(value: Any) -> bool:
    return is_array(value) and all(isinstance(name, str) for name in value)


def _is_type(value: Any) -> bool:
    return all(
        isinstance(name, str) and name in TYPES for name in (value if is_array(value) else [value])
    )


def _is_count(value: Any) -> bool:
    return is_number(value) and value >= 0 and float(value).is_integer()


_SHAPES: Mapping[str, Callable[[Any], bool]] = MappingProxyType(
    {
        "type": _is_type,
        "enum": is_array,
        "required": _is_names,
        "pattern": _is_pattern,
        "patternProperties": lambda value: is_object(value) and all(map(_is_pattern, value)),
        "uniqueItems": lambda value: isinstance(value, bool),
        "multipleOf": lambda value: is_number(value) and value > 0,
        # Only places in the same schema: nothing is fetched.
        "$ref": lambda value: (
            isinstance(value, str) and re.fullmatch(r"#(/.*)?", value) is not None
        ),
        **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), is_number),
        **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems"), _is_count),
        **dict.fromkeys(("minProperties", "maxProperties"), _is_count),
        **dict.fromkeys(_OF_SCHEMAS - {"patternProperties"}, is_object),
        **dict.fromkeys(_LISTS, lambda value: is_array(value) and bool(value)),
    }
)
"""What the value of a keyword must be."""
