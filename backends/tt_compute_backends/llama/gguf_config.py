"""What the header of a GGUF file says about a model of the Llama family.

Keys: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md and llama.cpp's ``llama-arch.cpp``; what a missing
one stands for is what llama.cpp takes it for.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from tt_compute.errors import ModelLoadError
from tt_compute_backends.gguf import GgufHeader, GgufValue
from tt_compute_backends.llama.layout import GGUF, MOST_HEAD_SIZE
from tt_compute_backends.llama.spec import F32, LlamaSpec

__all__ = ["read_gguf_spec", "read_rope_factors"]

_ARCHITECTURES: Final = ("llama", "qwen2", "qwen3")
_READ: Final = frozenset(
    (
        "attention.causal",
        "attention.head_count",
        "attention.head_count_kv",
        "attention.key_length",
        "attention.layer_norm_rms_epsilon",
        "attention.value_length",
        "block_count",
        "context_length",
        "embedding_length",
        "feed_forward_length",
        "rope.dimension_count",
        "rope.freq_base",
        "rope.scale_linear",
        "rope.scaling.attn_factor",
        "rope.scaling.factor",
        "rope.scaling.type",
    )
)
_WITHOUT_EFFECT: Final = frozenset(
    (
        "attention.layer_norm_epsilon",
        "expert_used_count",
        "rope.scaling.finetuned",
        "rope.scaling.original_context_length",
        "tensor_data_layout",
        "vocab_size",
    )
)
"""Keys that a dense model with RMS norms may have, and that none of its arithmetic depends on."""
_DEFAULT_CONTEXT_TOKENS: Final = 2048
_DEFAULT_ROPE_THETA: Final = 10_000.0
_SHOWN_CHARACTERS: Final = 60


def read_gguf_spec(header: GgufHeader) -> LlamaSpec:
    """The sizes of the model, but for ``rope_factors``.

    Raises:
        ModelLoadError: Of another architecture, or with a key that would be misread; the message names it.
    """
    architecture = _architecture(header)
    heads = _positive(header, f"{architecture}.attention.head_count")
    hidden = _positive(header, f"{architecture}.embedding_length")
    shapes = {tensor.name: tensor.shape for tensor in header.tensors}
    return LlamaSpec(
        architecture=architecture,
        layers=_positive(header, f"{architecture}.block_count"),
        hidden_size=hidden,
        intermediate_size=_positive(header, f"{architecture}.feed_forward_length"),
        heads=heads,
        kv_heads=_kv_heads(header, architecture, heads),
        head_size=_head_size(header, architecture, hidden // heads),
        vocabulary_size=shapes.get(GGUF.embedding, (0,))[-1],
        context_tokens=_positive(header, f"{architecture}.context_length", _DEFAULT_CONTEXT_TOKENS),
        norm_epsilon=_number(header, f"{architecture}.attention.layer_norm_rms_epsilon"),
        rope_theta=_number(header, f"{architecture}.rope.freq_base", _DEFAULT_ROPE_THETA),
        tied=GGUF.head not in shapes,
    )


def read_rope_factors(
    header: GgufHeader, spec: LlamaSpec, frequencies: F32 | None
) -> tuple[float, ...]:
    """``LlamaSpec.rope_factors``: linear scaling times the factors of ``rope_freqs.weight``.

    Args:
        header: Of the file.
        spec: From ``read_gguf_spec``.
        frequencies: The tensor, if there is one.

    Raises:
        ModelLoadError: Another way of scaling, or numbers that cannot be divided by.
    """
    linear = _linear_scale(header, spec.architecture)
    half = spec.head_size // 2
    if frequencies is None:
        return () if linear == 1 else (linear,) * half
    if frequencies.shape != (half,) or not np.all(np.isfinite(frequencies) & (frequencies > 0)):
        raise ModelLoadError(
            f"{header.path}: rope_freqs.weight is not {half} positive numbers, one for each pair of dimensions"
        )
    return tuple((frequencies * np.float32(linear)).tolist())


def _architecture(header: GgufHeader) -> str:
    architecture = header.text("general.architecture")
    if architecture is None or architecture not in _ARCHITECTURES:
        raise ModelLoadError(
            f"{header.path}: architecture {architecture!r}; those read are {', '.join(_ARCHITECTURES)}"
        )
    if header.metadata.get("split.count", 1) != 1:
        raise ModelLoadError(f"{header.path}: one part of a split file; join the parts first")
    for key, value in header.metadata.items():
        owner, _, name = key.partition(".")
        # Of what is unknown, 0 and the like are what a model without that part says.
        if owner == architecture and name not in _READ | _WITHOUT_EFFECT and value:
            raise _unread(header, key, value)
    causal = header.metadata.get(f"{architecture}.attention.causal", True)
    if causal is not True:
        raise _unread(header, f"{architecture}.attention.causal", causal)
    return architecture


def _kv_heads(header: GgufHeader, architecture: str, heads: int) -> int:
    key = f"{architecture}.attention.head_count_kv"
    kv_heads = _positive(header, key, heads)
    if heads % kv_heads:
        raise ModelLoadError(f"{header.path}: {key} is {kv_heads}, which does not divide {heads}")
    return kv_heads


def _head_size(header: GgufHeader, architecture: str, default: int) -> int:
    key = f"{architecture}.attention.key_length"
    size = _positive(header, key, default)
    if size % 2 or size > MOST_HEAD_SIZE:
        raise ModelLoadError(
            f"{header.path}: heads of {size} dimensions; even sizes up to {MOST_HEAD_SIZE} are read"
        )
    for other in ("attention.value_length", "rope.dimension_count"):
        value = header.metadata.get(f"{architecture}.{other}", size)
        if value != size:
            raise ModelLoadError(
                f"{header.path}: {architecture}.{other} is {_shown(value)}, the size of a head {size}; "
                "only equal ones are read"
            )
    return size


def _linear_scale(header: GgufHeader, architecture: str) -> float:
    """1 = none. A file that gives a factor and no type means a linear one."""
    rope = f"{architecture}.rope"
    kind = header.metadata.get(f"{rope}.scaling.type", "linear")
    if kind not in {"none", "linear"}:
        raise ModelLoadError(
            f"{header.path}: {rope}.scaling.type is {_shown(kind)}; 'none' and 'linear' are read"
        )
    if _number(header, f"{rope}.scaling.attn_factor", 1.0) != 1:
        key = f"{rope}.scaling.attn_factor"
        raise _unread(header, key, header.metadata[key])
    names = (f"{rope}.scaling.factor", f"{rope}.scale_linear")
    given = next((name for name in names if header.metadata.get(name)), None)
    return 1.0 if kind == "none" or given is None else _number(header, given)


def _number(header: GgufHeader, key: str, default: float | None = None) -> float:
    value = header.metadata.get(key, default)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf:
        return float(value)
    raise ModelLoadError(f"{header.path}: {key} is {_shown(value)}, must be a positive number")


def _positive(header: GgufHeader, key: str, default: int | None = None) -> int:
    value = header.metadata.get(key, default)
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    raise ModelLoadError(f"{header.path}: {key} is {_shown(value)}, must be a positive integer")


def _unread(header: GgufHeader, key: str, value: GgufValue) -> ModelLoadError:
    return ModelLoadError(
        f"{header.path}: {key} is {_shown(value)}, which this reader does not follow"
    )


def _shown(value: GgufValue | None) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
