"""The Llama family in plain torch, for few tokens at a time: our own forward pass.

RMS norm (https://arxiv.org/abs/1910.07467), rotary positions (https://arxiv.org/abs/2104.09864) in halves,
grouped queries (https://arxiv.org/abs/2305.13245), SwiGLU (https://arxiv.org/abs/2002.05202).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it

from tt_compute_backends.llama.spec import LayerWeights, LlamaWeights
from tt_compute_backends.loop.forward import F32, Piece
from tt_compute_backends.loop.memory import free_memory_bytes
from tt_compute_backends.torch_cache import Span, TorchCache
from tt_compute_backends.torch_linear import DTYPES, Linear, Precision, new_linear
from tt_compute_backends.torch_rotations import rotations

__all__ = ["TorchForward"]

_from_numpy: Callable[[Any], torch.Tensor] = cast("Any", torch).from_numpy


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    attention_norm: torch.Tensor
    qkv: Linear
    qk_norm: torch.Tensor | None
    """[heads + kv_heads, head]: the queries' norm and the keys'."""
    o: Linear
    ffn_norm: torch.Tensor
    gate_up: Linear
    down: Linear


class TorchForward:
    """Satisfies ``loop.forward.ReadingForward``; loads one layer at a time.

    On CUDA and other devices it takes torch's own kernels as they are (*unverified* without such a device).

    Args:
        weights: Read once, not kept.
        device: Where everything lies.
        precision: Of weights and caches.
    """

    out_of_memory = (MemoryError, torch.OutOfMemoryError)

    def __init__(
        self, weights: LlamaWeights, *, device: torch.device, precision: Precision
    ) -> None:
        self._spec = weights.spec
        self._device = device
        self._precision: Precision = precision
        self._dtype = DTYPES[precision]
        self._embedding = self._tensor(weights.embedding())
        self._layers = [self._layer(weights.layer(i)) for i in range(weights.spec.layers)]
        self._norm = self._tensor(weights.final_norm())
        generates = weights.spec.output == "tokens"
        self._head = self._linear(weights.head()) if generates else None
        self._cos, self._sin = rotations(weights.spec, device, self._dtype)

    @property
    def vocabulary_size(self) -> int:
        return self._spec.vocabulary_size

    @property
    def kv_bytes_per_token(self) -> int:
        return self._spec.kv_values_per_token * self._dtype.itemsize

    def free_bytes(self) -> int:
        if self._device.type == "cuda":
            return torch.cuda.mem_get_info(self._device)[0]
        return free_memory_bytes()

    def new_cache(self, rows: int, capacity_tokens: int) -> TorchCache:
        return TorchCache(
            layers=self._spec.layers,
            rows=rows,
            kv_heads=self._spec.kv_heads,
            capacity_tokens=capacity_tokens,
            head_size=self._spec.head_size,
            dtype=self._dtype,
            device=self._device,
        )

    def copy_row(
        self, source: TorchCache, source_row: int, target: TorchCache, target_row: int, tokens: int
    ) -> None:
        source.copy_row(source_row, target, target_row, tokens)

    @torch.inference_mode()
    def prefill(
        self, cache: TorchCache, row: int, token_ids: Sequence[int], past_tokens: int
    ) -> F32:
        x = self._stack((Piece(cache, row, token_ids, past_tokens),))
        logits: F32 = self._logits(x[-1:])[0]
        return logits

    @torch.inference_mode()
    def hidden(self, pieces: Sequence[Piece[TorchCache]]) -> F32:
        found: F32 = self._normed(self._stack(pieces)).float().cpu().numpy()
        return found

    @torch.inference_mode()
    def logits(self, hidden: F32) -> F32:
        return self._headed(_from_numpy(hidden).to(self._device, self._dtype))

    @torch.inference_mode()
    def decode(
        self, cache: TorchCache, token_ids: Sequence[int], past_tokens: Sequence[int]
    ) -> F32:
        spec, count, longest = self._spec, len(token_ids), max(past_tokens) + 1
        rows = torch.arange(count, device=self._device)
        positions = torch.tensor(past_tokens, device=self._device)
        mask = None
        if min(past_tokens) + 1 < longest:
            keys = torch.arange(longest, device=self._device)
            mask = (keys[None, :] <= positions[:, None])[:, None, None, :]
        x = self._embedding[torch.tensor(token_ids, device=self._device)]
        cos, sin = self._cos[positions], self._sin[positions]
        for layer, kv in zip(self._layers, cache.layers, strict=True):
            qkv = self._qkv(layer, x, cos, sin)
            kv[rows, :, positions] = qkv[:, spec.heads :]
            held = kv[:count, :, :longest]
            attended = F.scaled_dot_product_attention(
                # The queries of a group stand next to each other, as if they were positions.
                qkv[:, : spec.heads].view(count, spec.kv_heads, -1, spec.head_size),
                held[:, : spec.kv_heads],
                held[:, spec.kv_heads :],
                attn_mask=mask,
            )
            x = self._rest(layer, x, attended.reshape(count, -1))
        return self._logits(x)

    def close(self) -> None:
        """Drop the weights; nothing can be computed any more."""
        self._layers.clear()

    # --- parts of a pass -------------------------------------------------------------------------

    def _stack(self, pieces: Sequence[Piece[TorchCache]]) -> torch.Tensor:
        """All layers over tokens of several rows: what is not attention takes them as one batch, without padding."""
        spans = [Span(piece, self._device) for piece in pieces]
        positions = torch.cat([span.positions for span in spans])
        lengths = [len(piece.token_ids) for piece in pieces]
        tokens = [token for piece in pieces for token in piece.token_ids]
        x = self._embedding[torch.tensor(tokens, device=self._device)]
        cos, sin = self._cos[positions], self._sin[positions]
        for index, layer in enumerate(self._layers):
            parts = torch.split(self._qkv(layer, x, cos, sin), lengths)
            attended = [
                self._attend_one(qkv, span.keep(index, qkv[:, self._spec.heads :]), span.mask)
                for span, qkv in zip(spans, parts, strict=True)
            ]
            x = self._rest(layer, x, torch.cat(attended))
        return x

    def _qkv(
        self, layer: _Layer, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor
    ) -> torch.Tensor:
        """Rotated queries, rotated keys and values of each token, [tokens, heads + 2 * kv_heads, head]."""
        spec = self._spec
        normed = F.rms_norm(x, (spec.hidden_size,), layer.attention_norm, spec.norm_epsilon)
        qkv = layer.qkv(normed).view(len(x), -1, spec.head_size)
        qk = qkv[:, : spec.heads + spec.kv_heads]
        source = qk
        if layer.qk_norm is not None:
            source = F.rms_norm(qk, (spec.head_size,), None, spec.norm_epsilon) * layer.qk_norm
        halves = source.view(len(x), -1, 2, spec.head_size // 2).flip(-2).view(source.shape)
        qk.copy_(torch.addcmul(source * cos, halves, sin))
        return qkv

    def _attend_one(
        self, qkv: torch.Tensor, kv: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """All tokens of one row, each over the keys up to its own."""
        spec = self._spec
        attended = F.scaled_dot_product_attention(
            qkv[None, :, : spec.heads].transpose(1, 2),
            kv[None, : spec.kv_heads],
            kv[None, spec.kv_heads :],
            attn_mask=mask,
            is_causal=mask is None and len(qkv) > 1,
            enable_gqa=spec.heads != spec.kv_heads,
        )
        return attended[0].transpose(0, 1).reshape(len(qkv), -1)

    def _rest(self, layer: _Layer, x: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
        spec = self._spec
        x = x + layer.o(attended)
        normed = F.rms_norm(x, (spec.hidden_size,), layer.ffn_norm, spec.norm_epsilon)
        gate, up = layer.gate_up(normed).chunk(2, -1)
        return x + layer.down(F.silu(gate) * up)

    def _logits(self, x: torch.Tensor) -> F32:
        return self._headed(self._normed(x))

    def _normed(self, x: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(x, (self._spec.hidden_size,), self._norm, self._spec.norm_epsilon)

    def _headed(self, normed: torch.Tensor) -> F32:
        assert self._head is not None, "only models that generate have logits"
        logits: F32 = self._head(normed).float().cpu().numpy()
        return logits

    # --- loading ---------------------------------------------------------------------------------

    def _layer(self, weights: LayerWeights) -> _Layer:
        spec = self._spec
        bias = None
        if weights.q_bias is not None and weights.k_bias is not None and weights.v_bias is not None:
            bias = np.concatenate((weights.q_bias, weights.k_bias, weights.v_bias))
        qk_norm = None
        if weights.q_norm is not None and weights.k_norm is not None:
            norms = [weights.q_norm] * spec.heads + [weights.k_norm] * spec.kv_heads
            qk_norm = self._tensor(np.stack(norms))
        return _Layer(
            attention_norm=self._tensor(weights.attention_norm),
            qkv=self._linear(np.concatenate((weights.q, weights.k, weights.v)), bias),
            qk_norm=qk_norm,
            o=self._linear(weights.o),
            ffn_norm=self._tensor(weights.ffn_norm),
            gate_up=self._linear(np.concatenate((weights.gate, weights.up))),
            down=self._linear(weights.down),
        )

    def _tensor(self, values: F32) -> torch.Tensor:
        return _from_numpy(values).to(self._device, self._dtype)

    def _linear(self, weight: F32, bias: F32 | None = None) -> Linear:
        held_bias = None if bias is None else _from_numpy(bias)
        return new_linear(_from_numpy(weight), held_bias, self._precision, self._device)
