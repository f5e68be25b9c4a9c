"""The head of a reward model.

One row (transformers' ``*ForSequenceClassification`` with one label), or two layers with ReLU between them
(``Qwen2ForRewardModel``, https://huggingface.co/Qwen/Qwen2.5-Math-RM-72B).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from tt_compute_backends.llama.spec import F32, RewardLayer

__all__ = ["PREFIX", "reward_layers", "reward_shapes", "reward_tensors"]

PREFIX: Final = "score."
"""What the names of its tensors begin with."""
_SINGLE: Final = (("score.weight", None),)
_DOUBLE: Final = (("score.0.weight", "score.0.bias"), ("score.2.weight", "score.2.bias"))


def reward_layers(found: Collection[str]) -> tuple[tuple[str, str | None], ...]:
    """Names of each layer's weight and bias; None = it has no bias."""
    return _DOUBLE if _DOUBLE[0][0] in found else _SINGLE


def reward_shapes(found: Collection[str], hidden_size: int) -> dict[str, tuple[int, ...]]:
    """Shapes of all its tensors by name."""
    layers = reward_layers(found)
    shapes: dict[str, tuple[int, ...]] = {}
    for place, (weight, bias) in enumerate(layers):
        outputs = 1 if place == len(layers) - 1 else hidden_size
        shapes[weight] = (outputs, hidden_size)
        if bias is not None:
            shapes[bias] = (outputs,)
    return shapes


def reward_tensors(layers: Sequence[RewardLayer]) -> dict[str, F32]:
    """All its tensors by name, to be written."""
    names = _SINGLE if len(layers) == 1 else _DOUBLE
    tensors: dict[str, F32] = {}
    for (weight, bias), layer in zip(names, layers, strict=True):
        tensors[weight] = layer.weight
        if bias is not None and layer.bias is not None:
            tensors[bias] = layer.bias
    return tensors
