"""What ``config.json`` of a Hugging Face folder says about a model of the Llama family."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final

import msgspec

from tt_compute.errors import ModelLoadError
from tt_compute_backends.llama.spec import LlamaSpec
from tt_compute_backends.text.folder import read_json

__all__ = ["llama3_factors", "read_folder_spec"]

_ARCHITECTURES: Final = ("llama", "mistral", "qwen2", "qwen3")
_DEFAULT_ROPE_THETA: Final = 10_000.0


class _Rope(msgspec.Struct, frozen=True, kw_only=True):
    """``rope_scaling``, and since transformers 5 ``rope_parameters``."""

    rope_type: str = "default"
    type: str | None = None
    rope_theta: float | None = None
    factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_max_position_embeddings: int = 8192


class _Config(msgspec.Struct, frozen=True, kw_only=True):
    """The keys that we read; ``msgspec`` ignores the others."""

    model_type: str = ""
    num_hidden_layers: int = 0
    hidden_size: int = 0
    intermediate_size: int = 0
    num_attention_heads: int = 0
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    vocab_size: int = 0
    max_position_embeddings: int = 2048
    rms_norm_eps: float = 1e-6
    rope_theta: float | None = None
    rope_scaling: _Rope | None = None
    rope_parameters: _Rope | None = None
    partial_rotary_factor: float = 1.0
    tie_word_embeddings: bool = False
    hidden_act: str = "silu"
    sliding_window: int | None = None
    use_sliding_window: bool | None = None
    mlp_bias: bool = False
    quantization_config: Any = None


def read_folder_spec(folder: Path) -> LlamaSpec:
    """The shape of the model in a folder.

    Raises:
        ModelLoadError: No ``config.json``, or one of another architecture, or with parts that are not followed.
    """
    path = folder / "config.json"
    document = read_json(path)
    if not document:
        raise ModelLoadError(f"{path} is missing", hint="a Hugging Face folder holds one")
    try:
        config = msgspec.convert(document, _Config)
    except msgspec.ValidationError as error:
        raise ModelLoadError(f"{path}: {error}") from error
    problem = _problem(config)
    if problem is not None:
        raise ModelLoadError(f"{path}: {problem}")
    return _spec(config, path)


def _problem(config: _Config) -> str | None:
    """The first thing that would be misread."""
    sizes = (
        "num_hidden_layers",
        "hidden_size",
        "intermediate_size",
        "num_attention_heads",
        "vocab_size",
    )
    for name in sizes:
        if getattr(config, name) < 1:
            return f"{name} is {getattr(config, name)}, must be a positive integer"
    refused = {
        f"model_type {config.model_type!r}; those read are {', '.join(_ARCHITECTURES)}": (
            config.model_type not in _ARCHITECTURES
        ),
        f"hidden_act {config.hidden_act!r}; 'silu' is read": config.hidden_act != "silu",
        f"partial_rotary_factor {config.partial_rotary_factor}; only 1 is read": (
            config.partial_rotary_factor != 1
        ),
        "mlp_bias is set, which is not followed": config.mlp_bias,
        "quantization_config: quantised weights are not read from folders; use the GGUF file": (
            config.quantization_config is not None
        ),
        f"num_attention_heads {config.num_attention_heads} is no multiple of num_key_value_heads": (
            config.num_attention_heads % (config.num_key_value_heads or config.num_attention_heads)
            != 0
        ),
    }
    return next((reason for reason, holds in refused.items() if holds), None)


def _spec(config: _Config, path: Path) -> LlamaSpec:
    head_size = config.head_dim or config.hidden_size // config.num_attention_heads
    rope = config.rope_parameters or config.rope_scaling or _Rope()
    return LlamaSpec(
        architecture=config.model_type,
        layers=config.num_hidden_layers,
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads or config.num_attention_heads,
        head_size=head_size,
        vocabulary_size=config.vocab_size,
        context_tokens=_context_tokens(config),
        norm_epsilon=config.rms_norm_eps,
        rope_theta=rope.rope_theta or config.rope_theta or _DEFAULT_ROPE_THETA,
        rope_factors=_rope_factors(config, rope, head_size, path),
        tied=config.tie_word_embeddings,
    )


def _context_tokens(config: _Config) -> int:
    """Up to the sliding window, within which it makes no difference."""
    window = config.sliding_window
    if window is None or config.use_sliding_window is False:
        return config.max_position_embeddings
    return min(window, config.max_position_embeddings)


def _rope_factors(config: _Config, rope: _Rope, head_size: int, path: Path) -> tuple[float, ...]:
    kind = rope.type or rope.rope_type
    if kind == "default":
        return ()
    if kind == "linear":
        return (rope.factor,) * (head_size // 2)
    if kind == "llama3":
        theta = rope.rope_theta or config.rope_theta or _DEFAULT_ROPE_THETA
        return llama3_factors(
            theta,
            head_size,
            factor=rope.factor,
            low=rope.low_freq_factor,
            high=rope.high_freq_factor,
            trained_tokens=rope.original_max_position_embeddings,
        )
    raise ModelLoadError(
        f"{path}: rope scaling {kind!r}; 'default', 'linear' and 'llama3' are read"
    )


def llama3_factors(
    theta: float, head_size: int, *, factor: float, low: float, high: float, trained_tokens: int
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
