"""Whether a JSON document satisfies a JSON schema (draft 2020-12, the keywords below).

``schema_rules`` refuses schemas with other keywords: what is not checked must not count as satisfied.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sized
from fractions import Fraction
from types import MappingProxyType
from typing import Any

from tt_compute.verify.json_kinds import TYPES, is_array, is_number, is_object, same

__all__ = ["KEYWORDS", "MAX_DEPTH", "satisfies"]

Schema = dict[str, Any] | bool
MAX_DEPTH = 200


class _Check:
    """One document against one schema; ``$ref`` is looked up in the whole schema."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._depth = 0

    def holds(self, value: Any, schema: Schema) -> bool:
        if isinstance(schema, bool):
            return schema
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise RecursionError("the schema or the document is nested too deeply")
        held = all(
            check(self, value, schema[keyword], schema)
            for keyword, check in KEYWORDS.items()
            if keyword in schema
        )
        self._depth -= 1
        return held

    def resolve(self, reference: str) -> Schema:
        found: Any = self._root
        for part in reference.removeprefix("#").split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            found = found[int(key)] if is_array(found) else found[key]
        schema: Schema = found
        return schema


def _type(_: _Check, value: Any, wanted: Any, __: Any) -> bool:
    names: list[str] = wanted if is_array(wanted) else [wanted]
    return any(TYPES[name](value) for name in names)


def _properties(check: _Check, value: Any, wanted: Any, _: Any) -> bool:
    return not is_object(value) or all(
        check.holds(value[name], schema) for name, schema in wanted.items() if name in value
    )


def _pattern_properties(check: _Check, value: Any, wanted: Any, _: Any) -> bool:
    return not is_object(value) or all(
        check.holds(member, schema)
        for pattern, schema in wanted.items()
        for name, member in value.items()
        if re.search(pattern, name)
    )


def _additional(check: _Check, value: Any, wanted: Any, schema: Any) -> bool:
    if not is_object(value):
        return True
    known = schema.get("properties", {})
    patterns = schema.get("patternProperties", {})
    return all(
        check.holds(member, wanted)
        for name, member in value.items()
        if name not in known and not any(re.search(pattern, name) for pattern in patterns)
    )


def _prefix_items(check: _Check, value: Any, wanted: Any, _: Any) -> bool:
    return not is_array(value) or all(
        check.holds(item, schema) for item, schema in zip(value, wanted, strict=False)
    )


def _items(check: _Check, value: Any, wanted: Any, schema: Any) -> bool:
    if not is_array(value):
        return True
    return all(check.holds(item, wanted) for item in value[len(schema.get("prefixItems", ())) :])


def _multiple_of(_: _Check, value: Any, wanted: Any, __: Any) -> bool:
    return not is_number(value) or (Fraction(str(value)) / Fraction(str(wanted))).denominator == 1


def _number_rule(rule: Callable[[Any, Any], bool]) -> Callable[[_Check, Any, Any, Any], bool]:
    return lambda _, value, wanted, __: not is_number(value) or rule(value, wanted)


def _size_rule(
    kind: type[Sized], rule: Callable[[int, Any], bool]
) -> Callable[[_Check, Any, Any, Any], bool]:
    return lambda _, value, wanted, __: not isinstance(value, kind) or rule(len(value), wanted)


def _at_least(value: Any, wanted: Any) -> bool:
    return bool(value >= wanted)


def _at_most(value: Any, wanted: Any) -> bool:
    return bool(value <= wanted)


KEYWORDS: Mapping[str, Callable[[_Check, Any, Any, Any], bool]] = MappingProxyType(
    {
        "type": _type,
        "enum": lambda _, value, wanted, __: any(same(value, one) for one in wanted),
        "const": lambda _, value, wanted, __: same(value, wanted),
        "minimum": _number_rule(_at_least),
        "maximum": _number_rule(_at_most),
        "exclusiveMinimum": _number_rule(lambda value, wanted: value > wanted),
        "exclusiveMaximum": _number_rule(lambda value, wanted: value < wanted),
        "multipleOf": _multiple_of,
        "minLength": _size_rule(str, _at_least),
        "maxLength": _size_rule(str, _at_most),
        "pattern": lambda _, value, wanted, __: (
            not isinstance(value, str) or re.search(wanted, value) is not None
        ),
        "minItems": _size_rule(list, _at_least),
        "maxItems": _size_rule(list, _at_most),
        "uniqueItems": lambda _, value, wanted, __: (
            not (wanted and is_array(value))
            or not any(same(one, two) for at, one in enumerate(value) for two in value[:at])
        ),
        "prefixItems": _prefix_items,
        "items": _items,
        "minProperties": _size_rule(dict, _at_least),
        "maxProperties": _size_rule(dict, _at_most),
        "required": lambda _, value, wanted, __: (
            not is_object(value) or all(name in value for name in wanted)
        ),
        "properties": _properties,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional,
        "propertyNames": lambda check, value, wanted, _: (
            not is_object(value) or all(check.holds(name, wanted) for name in value)
        ),
        "allOf": lambda check, value, wanted, _: all(check.holds(value, one) for one in wanted),
        "anyOf": lambda check, value, wanted, _: any(check.holds(value, one) for one in wanted),
        "oneOf": lambda check, value, wanted, _: (
            sum(check.holds(value, one) for one in wanted) == 1
        ),
        "not": lambda check, value, wanted, _: not check.holds(value, wanted),
        "$ref": lambda check, value, wanted, _: check.holds(value, check.resolve(wanted)),
    }
)
"""Every keyword that is checked."""


def satisfies(document: Any, schema: Schema) -> bool:
    """Whether the document satisfies the schema, which ``schema_rules`` has let through."""
    return _Check(schema).holds(document, schema)
