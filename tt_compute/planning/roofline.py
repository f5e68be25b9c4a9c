"""The roofline of a model on a device: what decode and prefill take, from bytes and FLOPs alone.

Sources: "How to scale your model" (scaling-book), chapter on inference, for the decode step
B S kv / W + max(2 B P_active / C, weight_bytes / W) and the KV bytes per token; kipply, "Transformer inference
arithmetic", for the same accounting; model bandwidth utilisation (MBU) after Databricks, "LLM inference
performance engineering", 2023; MFU after PaLM; the two all-reduces of a layer in tensor parallelism after
Shoeybi et al., "Megatron-LM", 2019, and their cost 2 (n - 1) / n x bytes / W after the scaling book, chapter on
GPUs. Every derate is a fact of the hardware profile.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec

from tt_compute.profiles.schema import (
    DeploymentSpec,
    Dtype,
    Fact,
    HardwareProfile,
    ModelProfile,
)

__all__ = [
    "Roofline",
    "StepTime",
    "UnknownFact",
    "Weights",
    "kv_bytes_per_token",
    "one_row_step",
    "roofline_of",
    "weights_of",
]

KV_BYTES_PER_ELEMENT = 2
"""bf16 or fp16, the default of every runtime."""
_ACTIVATION_BYTES = 2
_REDUCES_PER_LAYER = 2
"""In tensor parallelism: after attention and after the feed-forward part."""
_BYTES_PER_PARAMETER = {
    "fp32": 4.0,
    "bf16": 2.0,
    "fp16": 2.0,
    "fp8": 1.0,
    "int8": 1.0,
    "fp4": 4.25 / 8,
    "int4": 4.5 / 8,
}
"""fp4 with a scale of 8 bits for 32 weights (OCP Microscaling, MXFP4); int4 with one of 16 (GGUF's Q4_0)."""
_UNSTATED_DTYPE = "bf16"
_COMPUTE_DTYPES = ("bf16", "fp16", "fp32")
"""Weights in a dtype that the device states no rate for are computed in the first of these that it does."""


class UnknownFact(Exception):
    """A prediction needs a number that no profile states; the text says which, of what."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} is unknown")
        self.reason: str = f"{what} is unknown"


class StepTime(NamedTuple):
    """Seconds of one decode step, one token for every row of the batch."""

    fixed_s: float
    per_context_token_s: float
    """More for each token of context, prompt and completion so far, that a row has."""

    def at(self, context_tokens: float) -> float:
        return self.fixed_s + context_tokens * self.per_context_token_s


class Roofline(msgspec.Struct, frozen=True, kw_only=True):
    """One model on one deployment's devices, rates already derated."""

    shared_bytes: float
    """Weights that every token uses."""
    expert_bytes: float
    """Of all experts together; 0 for a dense model."""
    expert_share: float
    """Of the experts, that one token uses."""
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
    """Per step, all layers and the latency of all-reduces together."""
    exchange_s_per_token: float = 0.0
    """What the devices send each other for one token; 0 on one device."""

    def step(self, rows: int) -> StepTime:
        """Decode step of ``rows`` samples.

        Reading keys and values never becomes bound by compute, so that its time adds to the larger of
        reading the weights and the matrix products. Of experts of which a token uses the share r, ``rows``
        tokens touch 1 - (1 - r)^rows (uniform routing).
        """
        touched = 1 - (1 - self.expert_share) ** rows
        weights_s = (self.shared_bytes + self.expert_bytes * touched) / self.bytes_per_s
        compute_s = rows * self.flops_per_token / self.decode_flops_per_s
        return StepTime(
            fixed_s=max(weights_s, compute_s)
            + self.step_overhead_s
            + rows * self.exchange_s_per_token,
            per_context_token_s=rows * self.kv_bytes_per_token / self.bytes_per_s,
        )

    @property
    def prefill_s_per_token(self) -> float:
        """The linear part of (2 P_active T + 2 L n_heads d_head T^2) / (C x MFU), and what devices exchange."""
        return self.flops_per_token / self.prefill_flops_per_s + self.exchange_s_per_token

    @property
    def prefill_s_per_token_pair(self) -> float:
        """The quadratic part, causal attention."""
        return self.attention_flops / self.prefill_flops_per_s


def roofline_of(spec: DeploymentSpec) -> Roofline:
    """The roofline, with ``placement.tensor_parallel`` devices adding up.

    Raises:
        UnknownFact: A number that it needs is unknown; the first one found.
    """
    return _roofline(spec, _peak_flops(spec.hardware, weights_of(spec)))


def one_row_step(spec: DeploymentSpec) -> StepTime:
    """Decode step of one sample, for which no rate of FLOP/s needs to be known.

    A row takes 2 FLOP for each weight that is read, and every device with memory outside its chip computes
    several times that many in the time it takes to read one.

    Raises:
        UnknownFact: A number that it needs is unknown; the first one found.
    """
    return _roofline(spec, math.inf).step(1)


def _roofline(spec: DeploymentSpec, flops_per_device: float) -> Roofline:
    model, hardware = spec.model, spec.hardware
    efficiency, devices = hardware.efficiency, spec.deployment.placement.tensor_parallel
    weights = weights_of(spec)
    bandwidth = _known(
        hardware.memory.bandwidth_bytes_per_s, "memory.bandwidth_bytes_per_s", hardware
    )
    mbu = _known(efficiency.mbu, "efficiency.mbu", hardware)
    flops = flops_per_device * devices
    active, total = _parameters(model, weights)
    expert_share, in_experts = _experts(model, active / total)
    layers = _count(model.layers, "layers", model)
    heads = _count(model.attention_heads, "attention_heads", model)
    head_dim = _count(model.head_dim, "head_dim", model)
    exchange = _exchange(spec)
    return Roofline(
        shared_bytes=weights.bytes * (1 - in_experts),
        expert_bytes=weights.bytes * in_experts,
        expert_share=expert_share,
        kv_bytes_per_token=kv_bytes_per_token(model, spec.deployment.placement.kv_dtype),
        bytes_per_s=bandwidth * mbu * devices,
        flops_per_token=2 * active,
        attention_flops=2 * layers * heads * head_dim,
        decode_flops_per_s=flops * _known(efficiency.mfu_decode, "efficiency.mfu_decode", hardware),
        prefill_flops_per_s=flops
        * _known(efficiency.mfu_prefill, "efficiency.mfu_prefill", hardware),
        step_overhead_s=_known(efficiency.step_overhead_s, "efficiency.step_overhead_s", hardware)
        + layers * (efficiency.layer_overhead_s.value or 0.0)
        + exchange.latency_s,
        exchange_s_per_token=exchange.s_per_token,
    )


class _Exchange(NamedTuple):
    """What all-reduces add to a step, and for each token of it."""

    latency_s: float
    s_per_token: float


def _exchange(spec: DeploymentSpec) -> _Exchange:
    """Two all-reduces in each layer, of the activations of a token; a ring sends each byte 2 (n - 1) / n times."""
    devices, link = spec.deployment.placement.tensor_parallel, spec.hardware.interconnect
    if devices == 1:
        return _Exchange(0.0, 0.0)
    reduces = _REDUCES_PER_LAYER * _count(spec.model.layers, "layers", spec.model)
    latency_s = reduces * (link.latency_s.value or 0.0)
    if link.bandwidth_bytes_per_s.value is None:
        return _Exchange(latency_s, 0.0)
    width = _count(spec.model.hidden_size, "hidden_size", spec.model)
    sent = reduces * width * _ACTIVATION_BYTES * 2 * (devices - 1) / devices
    return _Exchange(latency_s, sent / link.bandwidth_bytes_per_s.value)


def kv_bytes_per_token(model: ModelProfile, dtype: Dtype | None = None) -> float:
    """2 (key and value) x layers x KV heads x head dimension x bytes per element.

    Raises:
        UnknownFact: The model's shape is unknown.
    """
    layers = _count(model.layers, "layers", model)
    kv_heads = _count(model.kv_heads, "kv_heads", model)
    element = KV_BYTES_PER_ELEMENT if dtype is None else _BYTES_PER_PARAMETER[dtype]
    return 2 * layers * kv_heads * _count(model.head_dim, "head_dim", model) * element


class Weights(NamedTuple):
    """What is read in a step."""

    bytes: float
    dtype: str
    bytes_per_parameter: float | None


def weights_of(spec: DeploymentSpec) -> Weights:
    """The weights that are assumed to run: in the dtype that the deployment states, else the model's first file.

    Raises:
        UnknownFact: Neither a file nor the number of parameters is known.
    """
    model, stated = spec.model, spec.deployment.placement.weights_dtype
    if stated is None and model.weights:
        file = model.weights[0]
        return Weights(file.bytes, file.dtype, file.bytes_per_parameter.value)
    total = model.parameters.total.value
    if total is None:
        raise UnknownFact(f"weights of {model.id}")
    dtype = stated or _UNSTATED_DTYPE
    return Weights(total * _BYTES_PER_PARAMETER[dtype], dtype, _BYTES_PER_PARAMETER[dtype])


def _experts(model: ModelProfile, active_share: float) -> tuple[float, float]:
    """Share of the experts that a token uses, and share of all weights that lies in experts.

    From total = shared + E and active = shared + (k/n) E. Without the number of experts all weights are taken
    to lie in them.
    """
    if model.experts and model.experts_per_token:
        share = model.experts_per_token / model.experts
        return share, min(1.0, (1 - active_share) / (1 - share)) if share < 1 else 0.0
    return active_share, 0.0 if active_share == 1 else 1.0


def _parameters(model: ModelProfile, weights: Weights) -> tuple[float, float]:
    total, per_parameter = model.parameters.total.value, weights.bytes_per_parameter
    if total is None and per_parameter is not None:
        total = weights.bytes / per_parameter
    if total is None:
        raise UnknownFact(f"parameters.total of {model.id}")
    return model.parameters.active.value or total, total


def _peak_flops(hardware: HardwareProfile, weights: Weights) -> float:
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
