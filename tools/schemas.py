"""Writes the JSON Schemas of our YAML files into ``docs/schemas``: ``python tools/schemas.py``.

They are made of the structs and rules that the loader itself uses, with the forms that a fact may take. What
needs two fields to be compared, or another file, is left to ``ttc profiles validate``.
Draft 7, which every YAML extension of an editor reads.
"""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import msgspec

from tt_compute.config import ConfigFile, StoreSettings
from tt_compute.dispatch_settings import DispatchSettings
from tt_compute.planning.types import MAX_SAMPLES, Objective
from tt_compute.profiles.json_schema import SCHEMA_KINDS, SchemaKind
from tt_compute.profiles.rules import KEY_RULES, RULES
from tt_compute.profiles.schema import (
    DeploymentProfile,
    Fact,
    HardwareProfile,
    ModelProfile,
    Ttft,
)
from tt_compute.registry import Registry

__all__ = ["FOLDER", "schema", "text"]

Node = dict[str, Any]

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "schemas"
STRUCTS: Mapping[SchemaKind, type[msgspec.Struct]] = {
    "config": ConfigFile,
    "hardware": HardwareProfile,
    "model": ModelProfile,
    "deployment": DeploymentProfile,
}
SCALARS: Mapping[Any, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    NoneType: "null",
}
ANYTHING: Node = {"description": "any value"}
"""An empty schema, which says the same, counts as none for msgspec."""
POSITIVE: Node = {"exclusiveMinimum": 0}
BOUNDS: Mapping[tuple[type, str], Node] = {
    (Objective, "quality"): {"exclusiveMinimum": 0, "exclusiveMaximum": 1},
    (Objective, "max_cost_usd"): {"minimum": 0},
    (Objective, "max_latency_s"): POSITIVE,
    (Objective, "max_energy_j"): POSITIVE,
    (Objective, "max_samples"): {"minimum": 1, "maximum": MAX_SAMPLES},
    (StoreSettings, "max_age_days"): POSITIVE,
    (StoreSettings, "max_bytes"): POSITIVE,
    (DispatchSettings, "max_wait_s"): {"minimum": 0},
    (DispatchSettings, "hedge_share"): {"minimum": 0, "maximum": 1},
    (DispatchSettings, "max_usd"): POSITIVE,
    (DispatchSettings, "max_usd_per_day"): POSITIVE,
    **{key: dict(rule.schema) for key, rule in RULES.items()},
}
"""Of the values of a field; those of the configuration's sections stand in their ``__post_init__``."""


def schema(kind: SchemaKind) -> Node:
    """The schema of one kind of file."""
    return _Writer().document(kind)


def text(kind: SchemaKind) -> str:
    """The file's text."""
    return json.dumps(schema(kind), indent=1, ensure_ascii=False) + "\n"


class _Writer:
    """Collects the definitions that a document needs."""

    def __init__(self) -> None:
        self._definitions: dict[str, Node] = {}

    def document(self, kind: SchemaKind) -> Node:
        root = self._reference(STRUCTS[kind])
        title = "ttc.yaml" if kind == "config" else f"A {kind} profile"
        return {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "title": f"tt_compute: {title}",
            "allOf": [root],
            "definitions": dict(sorted(self._definitions.items())),
        }

    def _reference(self, struct: type[msgspec.Struct], *, partial: bool = False) -> Node:
        """``partial`` wants no field: an override states what it changes."""
        name = f"Partial{struct.__name__}" if partial else struct.__name__
        if name not in self._definitions:
            self._definitions[name] = {}
            self._definitions[name] = self._struct(struct, partial=partial)
        return {"$ref": f"#/definitions/{name}"}

    def _struct(self, struct: type[msgspec.Struct], *, partial: bool) -> Node:
        told = _descriptions(struct)
        fields = msgspec.structs.fields(struct)
        node: Node = {
            "type": "object",
            "description": (inspect.getdoc(struct) or "").partition("\n")[0],
            "properties": {
                field.name: self._field(struct, field, told, partial=partial) for field in fields
            },
            "additionalProperties": False,
        }
        required = [field.name for field in fields if field.required]
        if required and not partial:
            node["required"] = required
        if struct is DeploymentProfile and not partial:
            node["allOf"] = list(self._options())
        return node

    def _field(
        self,
        struct: type[msgspec.Struct],
        field: msgspec.structs.FieldInfo,
        told: Mapping[str, str],
        *,
        partial: bool,
    ) -> Node:
        if (struct, field.name) == (ConfigFile, "deployments"):
            node = self._entries()
        else:
            bounds = BOUNDS.get((struct, field.name), {})
            node = self._value(field.type, bounds, partial=partial)
            if (struct, field.name) in KEY_RULES:
                node["propertyNames"] = dict(KEY_RULES[struct, field.name].schema)
            if not field.required and _is_container(field.type):
                node = _or_null(node)
        if field.name in told:
            node = {"description": told[field.name], **_beside(node)}
        if isinstance(field.default, str | int | float) and field.default != "":
            node["default"] = field.default
        return node

    def _value(self, kind: Any, bounds: Node, *, partial: bool = False) -> Node:
        origin, arguments = get_origin(kind), get_args(kind)
        if origin in (Union, UnionType):
            return self._union(arguments, bounds, partial=partial)
        if origin is dict:
            return {"type": "object", "additionalProperties": self._value(arguments[1], bounds)}
        if origin is tuple:
            return {"type": "array", "items": self._value(arguments[0], bounds)}
        if origin is Literal:
            return {"enum": list(arguments)}
        return self._plain(kind, bounds, partial=partial)

    def _plain(self, kind: Any, bounds: Node, *, partial: bool) -> Node:
        if kind is Fact:
            return self._fact(bounds)
        if kind is Ttft:
            return self._ttft()
        if kind is object:
            return {}
        if kind in SCALARS:
            return {"type": SCALARS[kind], **bounds}
        return self._reference(kind, partial=partial and kind in (ModelProfile, HardwareProfile))

    def _union(self, members: tuple[Any, ...], bounds: Node, *, partial: bool) -> Node:
        if all(member in SCALARS for member in members):
            return {"type": [SCALARS[member] for member in members], **bounds}
        nodes = [self._value(member, bounds, partial=partial) for member in members]
        return {"anyOf": nodes}

    def _fact(self, bounds: Node) -> Node:
        """A bare number, or one with its source."""
        number = {"type": ["number", "null"], **bounds}
        stated = {"allOf": [self._reference(Fact)], "properties": {"value": number}}
        return {"anyOf": [number, stated]}

    def _ttft(self) -> Node:
        """A bare p50, both quantiles, or either with its source."""
        told = _descriptions(Ttft)
        fields = {
            field.name: self._field(Ttft, field, told, partial=False)
            for field in msgspec.structs.fields(Ttft)
        }
        quantiles = _closed({name: fields[name] for name in ("p50", "p95")})
        value = {"anyOf": [fields["p50"], quantiles]}
        about = {name: fields[name] for name in ("source", "as_of", "status")}
        return {
            "anyOf": [
                fields["p50"],
                quantiles,
                _closed({"value": value, **about}) | {"required": ["value"]},
            ]
        }

    def _entries(self) -> Node:
        """What ``deployments`` of a configuration lists."""
        override = _closed(
            {
                "id": {"type": "string"},
                "override": self._reference(DeploymentProfile, partial=True),
            }
        )
        whole = self._reference(DeploymentProfile)
        return {
            "type": "array",
            "minItems": 1,
            "items": {"anyOf": [{"type": "string"}, override | {"required": ["id"]}, whole]},
        }

    def _options(self) -> Iterator[Node]:
        """The options of each backend that comes with tt_compute; those of others are left open."""
        ours = [
            claim.name
            for claim in Registry().describe()
            if claim.target.startswith("tt_compute_backends.")
        ]
        structs = [Registry().load(name).Options for name in ours]
        references, components = msgspec.json.schema_components(
            structs, ref_template="#/definitions/{name}", schema_hook=lambda _kind: ANYTHING
        )
        self._definitions |= components
        for name, reference in zip(ours, references, strict=True):
            yield {
                "if": {"properties": {"backend": {"const": name}}, "required": ["backend"]},
                "then": {"properties": {"options": _or_null(reference)}},
            }


def _closed(properties: Node) -> Node:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _or_null(node: Node) -> Node:
    if "anyOf" in node:
        return node if _takes_null(node) else {"anyOf": [*node["anyOf"], {"type": "null"}]}
    return {"anyOf": [node, {"type": "null"}]}


def _takes_null(node: Node) -> bool:
    return any("null" in member.get("type", ()) for member in node["anyOf"])


def _beside(node: Node) -> Node:
    """In draft 7 nothing beside a ``$ref`` counts."""
    return {"allOf": [node]} if "$ref" in node else node


def _is_container(kind: Any) -> bool:
    plain = isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    return plain or get_origin(kind) in (dict, tuple)


@cache
def _descriptions(struct: type) -> dict[str, str]:
    """The texts below the fields of a struct."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(struct)))
    body = tree.body[0]
    assert isinstance(body, ast.ClassDef)
    return {
        field.target.id: " ".join(said.value.value.split())
        for field, said in zip(body.body, body.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(said, ast.Expr)
        and isinstance(said.value, ast.Constant)
        and isinstance(said.value.value, str)
    }


def main() -> None:
    for kind in SCHEMA_KINDS:
        (FOLDER / f"{kind}.json").write_text(text(kind), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
