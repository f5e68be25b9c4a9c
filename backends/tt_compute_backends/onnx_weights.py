"""Matrices as ONNX Runtime's quantised kernels want them: blocks of 32 inputs, a scale for each.

Layout: ``MatMulNBits`` in https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tt_compute_backends.llama.spec import F32

__all__ = ["BLOCK", "Quantised", "quantise"]

BLOCK: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantised:
    """A matrix of ``outputs`` rows."""

    packed: NDArray[np.uint8]
    """[outputs, blocks, bytes]"""
    scales: F32
    """[outputs, blocks]"""
    zero_points: NDArray[np.uint8] | None
    """Packed like the values; None = the middle of the range."""


def quantise(matrix: F32, bits: int) -> Quantised:
    """Round to ``bits`` bits.

    8 bits are symmetric about 0, which loses next to nothing of weights that were stored in 4; 4 bits span each
    block from its least to its greatest value.

    Args:
        matrix: [outputs, inputs]; inputs that do not fill the last block count as 0.
        bits: 4 or 8.
    """
    outputs, inputs = matrix.shape
    blocks = -(-inputs // BLOCK)
    padded = np.zeros((outputs, blocks * BLOCK), dtype=np.float32)
    padded[:, :inputs] = matrix
    values = padded.reshape(outputs, blocks, BLOCK)
    return _symmetric8(values) if bits == 8 else _asymmetric4(values)  # noqa: PLR2004 - bits


def _symmetric8(values: NDArray[Any]) -> Quantised:
    scales = _never_zero(np.abs(values).max(-1) / 127)
    rounded = np.rint(values / scales[..., None]) + 128
    return Quantised(packed=rounded.astype(np.uint8), scales=scales, zero_points=None)


def _asymmetric4(values: NDArray[Any]) -> Quantised:
    low = np.minimum(values.min(-1), 0)
    high = np.maximum(values.max(-1), 0)
    scales = _never_zero((high - low) / 15)
    zeros = np.clip(np.rint(-low / scales), 0, 15)
    rounded = np.clip(np.rint(values / scales[..., None]) + zeros[..., None], 0, 15)
    return Quantised(
        packed=_nibbles(rounded.astype(np.uint8)),
        scales=scales,
        zero_points=_nibbles(zeros.astype(np.uint8)),
    )


def _never_zero(scales: NDArray[Any]) -> F32:
    return np.where(scales > 0, scales, 1).astype(np.float32)


def _nibbles(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Two values per byte along the last axis, the first one low."""
    if values.shape[-1] % 2:
        values = np.concatenate((values, np.zeros_like(values[..., :1])), axis=-1)
    packed: NDArray[np.uint8] = np.bitwise_or(values[..., 0::2], values[..., 1::2] << 4)
    return packed
