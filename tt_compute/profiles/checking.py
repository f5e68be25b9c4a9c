"""Holds a document against a struct: every fault with its place, and the tree in normal form.

Normal form: every fact is a mapping with ``value``, every TTFT one with ``p50`` and ``p95``, and what
was left out or stated as null where the struct has a default is absent. ``msgspec.convert`` takes it as it is.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from tt_compute.errors import ConfigError
from tt_compute.profiles.document import Document, Tree, child, join, looks_like_a_key, show
from tt_compute.profiles.rules import CROSS_RULES, KEY_RULES, RULES, Rule
from tt_compute.profiles.schema import Fact, Ttft

__all__ = ["build", "check", "suggestion"]

T = TypeVar("T")

_WORDS: Mapping[Any, str] = {
    float: "number",
    int: "integer",
    str: "text",
    bool: "true or false",
    NoneType: "null",
    dict: "mapping",
    tuple: "list",
}


def check(document: Document, struct: type[T]) -> tuple[dict[str, Tree], list[ConfigError]]:
    """The document in normal form, and all that is wrong with it; the form is whole when nothing is."""
    checker = _Checker(document)
    normal = checker.struct(document.tree, struct, "")
    return normal, checker.problems


def build(document: Document, struct: type[T]) -> T:
    """The document as a checked struct.

    Raises:
        ConfigError: The first thing that is wrong with it.
    """
    normal, problems = check(document, struct)
    if problems:
        raise problems[0]
    return msgspec.convert(normal, struct)


def suggestion(name: str, known: tuple[str, ...]) -> str:
    """The nearest known name, or all of them."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known) or 'none'}"


class _Field(msgspec.Struct, frozen=True):
    kind: Any
    required: bool
    rule: Rule | None
    key_rule: Rule | None


@cache
def _fields(struct: type) -> dict[str, _Field]:
    return {
        field.name: _Field(
            field.type,
            field.required,
            RULES.get((struct, field.name)),
            KEY_RULES.get((struct, field.name)),
        )
        for field in msgspec.structs.fields(struct)
    }


class _Checker:
    def __init__(self, document: Document) -> None:
        self.problems: list[ConfigError] = []
        self._document = document

    def struct(
        self, node: Tree, struct: type, path: str, *, only: tuple[str, ...] | None = None
    ) -> dict[str, Tree]:
        """A mapping as ``struct``, or as those of its fields named in ``only``."""
        if not isinstance(node, dict):
            self._mismatch(path, "mapping", node)
            return {}
        before = len(self.problems)
        fields = _fields(struct)
        if only is not None:
            fields = {name: fields[name] for name in only}
        normal: dict[str, Tree] = {}
        for key, value in node.items():
            field = fields.get(key)
            if field is None:
                self._unknown_key(path, key, tuple(fields))
            elif value is not None or not _may_be_left_out(field):
                normal[key] = self._value(value, field, field.kind, child(path, key))
        for name, field in fields.items():
            if field.required and name not in node:
                self._report(path, f"`{name}` is missing")
        if len(self.problems) == before and struct in CROSS_RULES:
            for inside, message in CROSS_RULES[struct](normal):
                self._report(join(path, inside), message)
        return normal

    def _value(self, node: Tree, field: _Field, wanted: Any, path: str) -> Tree:
        """``wanted`` is the field's type, or that of an element of it."""
        origin = get_origin(wanted)
        if origin in (Union, UnionType):
            return self._value(node, field, _member(wanted, node), path)
        if origin is dict:
            return self._mapping(node, field, get_args(wanted)[1], path)
        if origin is tuple:
            return self._list(node, field, get_args(wanted)[0], path)
        if _is_struct(wanted):
            return self._any_struct(node, field, wanted, path)
        return self._scalar(node, field, wanted, path)

    def _any_struct(self, node: Tree, field: _Field, wanted: type, path: str) -> Tree:
        if wanted is Fact:
            return self._fact(node, field, path)
        if wanted is Ttft:
            return self._ttft(node, path)
        return self.struct(node, wanted, path)

    def _scalar(self, node: Tree, field: _Field, wanted: Any, path: str) -> Tree:
        if wanted is object or (wanted is NoneType and node is None):
            return node
        if get_origin(wanted) is Literal:
            self._choice(node, get_args(wanted), path)
            return node
        if wanted is int and isinstance(node, float) and node.is_integer():
            node = int(node)  # 1.6e10 is how people write large counts
        accepted: Any = (int, float) if wanted is float else wanted
        if not isinstance(node, accepted) or (isinstance(node, bool) and wanted is not bool):
            self._mismatch(path, _WORDS[wanted], node)
        elif field.rule is not None and (wrong := field.rule.problem(node)) is not None:
            self._report(path, wrong)
        return node

    def _choice(self, node: Tree, known: tuple[Any, ...], path: str) -> None:
        if node in known and not isinstance(node, bool):
            return
        listed = ", ".join(show(choice) for choice in known)
        self._mismatch(path, listed if len(known) == 1 else f"one of {listed}", node)

    def _mapping(self, node: Tree, field: _Field, element: Any, path: str) -> Tree:
        if not isinstance(node, dict):
            self._mismatch(path, "mapping", node)
            return {}
        for key in node:
            if field.key_rule is not None and (wrong := field.key_rule.problem(key)) is not None:
                self._report(child(path, key), wrong)
        return {
            key: self._value(value, field, element, child(path, key)) for key, value in node.items()
        }

    def _list(self, node: Tree, field: _Field, element: Any, path: str) -> Tree:
        if not isinstance(node, list):
            self._mismatch(path, "list", node)
            return []
        return [self._value(value, field, element, child(path, i)) for i, value in enumerate(node)]

    def _fact(self, node: Tree, field: _Field, path: str) -> Tree:
        if not isinstance(node, dict):
            return {"value": self._figure(node, field.rule, path)}
        normal = self.struct(node, Fact, path)
        if "value" in normal:
            normal["value"] = self._figure(normal["value"], field.rule, child(path, "value"))
        return normal

    def _figure(self, node: Tree, rule: Rule | None, path: str) -> Tree:
        field = _Field(float, required=False, rule=rule, key_rule=None)
        return None if node is None else self._scalar(node, field, float, path)

    def _ttft(self, node: Tree, path: str) -> Tree:
        """A number is the p50; ``value`` holds a number or both quantiles."""
        if not isinstance(node, dict):
            return {"p50": self._figure(node, _P50.rule, path)}
        if "value" not in node:
            return self.struct(node, Ttft, path, only=_QUANTILES)
        about: dict[str, Tree] = {key: value for key, value in node.items() if key != "value"}
        normal = self.struct(about, Ttft, path, only=_ABOUT)
        value, inside = node["value"], child(path, "value")
        if isinstance(value, dict):
            return normal | self.struct(value, Ttft, inside, only=_QUANTILES)
        return normal | {"p50": self._figure(value, _P50.rule, inside)}

    def _mismatch(self, path: str, wanted: str, node: Tree) -> None:
        quote = wanted == _WORDS[str] and isinstance(node, (int, float))
        hint = "put it in quotes" if quote else None
        self._report(path, f"expected {wanted}, got {show(node)}", hint=hint)

    def _unknown_key(self, path: str, key: str, known: tuple[str, ...]) -> None:
        if looks_like_a_key(key):
            self._report(path, "unknown key that looks like a secret (not shown)")
        else:
            self._report(child(path, key), "unknown key", hint=suggestion(key, known))

    def _report(self, path: str, message: str, *, hint: str | None = None) -> None:
        self.problems.append(self._document.error(path, message, hint=hint))


_QUANTILES = ("p50", "p95")
_ABOUT = ("source", "as_of", "status")
_P50 = _fields(Ttft)["p50"]


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _may_be_left_out(field: _Field) -> bool:
    """Whether null says no more than leaving the key out does."""
    container = _is_struct(field.kind) or get_origin(field.kind) in (dict, tuple)
    return container and not field.required


def _member(union: Any, node: Tree) -> Any:
    """The member of a union that a node is meant for."""
    members = get_args(union)
    if node is None and NoneType in members:
        return NoneType
    others = [member for member in members if member is not NoneType]
    if isinstance(node, dict):
        others.sort(key=lambda member: not _is_struct(member))
    return others[0]
