"""What ``config.json`` of a Hugging Face folder says about a model of the Llama family.

What a missing key stands for is what transformers takes it for, in ``models/*/configuration_*.py`` and
``modeling_rope_utils.py``.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from tt_compute.errors import ModelLoadError
from tt_compute_backends.llama.layout import MOST_HEAD_SIZE
from tt_compute_backends.llama.outputs import GENERATING, READABLE, Output, folder_output
from tt_compute_backends.llama.spec import LlamaSpec
from tt_compute_backends.text.folder import read_json

__all__ = ["FolderConfig", "llama3_factors", "read_folder_config"]

_ARCHITECTURES: Final = ("llama", "mistral", "qwen2", "qwen3")
_QWEN: Final = ("qwen2", "qwen3")
_WINDOWED: Final = ("mistral", *_QWEN)
_DEFAULT_ROPE_THETA: Final = 10_000.0
_DEFAULT_WINDOW: Final = 4096

_Size = Annotated[int, msgspec.Meta(ge=1)]
_Number = Annotated[float, msgspec.Meta(ge=1e-30, le=1e30)]


class FolderConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The shape of the model in a folder."""

    spec: LlamaSpec
    biased: bool
    """Whether the projections to queries, keys and values have a bias."""


class _Rope(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``rope_scaling``, or since transformers 5 ``rope_parameters``: without scaling."""

    rope_type: str = "default"
    type: str = "default"
    rope_theta: _Number | None = None
    partial_rotary_factor: float | None = None

    def factors(self, theta: float, head_size: int) -> tuple[float, ...]:  # noqa: ARG002 - as below
        """``LlamaSpec.rope_factors``."""
        return ()


class _LinearRope(_Rope, frozen=True, kw_only=True, forbid_unknown_fields=True):
    factor: _Number

    def factors(self, theta: float, head_size: int) -> tuple[float, ...]:  # noqa: ARG002 - as below
        return (self.factor,) * (head_size // 2)


class _Llama3Rope(_LinearRope, frozen=True, kw_only=True, forbid_unknown_fields=True):
    low_freq_factor: _Number
    high_freq_factor: _Number
    original_max_position_embeddings: _Number

    def __post_init__(self) -> None:
        if self.low_freq_factor >= self.high_freq_factor:
            raise ValueError("high_freq_factor must be above low_freq_factor")

    def factors(self, theta: float, head_size: int) -> tuple[float, ...]:
        return llama3_factors(
            theta,
            head_size,
            factor=self.factor,
            low=self.low_freq_factor,
            high=self.high_freq_factor,
            trained_tokens=self.original_max_position_embeddings,
        )


_ROPES: Final[dict[str, type[_Rope]]] = {
    "default": _Rope,
    "linear": _LinearRope,
    "llama3": _Llama3Rope,
}


class _Config(msgspec.Struct, frozen=True, kw_only=True):
    """The keys that the arithmetic of the family depends on; ``msgspec`` ignores the others."""

    model_type: str
    architectures: list[str] | None = None
    num_hidden_layers: _Size
    hidden_size: _Size
    intermediate_size: _Size
    num_attention_heads: _Size
    num_key_value_heads: _Size | None = None
    head_dim: _Size | None = None
    vocab_size: _Size
    max_position_embeddings: _Size = 2048
    rms_norm_eps: _Number = 1e-6
    rope_theta: _Number | None = None
    rope_scaling: dict[str, Any] | None = None
    rope_parameters: dict[str, Any] | None = None
    partial_rotary_factor: float | None = None
    tie_word_embeddings: bool = False
    pad_token_id: int | None = None
    hidden_act: str = "silu"
    sliding_window: _Size | msgspec.UnsetType | None = msgspec.UNSET
    use_sliding_window: bool | None = None
    attention_bias: bool = False
    mlp_bias: bool = False
    num_experts: int | None = None
    num_local_experts: int | None = None
    quantization_config: Any = None
    is_causal: bool = True

    @property
    def kv_heads(self) -> int:
        return self.num_key_value_heads or self.num_attention_heads

    @property
    def head_size(self) -> int:
        return self.head_dim or self.hidden_size // self.num_attention_heads


def read_folder_config(folder: Path, outputs: Collection[Output] = GENERATING) -> FolderConfig:
    """Read and check ``config.json``.

    Args:
        folder: Where it is.
        outputs: Kinds of models that the caller can use.

    Raises:
        ModelLoadError: It is missing, or of another architecture, or names parts that are not followed.
    """
    path = folder / "config.json"
    document = read_json(path)
    if not document:
        raise ModelLoadError(f"{path} is missing or empty", hint="a Hugging Face folder holds one")
    model_type: object = document.get("model_type")
    if model_type not in _ARCHITECTURES:
        raise ModelLoadError(
            f"{path}: model_type {model_type!r}; those read are {', '.join(_ARCHITECTURES)}"
        )
    try:
        config = msgspec.convert(document, _Config)
    except msgspec.ValidationError as error:
        raise ModelLoadError(f"{path}: {error}") from error
    output = folder_output(folder, document)
    if output is None or output not in outputs:
        kind = f"architectures {config.architectures}" if output != "none" else "an embedding model"
        raise ModelLoadError(f"{path}: {kind}; {_readable(outputs)}")
    rope = _rope(config, path)
    problem = _problem(config, rope)
    if problem is not None:
        raise ModelLoadError(f"{path}: {problem}")
    biased = config.model_type == "qwen2" or (
        config.attention_bias and config.model_type != "mistral"
    )
    return FolderConfig(spec=_spec(config, rope, output), biased=biased)


def _rope(config: _Config, path: Path) -> _Rope:
    found = config.rope_scaling or config.rope_parameters or {}
    kind: object = found.get("rope_type", found.get("type", "default"))
    if not isinstance(kind, str) or kind not in _ROPES:
        raise ModelLoadError(f"{path}: rope scaling {kind!r}; those read are {', '.join(_ROPES)}")
    try:
        return msgspec.convert(found, _ROPES[kind])
    except msgspec.ValidationError as error:
        raise ModelLoadError(f"{path}: rope scaling {kind!r}: {error}") from error


def _problem(config: _Config, rope: _Rope) -> str | None:
    """The first thing that would be misread."""
    partial = (rope.partial_rotary_factor, config.partial_rotary_factor)
    experts = (config.num_experts, config.num_local_experts)
    refused = {
        "is_causal is false; only models whose tokens see those before them are read": (
            not config.is_causal
        ),
        f"hidden_act {config.hidden_act!r}; 'silu' is read": config.hidden_act != "silu",
        f"partial_rotary_factor {partial}; only 1 is read": not {*partial} <= {None, 1.0},
        f"num_experts {experts}; only dense models are read": any(experts),
        "mlp_bias is set, which is not followed": config.mlp_bias,
        "quantization_config: quantised weights are not read from folders; use the GGUF file": (
            config.quantization_config is not None
        ),
        f"num_attention_heads {config.num_attention_heads} is no multiple of num_key_value_heads "
        f"{config.kv_heads}": config.num_attention_heads % config.kv_heads != 0,
        f"heads of {config.head_size} dimensions; even sizes up to {MOST_HEAD_SIZE} are read": (
            config.head_size % 2 != 0 or not 0 < config.head_size <= MOST_HEAD_SIZE
        ),
    }
    return next((reason for reason, holds in refused.items() if holds), None)


def _readable(outputs: Collection[Output]) -> str:
    if set(outputs) == {"tokens"}:
        return "only language models are read"
    return f"those read are {READABLE}"


def _spec(config: _Config, rope: _Rope, output: Output) -> LlamaSpec:
    theta = rope.rope_theta or config.rope_theta or _DEFAULT_ROPE_THETA
    return LlamaSpec(
        architecture=config.model_type,
        layers=config.num_hidden_layers,
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        heads=config.num_attention_heads,
        kv_heads=config.kv_heads,
        head_size=config.head_size,
        vocabulary_size=config.vocab_size,
        context_tokens=_context_tokens(config),
        norm_epsilon=config.rms_norm_eps,
        rope_theta=theta,
        rope_factors=rope.factors(theta, config.head_size),
        tied=config.tie_word_embeddings and output == "tokens",
        output=output,
        pad_token=config.pad_token_id,
    )


def _context_tokens(config: _Config) -> int:
    """Up to the sliding window, within which it makes no difference."""
    window = config.sliding_window
    if window is msgspec.UNSET:
        window = _DEFAULT_WINDOW if config.model_type in _WINDOWED else None
    # Mistral's is in use where it is given, Qwen's where it is also asked for.
    used = config.use_sliding_window
    if window is None or used is False or (used is None and config.model_type in _QWEN):
        return config.max_position_embeddings
    return min(window, config.max_position_embeddings)


def llama3_factors(
    theta: float, head_size: int, *, factor: float, low: float, high: float, trained_tokens: float
) -> tuple[float, ...]:
    """By what Llama 3.1 divides each inverse frequency.

    Source: ``_compute_llama3_parameters`` in transformers' ``modeling_rope_utils.py``: waves shorter than
    ``trained_tokens / high`` are kept, those longer than ``trained_tokens / low`` slowed by ``factor``, the ones
    between blended.
    """
    factors: list[float] = []
    for i in range(head_size // 2):
        wave_tokens = 2 * math.pi * theta ** (2 * i / head_size)
        smooth = (trained_tokens / wave_tokens - low) / (high - low)
        smooth = min(1.0, max(0.0, smooth))
        factors.append(1 / ((1 - smooth) / factor + smooth))
    return tuple(factors)
