"""A model of the Llama family from a GGUF file.

Keys and tensor names: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md and llama.cpp's
``llama-arch.cpp``; the arithmetic of the quantised types is the ``gguf`` package's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, cast

import gguf
import numpy as np

from tt_compute.errors import ModelLoadError
from tt_compute_backends.gguf import GgufHeader, GgufTensor, read_gguf_header
from tt_compute_backends.llama.spec import F32, LayerWeights, LlamaSpec

__all__ = ["GgufWeights"]

_ARCHITECTURES: Final = ("llama", "qwen2", "qwen3")
_PERMUTED: Final = "llama"
"""Its files hold the heads' dimensions in the order of a rotation of neighbours."""
_UNKNOWN_TO_US: Final = (
    "expert_count",
    "attention.sliding_window",
    "attention.logit_softcapping",
    "attn_logit_softcapping",
    "logit_scale",
    "residual_scale",
    "embedding_scale",
    "attention.scale",
)
"""Keys of the architecture that change its arithmetic; anything but 0 is refused."""
_DEFAULT_CONTEXT_TOKENS: Final = 2048
_DEFAULT_ROPE_THETA: Final = 10_000.0
_SUPPORTED: Final = frozenset(
    name for name in ("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0")
) | frozenset(("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"))

_library = cast("Any", gguf)


class GgufWeights:
    """Satisfies ``LlamaWeights``. The file stays mapped until the object is dropped.

    Args:
        path: Of a whole GGUF file.

    Raises:
        ModelLoadError: Damaged, of another architecture, or with parts that would be misread.
    """

    def __init__(self, path: Path) -> None:
        header = read_gguf_header(path)
        self._path = path
        self._tensors = {tensor.name: tensor for tensor in header.tensors}
        self.spec = _spec(header, self._tensors)
        self._permuted = self.spec.architecture == _PERMUTED
        self._data = np.memmap(path, dtype=np.uint8, mode="r")
        _check_tensors(header, self.spec, self._tensors)

    def embedding(self) -> F32:
        return self._read("token_embd.weight")

    def final_norm(self) -> F32:
        return self._read("output_norm.weight")

    def head(self) -> F32:
        return self.embedding() if self.spec.tied else self._read("output.weight")

    def layer(self, index: int) -> LayerWeights:
        spec, place = self.spec, f"blk.{index}."
        return LayerWeights(
            attention_norm=self._read(f"{place}attn_norm.weight"),
            q=self._heads(f"{place}attn_q.weight", spec.heads),
            k=self._heads(f"{place}attn_k.weight", spec.kv_heads),
            v=self._read(f"{place}attn_v.weight"),
            o=self._read(f"{place}attn_output.weight"),
            q_bias=self._maybe_heads(f"{place}attn_q.bias", spec.heads),
            k_bias=self._maybe_heads(f"{place}attn_k.bias", spec.kv_heads),
            v_bias=self._maybe(f"{place}attn_v.bias"),
            q_norm=self._maybe(f"{place}attn_q_norm.weight"),
            k_norm=self._maybe(f"{place}attn_k_norm.weight"),
            ffn_norm=self._read(f"{place}ffn_norm.weight"),
            gate=self._read(f"{place}ffn_gate.weight"),
            up=self._read(f"{place}ffn_up.weight"),
            down=self._read(f"{place}ffn_down.weight"),
        )

    def _maybe(self, name: str) -> F32 | None:
        return self._read(name) if name in self._tensors else None

    def _maybe_heads(self, name: str, heads: int) -> F32 | None:
        return self._heads(name, heads) if name in self._tensors else None

    def _heads(self, name: str, heads: int) -> F32:
        """Rows in halves: GGUF's llama files hold dimension 2i and 2i + 1 next to each other."""
        values = self._read(name)
        if not self._permuted:
            return values
        paired = values.reshape(heads, self.spec.head_size // 2, 2, *values.shape[1:])
        return np.ascontiguousarray(paired.swapaxes(1, 2)).reshape(values.shape)

    def _read(self, name: str) -> F32:
        tensor = self._tensors[name]
        raw = self._data[tensor.offset_in_file : tensor.offset_in_file + tensor.bytes]
        kind = _library.GGMLQuantizationType(tensor.type)
        shape = tensor.shape[::-1]
        if kind.name == "F32":
            return raw.view(np.float32).reshape(shape).copy()
        if kind.name == "F16":
            return raw.view(np.float16).reshape(shape).astype(np.float32)
        # Bytes per row: the library takes rows of whole blocks.
        rows = raw.reshape(-1, tensor.bytes // max(1, int(np.prod(shape[:-1]))))
        values: F32 = _library.quants.dequantize(rows, kind)
        return values.reshape(shape)


def _spec(header: GgufHeader, tensors: dict[str, GgufTensor]) -> LlamaSpec:
    architecture = header.text("general.architecture")
    if architecture not in _ARCHITECTURES:
        raise ModelLoadError(
            f"{header.path}: architecture {architecture!r}; those read are {', '.join(_ARCHITECTURES)}"
        )
    if header.integer("split.count") not in {None, 1}:
        raise ModelLoadError(f"{header.path}: one part of a split file; join the parts first")
    _refuse_unknown(header, architecture)
    heads = _required(header, f"{architecture}.attention.head_count")
    hidden = _required(header, f"{architecture}.embedding_length")
    head_size = header.integer(f"{architecture}.attention.key_length") or hidden // heads
    rotated = header.integer(f"{architecture}.rope.dimension_count")
    values = header.integer(f"{architecture}.attention.value_length")
    if rotated not in {None, head_size} or values not in {None, head_size}:
        raise ModelLoadError(
            f"{header.path}: heads of {head_size} with {rotated} rotated dimensions and values of {values}; "
            "only equal ones are read"
        )
    vocabulary = tensors.get("token_embd.weight")
    return LlamaSpec(
        architecture=architecture,
        layers=_required(header, f"{architecture}.block_count"),
        hidden_size=hidden,
        intermediate_size=_required(header, f"{architecture}.feed_forward_length"),
        heads=heads,
        kv_heads=header.integer(f"{architecture}.attention.head_count_kv") or heads,
        head_size=head_size,
        vocabulary_size=0 if vocabulary is None else vocabulary.shape[-1],
        context_tokens=header.integer(f"{architecture}.context_length") or _DEFAULT_CONTEXT_TOKENS,
        norm_epsilon=_number(header, f"{architecture}.attention.layer_norm_rms_epsilon", 1e-5),
        rope_theta=_number(header, f"{architecture}.rope.freq_base", _DEFAULT_ROPE_THETA),
        rope_factors=_rope_factors(header, architecture, head_size, tensors),
        tied="output.weight" not in tensors,
    )


def _refuse_unknown(header: GgufHeader, architecture: str) -> None:
    for key in _UNKNOWN_TO_US:
        value = header.metadata.get(f"{architecture}.{key}")
        if value:
            raise ModelLoadError(
                f"{header.path}: {architecture}.{key} is {value}, which this reader does not follow"
            )


def _rope_factors(
    header: GgufHeader, architecture: str, head_size: int, tensors: dict[str, GgufTensor]
) -> tuple[float, ...]:
    kind = header.text(f"{architecture}.rope.scaling.type") or "none"
    if kind not in {"none", "linear"}:
        raise ModelLoadError(f"{header.path}: rope scaling {kind!r}; 'none' and 'linear' are read")
    factors = tensors.get("rope_freqs.weight")
    if factors is not None:
        raw = np.memmap(
            header.path,
            dtype=np.float32,
            mode="r",
            offset=factors.offset_in_file,
            shape=factors.shape,
        )
        return tuple(raw.tolist())
    if kind == "linear":
        factor = _number(header, f"{architecture}.rope.scaling.factor", 1.0)
        return (factor,) * (head_size // 2)
    return ()


def _number(header: GgufHeader, key: str, default: float) -> float:
    value = header.metadata.get(key, default)
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not 0 < value < float("inf")
    ):
        raise ModelLoadError(f"{header.path}: {key} is {value!r}, must be a positive number")
    return float(value)


def _required(header: GgufHeader, key: str) -> int:
    value = header.integer(key)
    if value is None or value < 1:
        raise ModelLoadError(f"{header.path}: {key} is {value}, must be a positive integer")
    return value


def _check_tensors(header: GgufHeader, spec: LlamaSpec, tensors: dict[str, GgufTensor]) -> None:
    for name, shape in _shapes(spec).items():
        tensor = tensors.get(name)
        if tensor is None:
            raise ModelLoadError(f"{header.path}: no tensor {name}")
        if tensor.shape[::-1] != shape:
            raise ModelLoadError(f"{header.path}: {name} is {tensor.shape[::-1]}, expected {shape}")
        kind = _library.GGMLQuantizationType(tensor.type).name
        if kind not in _SUPPORTED:
            raise ModelLoadError(f"{header.path}: {name} is of type {kind}, which is not read")


def _shapes(spec: LlamaSpec) -> dict[str, tuple[int, ...]]:
    hidden, ffn = spec.hidden_size, spec.intermediate_size
    q, kv = spec.heads * spec.head_size, spec.kv_heads * spec.head_size
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (spec.vocabulary_size, hidden),
        "output_norm.weight": (hidden,),
    }
    if not spec.tied:
        shapes["output.weight"] = (spec.vocabulary_size, hidden)
    for layer in range(spec.layers):
        place = f"blk.{layer}."
        shapes |= {
            f"{place}attn_norm.weight": (hidden,),
            f"{place}attn_q.weight": (q, hidden),
            f"{place}attn_k.weight": (kv, hidden),
            f"{place}attn_v.weight": (kv, hidden),
            f"{place}attn_output.weight": (hidden, q),
            f"{place}ffn_norm.weight": (hidden,),
            f"{place}ffn_gate.weight": (ffn, hidden),
            f"{place}ffn_up.weight": (ffn, hidden),
            f"{place}ffn_down.weight": (hidden, ffn),
        }
    return shapes
