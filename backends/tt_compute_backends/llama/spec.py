"""The Llama family as numbers and arrays, independent of any runtime and of any file format.

Llama, Mistral, Qwen2 and Qwen3 differ in the sizes, in a bias on the projections and in a norm on queries
and keys, and in nothing else that matters here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from tt_compute_backends.llama.outputs import Output

__all__ = ["F32", "LayerWeights", "LlamaSpec", "LlamaWeights", "RewardLayer"]

F32 = NDArray[np.float32]


class LlamaSpec(msgspec.Struct, frozen=True, kw_only=True):
    """The shape of one model."""

    architecture: str
    """As its file names it: llama, mistral, qwen2, qwen3."""
    layers: int
    hidden_size: int
    intermediate_size: int
    heads: int
    kv_heads: int
    head_size: int
    """Of queries, keys and values; need not be ``hidden_size / heads``."""
    vocabulary_size: int
    """Width of the output layer; may exceed the number of tokens."""
    context_tokens: int
    """What the model was trained on."""
    norm_epsilon: float
    rope_theta: float
    rope_factors: tuple[float, ...] = ()
    """Divides each of the ``head_size / 2`` inverse frequencies; empty = all 1. Llama 3's scaling, spelt out."""
    tied: bool
    """The output layer is the embedding."""
    output: Output = "tokens"
    pad_token: int | None = None
    """Padding; a reward is that of the last token that is none."""

    @property
    def parameters(self) -> int:
        """Of all matrices but a reward head's, the embedding counted once if it is tied."""
        attention = self.hidden_size * self.head_size * (2 * self.heads + 2 * self.kv_heads)
        layer = attention + 3 * self.hidden_size * self.intermediate_size
        matrices = 2 if self.output == "tokens" and not self.tied else 1
        return self.layers * layer + matrices * self.vocabulary_size * self.hidden_size

    @property
    def kv_values_per_token(self) -> int:
        """Cached numbers per token, over all layers, keys and values."""
        return 2 * self.layers * self.kv_heads * self.head_size


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerWeights:
    """One layer; every matrix is [outputs, inputs].

    Heads are rotated in halves (dimension i with i + head_size / 2), whatever the file's own order.
    """

    attention_norm: F32
    """[hidden]."""
    q: F32
    """[heads * head, hidden]"""
    k: F32
    """[kv_heads * head, hidden]"""
    v: F32
    """[kv_heads * head, hidden]"""
    o: F32
    """[hidden, heads * head]"""
    q_bias: F32 | None = None
    k_bias: F32 | None = None
    v_bias: F32 | None = None
    q_norm: F32 | None = None
    """[head]; RMS norm of each head's query before its rotation (Qwen3)."""
    k_norm: F32 | None = None
    ffn_norm: F32
    """[hidden]."""
    gate: F32
    """[intermediate, hidden]"""
    up: F32
    """[intermediate, hidden]"""
    down: F32
    """[hidden, intermediate]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardLayer:
    """One layer of a reward head."""

    weight: F32
    """[outputs, inputs]"""
    bias: F32 | None = None
    """[outputs]"""


class LlamaWeights(Protocol):
    """The numbers of one model, read and dequantised when asked for, one layer at a time."""

    @property
    def spec(self) -> LlamaSpec: ...

    def embedding(self) -> F32:
        """[vocabulary, hidden]."""
        ...

    def layer(self, index: int) -> LayerWeights:
        """Layer ``index``, from 0."""
        ...

    def final_norm(self) -> F32:
        """[hidden]."""
        ...

    def head(self) -> F32:
        """[vocabulary, hidden]; the embedding where they are tied. Only of models that generate."""
        ...

    def reward(self) -> tuple[RewardLayer, ...]:
        """What makes a reward of a hidden state, with ReLU between the layers; empty = the model gives none.

        Of a model of steps it makes two numbers, of which the softmax is how likely the step is bad, and good.
        """
        ...
