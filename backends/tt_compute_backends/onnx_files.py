"""What an ONNX folder of ours is made of, and by what; imports nothing heavy."""

from __future__ import annotations

from typing import Final, Literal

from tt_compute.types import Converter
from tt_compute_backends.libraries import Library

__all__ = [
    "ATTENTION",
    "DATA_FILE",
    "GRAPH_FILE",
    "HEAD_FILE",
    "HIDDEN",
    "LIBRARY",
    "LOGITS",
    "PAST",
    "PRESENT",
    "REWARD_FILE",
    "ROTATIONS",
    "GraphPrecision",
    "graph_converter",
]

GraphPrecision = Literal["int8", "int4", "fp32"]
"""Of the weights in a folder that is made here."""
LIBRARY: Final = Library(distribution="onnx", least_version=(1, 18))
"""What writes one, beside those of our loop."""

GRAPH_FILE: Final = "model.onnx"
DATA_FILE: Final = "model.onnx.data"
"""The weights of both graphs."""
HEAD_FILE: Final = "head.onnx"
"""The output layer alone, for other positions than the last; of models that generate."""
REWARD_FILE: Final = "reward.safetensors"
"""The head of a reward model, under the names of ``llama.reward_head``."""
HIDDEN: Final = "hidden_states"
"""Output of every graph, as onnxruntime-genai's builder calls it: behind the last norm."""
LOGITS: Final = "logits"
PAST: Final = "past_key_values."
PRESENT: Final = "present."
"""What the names of inputs and outputs of keys and values begin with; the layer and ``.key`` or ``.value`` follow."""
ATTENTION: Final = "GroupQueryAttention"
ROTATIONS: Final = 7
"""Which input of attention holds the cosines of the positions, [positions, half a head]."""


def graph_converter(precision: GraphPrecision) -> Converter:
    """What makes such folders."""
    return Converter(
        format="onnx",
        module="tt_compute_backends.onnx_convert",
        version=2,
        arguments=("--precision", precision),
    )
