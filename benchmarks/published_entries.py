"""Published decode rates as data, and what is predicted of each: by the performance model and by a naive one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from tt_compute.planning.performance import Pace
from tt_compute.planning.roofline import weights_of
from tt_compute.profiles.library import ProfileLibrary
from tt_compute.profiles.schema import (
    DeploymentProfile,
    DeploymentSpec,
    Dtype,
    Fact,
    HardwareProfile,
    ModelFile,
    ModelProfile,
    Parameters,
    Placement,
)
from tt_compute.profiles.yaml import load_yaml

__all__ = [
    "Entry",
    "LeftOut",
    "Published",
    "Reason",
    "naive",
    "predicted",
    "published",
    "specs",
]

ENTRIES = Path(__file__).parent / "published_rates.yaml"


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    at: str
    as_of: str
    note: str | None = None


class Shape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model that the library lacks."""

    id: str
    source: str
    total: float
    active: float | None = None
    experts: int | None = None
    experts_per_token: int | None = None
    layers: int
    hidden_size: int
    attention_heads: int
    kv_heads: int
    head_dim: int

    def profile(self) -> ModelProfile:
        return ModelProfile(
            id=self.id,
            parameters=Parameters(total=Fact(value=self.total), active=Fact(value=self.active)),
            experts=self.experts,
            experts_per_token=self.experts_per_token,
            layers=self.layers,
            hidden_size=self.hidden_size,
            attention_heads=self.attention_heads,
            kv_heads=self.kv_heads,
            head_dim=self.head_dim,
        )


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One published rate: tokens/s of all rows together."""

    id: str
    source: str
    model: str
    hardware: str
    precision: Dtype
    devices: int = 1
    batch: int = 1
    prompt_tokens: int
    output_tokens: int
    tokens_per_s: float
    engine: str
    measures: Literal["decode", "whole"] = "decode"
    weights_bytes: float | None = None
    """None = parameters x the bytes of ``precision``."""
    kv_precision: Dtype | None = None
    note: str | None = None

    @property
    def fitted_on(self) -> bool:
        """Whether it is in the half that shipped values may be fitted on."""
        return hashlib.sha256(self.id.encode()).digest()[0] % 2 == 0


class LeftOut(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    rate: str
    source: str
    as_of: str
    why: str


class Reason(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The likely cause of misses among the entries whose ids begin like this."""

    ids: str
    why: str


class Published(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    sources: dict[str, Source]
    models: tuple[Shape, ...]
    entries: tuple[Entry, ...]
    reasons: tuple[Reason, ...]
    left_out: tuple[LeftOut, ...]

    def reason(self, entry: Entry) -> str:
        """Of the longest beginning that fits."""
        fitting = [one for one in self.reasons if entry.id.startswith(one.ids)]
        return max(fitting, key=lambda one: len(one.ids)).why if fitting else "not known"


def published(path: Path = ENTRIES) -> Published:
    return msgspec.convert(load_yaml(path).tree, Published)


def specs(known: Published, library: ProfileLibrary) -> Iterator[tuple[Entry, DeploymentSpec]]:
    shapes = {shape.id: shape.profile() for shape in known.models}
    for entry in known.entries:
        model = shapes.get(entry.model) or library.model(entry.model)
        yield entry, spec_of(entry, model, library.hardware(entry.hardware))


def spec_of(entry: Entry, model: ModelProfile, hardware: HardwareProfile) -> DeploymentSpec:
    dtype: Dtype | None = entry.precision
    if entry.weights_bytes is not None:
        dtype = None
        weights = ModelFile(
            format="gguf",
            file=entry.id,
            bytes=round(entry.weights_bytes),
            sha256="0" * 64,
            dtype=entry.precision,
        )
        model = msgspec.structs.replace(model, weights=(weights,))
    placement = Placement(
        tensor_parallel=entry.devices, weights_dtype=dtype, kv_dtype=entry.kv_precision
    )
    deployment = DeploymentProfile(
        id=entry.id, backend="openai", model=model, hardware=hardware, placement=placement
    )
    return DeploymentSpec(deployment=deployment, model=model, hardware=hardware)


def predicted(entry: Entry, spec: DeploymentSpec) -> float:
    """Tokens/s of all rows, at the mean context, or over prompts and decode together.

    Raises:
        UnknownFact: A profile lacks a number.
    """
    pace = Pace(spec, None)
    step_s = pace.step(entry.batch).at(entry.prompt_tokens + entry.output_tokens / 2)
    if entry.measures == "decode":
        return entry.batch / step_s
    prefill = pace.prefill()
    prompt_s = entry.prompt_tokens * (
        prefill.per_token_s + entry.prompt_tokens * prefill.per_token_pair_s
    )
    whole_s = entry.batch * prompt_s + entry.output_tokens * step_s
    return entry.batch * entry.output_tokens / whole_s


def naive(entry: Entry, spec: DeploymentSpec) -> float:
    """Each row as often as the bandwidth can read the weights."""
    bandwidth = spec.hardware.memory.bandwidth_bytes_per_s.value
    assert bandwidth is not None, entry.hardware
    return entry.batch * entry.devices * bandwidth / weights_of(spec).bytes
