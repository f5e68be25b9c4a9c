"""The head of a reward model.

One layer (transformers' ``*ForSequenceClassification`` with one label, ``*ForTokenClassification`` with two), or two
layers with ReLU between them (``Qwen2ForRewardModel``, https://huggingface.co/Qwen/Qwen2.5-Math-RM-72B, and
``Qwen2ForProcessRewardModel``, https://huggingface.co/Qwen/Qwen2.5-Math-PRM-7B).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from tt_compute.errors import ModelLoadError
from tt_compute_backends.llama.outputs import STEPS, Output
from tt_compute_backends.llama.spec import F32, RewardLayer

__all__ = [
    "PREFIX",
    "REWARDING",
    "check_labels",
    "reward_layers",
    "reward_shapes",
    "reward_tensors",
]

PREFIX: Final = "score."
"""What the names of its tensors begin with."""
REWARDING: Final[Mapping[Output, int]] = {"reward": 1, "steps": 2, "plain_steps": 2}
"""Kinds of models that have such a head, and the labels that it tells apart."""
_SINGLE: Final = (("score.weight", None),)
_BIASED: Final = (("score.weight", "score.bias"),)
_DOUBLE: Final = (("score.0.weight", "score.0.bias"), ("score.2.weight", "score.2.bias"))

Shape = tuple[int, ...]


def reward_layers(
    found: Mapping[str, object], output: Output
) -> tuple[tuple[str, str | None], ...]:
    """Names of each layer's weight and bias; None = it has no bias."""
    if _DOUBLE[0][0] in found:
        return _DOUBLE
    # The classes with one label have none.
    biased = output in STEPS and _BIASED[0][1] in found
    return _BIASED if biased else _SINGLE


def reward_shapes(
    found: Mapping[str, object], hidden_size: int, output: Output
) -> dict[str, Shape]:
    """Shapes of all its tensors by name."""
    layers = reward_layers(found, output)
    shapes: dict[str, Shape] = {}
    for place, (weight, bias) in enumerate(layers):
        outputs = REWARDING[output] if place == len(layers) - 1 else hidden_size
        shapes[weight] = (outputs, hidden_size)
        if bias is not None:
            shapes[bias] = (outputs,)
    return shapes


def check_labels(where: object, found: Mapping[str, Shape], output: Output) -> None:
    """Refuse a classifier of something else.

    Raises:
        ModelLoadError: The last layer tells other than two labels apart, bad and good steps.
    """
    if output not in STEPS:
        return
    weight, _ = reward_layers(found, output)[-1]
    labels = found.get(weight, ())[:1]
    if labels not in ((), (2,)):
        raise ModelLoadError(
            f"{where}: {weight} has {labels[0]} labels; a process reward model has two, bad and good"
        )


def reward_tensors(layers: Sequence[RewardLayer]) -> dict[str, F32]:
    """All its tensors by name, to be written."""
    names = _DOUBLE if len(layers) > 1 else _BIASED
    tensors: dict[str, F32] = {}
    for (weight, bias), layer in zip(names, layers, strict=True):
        tensors[weight] = layer.weight
        if layer.bias is not None:
            tensors[bias] = layer.bias
    return tensors
