"""Matrix products of few rows with a fixed matrix, in the ways that torch has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it

__all__ = ["DTYPES", "Linear", "Precision", "new_linear"]

Precision = Literal["fp32", "bf16", "fp16", "int8"]
Linear = Callable[[torch.Tensor], torch.Tensor]
"""[rows, inputs] -> [rows, outputs]"""

DTYPES: dict[Precision, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "int8": torch.bfloat16,
}
"""Of activations, caches and, but for int8, of weights."""

_ops: Any = torch.ops


def new_linear(
    weight: torch.Tensor, bias: torch.Tensor | None, precision: Precision, device: torch.device
) -> Linear:
    """A product with ``weight``, [outputs, inputs] in float32.

    Args:
        weight: Converted, not kept.
        bias: [outputs]; None = none.
        precision: How it is held; int8 has a scale per output.
        device: Where.
    """
    dtype = DTYPES[precision]
    held_bias = None if bias is None else bias.to(device, dtype)
    if precision == "int8":
        return _Int8(weight, held_bias, device)
    return _Plain(weight.to(device, dtype), held_bias)


class _Plain:
    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        self._weight = weight
        self._bias = bias

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self._weight, self._bias)


class _Int8:
    """Weights of 8 bits, symmetric about 0, with a scale per output; activations as they are."""

    def __init__(
        self, weight: torch.Tensor, bias: torch.Tensor | None, device: torch.device
    ) -> None:
        scales = weight.abs().amax(1).clamp_min(1e-12) / 127
        self._weight = (weight / scales[:, None]).round().to(torch.int8).to(device)
        self._scales = scales.to(device, torch.bfloat16)
        self._bias = bias

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        product: torch.Tensor = _ops.aten._weight_int8pack_mm(x, self._weight, self._scales)  # noqa: SLF001 - torch's name for it
        return product if self._bias is None else product + self._bias
