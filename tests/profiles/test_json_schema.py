"""The published schemas say what the loader does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import schemas
from tt_compute.config import Config, starter_text
from tt_compute.errors import ConfigError
from tt_compute.profiles.checking import check
from tt_compute.profiles.document import Document
from tt_compute.profiles.json_schema import SCHEMA_KINDS, SchemaKind, modeline, schema_file
from tt_compute.profiles.library import FOLDERS, profile_files, shipped_root
from tt_compute.profiles.schema import DeploymentSpec
from tt_compute.profiles.yaml import load_yaml, parse_yaml
from tt_compute.registry import Registry, parse_options

SHIPPED = [(kind, file) for kind in FOLDERS for file in profile_files(shipped_root(), kind)]


def faults(kind: SchemaKind, tree: Any) -> list[str]:
    """What another reader than ours finds."""
    validator: Any = jsonschema.Draft7Validator(schemas.schema(kind))
    found: Iterator[jsonschema.ValidationError] = validator.iter_errors(tree)
    return [f"{error.json_path}: {error.message}" for error in found]


def refused(kind: SchemaKind, document: Document) -> bool:
    """Whether the loader refuses it, whatever ids it names."""
    if kind == "config":
        tree: Any = document.tree
        try:
            Config.from_mapping(tree, environ={})
        except ConfigError:
            return True
        return False
    struct = schemas.STRUCTS[kind]
    return bool(check(document, struct)[1])


@pytest.mark.parametrize("kind", SCHEMA_KINDS)
def test_committed_schemas_are_those_of_the_structs(kind: SchemaKind) -> None:
    """``python tools/schemas.py`` writes them anew."""
    assert schema_file(kind).read_text(encoding="utf-8") == schemas.text(kind)
    jsonschema.Draft7Validator.check_schema(schemas.schema(kind))


@pytest.mark.parametrize(("kind", "file"), SHIPPED, ids=lambda value: getattr(value, "stem", value))
def test_shipped_profiles_satisfy_their_schema(kind: SchemaKind, file: Path) -> None:
    assert faults(kind, load_yaml(file).tree) == []


GOOD: list[tuple[SchemaKind, str]] = [
    ("config", "{}"),
    ("config", starter_text()),
    ("config", "deployments: [mock, {id: mock, override: {id: b, options: {seed: 1}}}]"),
    ("config", "deployments: [{id: mock, override: {id: b, speed: {ttft_s: 1}}}]"),
    ("config", "deployments: [{id: a, backend: mock, model: mock, hardware: {id: h}}]"),
    ("config", "{objective: null, store: {max_bytes: null}, dispatch: {max_usd: 1}}"),
    ("hardware", "{id: h, memory: {bytes: 1.6e10}, power: null, usd_per_hour: null}"),
    ("hardware", "{id: h, memory: {bytes: {value: null, source: nobody says}}}"),
    ("model", "{id: m, layers: 3.0e1, licence: null, weights: []}"),
    ("deployment", "{id: d, backend: other, model: m, hardware: h, options: {any: [1]}}"),
    ("deployment", "{id: d, backend: mock, model: m, hardware: h, options: null, speed: {}}"),
    ("deployment", "{id: d, backend: mock, model: m, hardware: h, speed: {ttft_s: {value: 1}}}"),
    (
        "deployment",
        "{id: d, backend: mock, model: m, hardware: h, speed: {ttft_s: {value: {p95: 2}}}}",
    ),
    (
        "deployment",
        "{id: d, backend: mock, model: m, hardware: h, price: {usd_per_mtok: {input: 0}}}",
    ),
]


@pytest.mark.parametrize(("kind", "text"), GOOD)
def test_what_the_loader_takes_the_schema_takes(kind: SchemaKind, text: str) -> None:
    document = parse_yaml(text)
    assert not refused(kind, document)
    assert faults(kind, document.tree) == []


D = "id: d, backend: mock, model: m, hardware: h"
BAD: list[tuple[SchemaKind, str]] = [
    ("config", "{deployment: [mock]}"),
    ("config", "{version: 2}"),
    ("config", "{deployments: []}"),
    ("config", "{deployments: [7]}"),
    ("config", "{deployments: [{override: {}}]}"),
    ("config", "{deployments: [{id: mock, override: {option: {}}}]}"),
    ("config", "{objective: {quality: 1}}"),
    ("config", "{objective: {quality: 0}}"),
    ("config", "{objective: {max_cost_usd: -1}}"),
    ("config", "{objective: {max_latency_s: 0}}"),
    ("config", "{objective: {max_energy_j: 0}}"),
    ("config", "{objective: {max_samples: 0}}"),
    ("config", "{objective: {max_samples: 4097}}"),
    ("config", "{objective: {prefer: quickness}}"),
    ("config", "{objective: {locality: here}}"),
    ("config", "{store: {max_age_days: 0}}"),
    ("config", "{store: {max_bytes: 0}}"),
    ("config", "{store: {keep_text: maybe}}"),
    ("config", "{dispatch: {max_wait_s: -1}}"),
    ("config", "{dispatch: {hedge_share: 1.5}}"),
    ("config", "{dispatch: {max_usd: 0}}"),
    ("config", "{dispatch: {max_usd_per_day: 0}}"),
    ("hardware", "{}"),
    ("hardware", "{id: h, memry: {}}"),
    ("hardware", "{id: h, device: tpu}"),
    ("hardware", "{id: h, memory: {bytes: 16}}"),
    ("hardware", "{id: h, memory: {bytes: {value: 16, source: mistaken unit}}}"),
    ("hardware", "{id: h, memory: {bytes: {valu: 1.6e10}}}"),
    ("hardware", "{id: h, memory: {bytes: {value: 1.6e10, status: guess}}}"),
    ("hardware", "{id: h, memory: {bytes: {value: 1.6e10, as_of: yesterday}}}"),
    ("hardware", "{id: h, peak_flops: {fp12: 1.0e12}}"),
    ("hardware", "{id: h, efficiency: {mbu: 1.2}}"),
    ("hardware", "{id: 'a b'}"),
    ("model", "{id: m, layers: 0}"),
    ("model", "{id: m, layers: 1.5}"),
    ("model", "{id: m, layers: many}"),
    ("model", "{id: m, abilities: {poetry: {}}}"),
    ("model", "{id: m, abilities: {math: {success_rate: 55}}}"),
    ("model", "{id: m, parameters: {total: 135}}"),
    (
        "model",
        "{id: m, weights: [{format: gguf, file: a/b, bytes: 1, sha256: x, dtype: q4_1}]}",
    ),
    ("deployment", "{id: d, backend: mock, model: m}"),
    ("deployment", f"{{{D}, kind: model}}"),
    ("deployment", f"{{{D}, speed: {{ttft_s: {{p50: 1, source: where to}}}}}}"),
    ("deployment", f"{{{D}, speed: {{ttft_s: 300000}}}}"),
    ("deployment", f"{{{D}, speed: {{decode_tokens_per_s_by_wave: {{wide: 4}}}}}}"),
    ("deployment", f"{{{D}, price: {{usd_per_mtok: {{input: 1.5e-7}}}}}}"),
    ("deployment", f"{{{D}, limits: {{max_concurrency: 0}}}}"),
    ("deployment", f"{{{D}, auth: {{env: not a name}}}}"),
    ("deployment", f"{{{D}, endpoint: {{base_url: 'ftp://host'}}}}"),
    ("deployment", f"{{{D}, endpoint: {{base_url: 'https://me:secret@host/v1'}}}}"),
    ("deployment", f"{{{D}, placement: {{devices: cpu}}}}"),
    ("deployment", f"{{{D}, placement: {{tensor_parallel: null}}}}"),
    ("deployment", f"{{{D}, placement: {{kv_dtype: int3}}}}"),
]


@pytest.mark.parametrize(("kind", "text"), BAD)
def test_what_is_wrong_is_refused_by_both(kind: SchemaKind, text: str) -> None:
    document = parse_yaml(text)
    assert refused(kind, document)
    assert faults(kind, document.tree)


@pytest.mark.parametrize(
    ("backend", "options"),
    [
        ("mock", {"sed": 1}),
        ("mock", {"latency": {"ttft_s": "slow"}}),
        ("mock", {"faults": [{"kind": "flood"}]}),
        ("openvino", {"batched_tokens": 1}),
        ("onnxruntime", {"precision": "int3"}),
        ("torch", {"dtype": "q4"}),
        ("groq", {"stream": "yes"}),
        ("cerebras", {"reasoning_effort": "most"}),
        ("openai", {"server": "mine"}),
    ],
)
def test_wrong_options_are_refused_by_both(backend: str, options: dict[str, object]) -> None:
    """Those of the backends that come with tt_compute."""
    tree: dict[str, object] = {
        "id": "d",
        "backend": backend,
        "model": {"id": "m"},
        "hardware": {"id": "h"},
        "options": options,
    }
    (spec,) = Config.from_mapping({"deployments": [tree]}, environ={}).deployments
    assert isinstance(spec, DeploymentSpec)
    with pytest.raises(ConfigError):
        parse_options(Registry().load(backend), spec)
    assert faults("deployment", tree)


def test_a_schema_below_the_file_is_named_from_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a project with its environment inside can be moved and shared."""
    root = Path(__file__).resolve().parents[2]
    assert modeline("config", beside=root).endswith("$schema=docs/schemas/config.json\n")
    assert "$schema=file://" in modeline("config", beside=root / "tests")
    monkeypatch.chdir(root)
    assert modeline("config", beside=Path()).endswith("$schema=docs/schemas/config.json\n")
