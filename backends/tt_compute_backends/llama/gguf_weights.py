"""A model of the Llama family from a GGUF file.

The arithmetic of the quantised types is the ``gguf`` package's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, cast

import gguf
import msgspec
import numpy as np

from tt_compute.errors import ModelLoadError
from tt_compute_backends.gguf import GgufHeader, GgufTensor, read_gguf_header
from tt_compute_backends.llama.gguf_config import read_gguf_spec, read_rope_factors
from tt_compute_backends.llama.layout import GGUF, check_tensors
from tt_compute_backends.llama.spec import F32, LayerWeights, LlamaSpec, RewardLayer

__all__ = ["GgufWeights"]

_PERMUTED: Final = "llama"
"""Its files hold the heads' dimensions in the order of a rotation of neighbours."""
_HEADS: Final = ("q", "k", "q_bias", "k_bias")
_ROPE_FACTORS: Final = "rope_freqs.weight"
_UNREAD: Final = frozenset(("I8", "I16", "I32", "I64", "F64"))
"""Types of tables; no weights are in them."""

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
        self._tensors = {tensor.name: tensor for tensor in header.tensors}
        spec = read_gguf_spec(header)
        self._check(header, spec)
        self._data = np.memmap(path, dtype=np.uint8, mode="r")
        factors = read_rope_factors(header, spec, self._maybe(_ROPE_FACTORS))
        self.spec: LlamaSpec = msgspec.structs.replace(spec, rope_factors=factors)

    def embedding(self) -> F32:
        return self._read(GGUF.embedding)

    def final_norm(self) -> F32:
        return self._read(GGUF.final_norm)

    def head(self) -> F32:
        return self.embedding() if self.spec.tied else self._read(GGUF.head)

    def reward(self) -> tuple[RewardLayer, ...]:
        """None: such files hold models that generate."""
        return ()

    def layer(self, index: int) -> LayerWeights:
        found = {
            field: self._read(name)
            for field, name in GGUF.of_layer(index).items()
            if name in self._tensors
        }
        if self.spec.architecture == _PERMUTED:
            found |= {field: self._in_halves(found[field]) for field in _HEADS if field in found}
        return LayerWeights(**found)

    def _in_halves(self, values: F32) -> F32:
        """Rows as they are rotated here: the file has dimensions 2i and 2i + 1 where i and i + half belong."""
        paired = values.reshape(-1, self.spec.head_size // 2, 2, *values.shape[1:])
        return np.ascontiguousarray(paired.swapaxes(1, 2)).reshape(values.shape)

    def _maybe(self, name: str) -> F32 | None:
        return self._read(name) if name in self._tensors else None

    def _read(self, name: str) -> F32:
        tensor = self._tensors[name]
        raw = self._data[tensor.offset_in_file : tensor.offset_in_file + tensor.bytes]
        rows = raw.reshape(*tensor.shape[:0:-1], -1)
        # What damaged blocks overflow to is no worse than what they were.
        with np.errstate(all="ignore"):
            values: F32 = _library.quants.dequantize(rows, _kind(tensor))
        return np.array(values, dtype=np.float32).reshape(tensor.shape[::-1])

    def _check(self, header: GgufHeader, spec: LlamaSpec) -> None:
        biases = {name for field, name in GGUF.of_layer(0).items() if field.endswith("_bias")}
        check_tensors(
            header.path,
            spec,
            GGUF,
            {name: tensor.shape[::-1] for name, tensor in self._tensors.items()},
            biased=spec.architecture == "qwen2" or not biases.isdisjoint(self._tensors),
            ignored=lambda name: name == _ROPE_FACTORS,
        )
        for tensor in header.tensors:
            _check_type(header, tensor)


def _check_type(header: GgufHeader, tensor: GgufTensor) -> None:
    kind = _kind(tensor)
    if kind is None or kind.name in _UNREAD:
        name = tensor.type if kind is None else kind.name
        raise ModelLoadError(f"{header.path}: {tensor.name} is of type {name}, which is not read")
    block, _ = _library.GGML_QUANT_SIZES[kind]
    if tensor.shape[0] % block:
        raise ModelLoadError(
            f"{header.path}: {tensor.name} has rows of {tensor.shape[0]}, which blocks of {block} do not fill"
        )


def _kind(tensor: GgufTensor) -> Any:
    """The library's name of the type; None = it does not know it."""
    try:
        return _library.GGMLQuantizationType(tensor.type)
    except ValueError:
        return None
