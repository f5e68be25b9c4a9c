"""The roofline of a model on a device: what decode and prefill take, from bytes and FLOPs alone.

Sources: "How to scale your model" (scaling-book), chapter on inference, for the decode step
B S kv / W + max(2 B P_active / C, weight_bytes / W) and the KV bytes per token; kipply, "Transformer inference
arithmetic", for the same accounting; model bandwidth utilisation (MBU) after Databricks, "LLM inference
performance engineering", 2023; MFU after PaLM. Every derate is a fact of the hardware profile.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from tt_compute.profiles.schema import (
    DeploymentSpec,
    Fact,
    HardwareProfile,
    ModelFile,
    ModelProfile,
)

__all__ = ["Roofline", "StepTime", "UnknownFact", "kv_bytes_per_token", "roofline_of", "weights_of"]

KV_BYTES_PER_ELEMENT = 2
"""bf16 or fp16, the default of every runtime."""
_COMPUTE_DTYPES = ("bf16", "fp16", "fp32")
"""Weights in a dtype that the device states no rate for are computed in the first of these that it does."""


class UnknownFact(Exception):
    """A prediction needs a number that no profile states; the text says which, of what."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} is unknown")
        self.reason = f"{what} is unknown"


class StepTime(NamedTuple):
    """Seconds of one decode step, one token for every row of the batch."""

    fixed_s: float
    per_context_token_s: float
    """More for each token of context, prompt and completion so far, that a row has."""

    def at(self, context_tokens: float) -> float:
        return self.fixed_s + context_tokens * self.per_context_token_s


class Roofline(msgspec.Struct, frozen=True, kw_only=True):
    """One model on one deployment's devices, rates already derated."""

    weight_bytes: float
    active_share: float
    """Active over total parameters; 1 for a dense model."""
    kv_bytes_per_token: float
    bytes_per_s: float
    """Bandwidth x MBU."""
    flops_per_token: float
    """2 x active parameters."""
    attention_flops: float
    """2 L n_heads d_head: for each pair of prompt tokens, causal."""
    decode_flops_per_s: float
    prefill_flops_per_s: float
    step_overhead_s: float

    def step(self, rows: int) -> StepTime:
        """Decode step of ``rows`` samples.

        Reading keys and values never becomes bound by compute, so that its time adds to the larger of
        reading the weights and the matrix products. Of a mixture of experts with a share r of its
        parameters active, ``rows`` tokens touch 1 - (1 - r)^rows (uniform routing).
        """
        touched = 1 - (1 - self.active_share) ** rows
        weights_s = self.weight_bytes * touched / self.bytes_per_s
        compute_s = rows * self.flops_per_token / self.decode_flops_per_s
        return StepTime(
            fixed_s=max(weights_s, compute_s) + self.step_overhead_s,
            per_context_token_s=rows * self.kv_bytes_per_token / self.bytes_per_s,
        )

    @property
    def prefill_s_per_token(self) -> float:
        """The linear part of (2 P_active T + 2 L n_heads d_head T^2) / (C x MFU)."""
        return self.flops_per_token / self.prefill_flops_per_s

    @property
    def prefill_s_per_token_pair(self) -> float:
        """The quadratic part, causal attention."""
        return self.attention_flops / self.prefill_flops_per_s


def roofline_of(spec: DeploymentSpec) -> Roofline:
    """The roofline, with ``placement.tensor_parallel`` devices adding up (communication left out).

    Raises:
        UnknownFact: A number that it needs is unknown; the first one found.
    """
    model, hardware = spec.model, spec.hardware
    efficiency, devices = hardware.efficiency, spec.deployment.placement.tensor_parallel
    weights = weights_of(model)
    bandwidth = _known(
        hardware.memory.bandwidth_bytes_per_s, "memory.bandwidth_bytes_per_s", hardware
    )
    mbu = _known(efficiency.mbu, "efficiency.mbu", hardware)
    flops = _peak_flops(hardware, weights) * devices
    active, total = _parameters(model, weights)
    layers = _count(model.layers, "layers", model)
    heads = _count(model.attention_heads, "attention_heads", model)
    head_dim = _count(model.head_dim, "head_dim", model)
    return Roofline(
        weight_bytes=weights.bytes,
        active_share=active / total,
        kv_bytes_per_token=kv_bytes_per_token(model),
        bytes_per_s=bandwidth * mbu * devices,
        flops_per_token=2 * active,
        attention_flops=2 * layers * heads * head_dim,
        decode_flops_per_s=flops * _known(efficiency.mfu_decode, "efficiency.mfu_decode", hardware),
        prefill_flops_per_s=flops
        * _known(efficiency.mfu_prefill, "efficiency.mfu_prefill", hardware),
        step_overhead_s=_known(efficiency.step_overhead_s, "efficiency.step_overhead_s", hardware),
    )


def kv_bytes_per_token(model: ModelProfile) -> float:
    """2 (key and value) x layers x KV heads x head dimension x bytes per element.

    Raises:
        UnknownFact: The model's shape is unknown.
    """
    layers = _count(model.layers, "layers", model)
    kv_heads = _count(model.kv_heads, "kv_heads", model)
    return 2 * layers * kv_heads * _count(model.head_dim, "head_dim", model) * KV_BYTES_PER_ELEMENT


def weights_of(model: ModelProfile) -> ModelFile:
    """The weights that are assumed to run: the first that the profile lists.

    Raises:
        UnknownFact: It lists none.
    """
    if not model.weights:
        raise UnknownFact(f"weights of {model.id}")
    return model.weights[0]


def _parameters(model: ModelProfile, weights: ModelFile) -> tuple[float, float]:
    total, per_parameter = model.parameters.total.value, weights.bytes_per_parameter.value
    if total is None and per_parameter is not None:
        total = weights.bytes / per_parameter
    if total is None:
        raise UnknownFact(f"parameters.total of {model.id}")
    return model.parameters.active.value or total, total


def _peak_flops(hardware: HardwareProfile, weights: ModelFile) -> float:
    for dtype in (weights.dtype, *_COMPUTE_DTYPES):
        value = hardware.peak_flops.get(dtype, Fact()).value
        if value is not None:
            return value
    raise UnknownFact(f"peak_flops ({', '.join(_COMPUTE_DTYPES)}) of {hardware.id}")


def _known(fact: Fact, name: str, hardware: HardwareProfile) -> float:
    if fact.value is None:
        raise UnknownFact(f"{name} of {hardware.id}")
    return fact.value


def _count(value: int | None, name: str, model: ModelProfile) -> int:
    if value is None:
        raise UnknownFact(f"{name} of {model.id}")
    return value
