"""What a GGUF file says about its model, and whether OpenVINO GenAI can run it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tt_compute.errors import ModelLoadError
from tt_compute_backends.gguf import GgufHeader, read_gguf_header

__all__ = ["OpenVinoModel", "read_model"]

_ARCHITECTURES = ("llama", "qwen2", "qwen3")
"""Those that OpenVINO GenAI 2026.4 builds from a GGUF file."""
_TOKENIZER = "gpt2"
"""GGUF's name for byte-level BPE, the only kind OpenVINO GenAI builds from a GGUF file."""
_DEFAULT_CONTEXT_TOKENS = 2048
_CONTROL = 3
"""GGUF's type of a token that steers the model and is no text."""
_ELEMENT_BYTES = {"f32": 4.0, "bf16": 2.0, "f16": 2.0, "u8": 1.25}
"""Bytes per cached value; u8 with its scales and zero points."""
_BLOCK_TOKENS = 32
"""Tokens in one block of the KV cache, which is also the grain of prefix sharing (on a CPU)."""


class OpenVinoModel(msgspec.Struct, frozen=True, kw_only=True):
    """The facts about one model file."""

    path: str
    context_tokens: int
    layers: int
    kv_heads: int
    head_size: int
    logits: int
    """Width of the output layer; may exceed the vocabulary."""
    control_tokens: dict[int, str]
    block_tokens: int = _BLOCK_TOKENS

    def kv_blocks(self, cache_bytes: int, precision: str | None) -> int:
        """Blocks that fit into ``cache_bytes``, at least one; the runtime's own precision counts as f16."""
        values = 2 * self.layers * self.kv_heads * self.head_size * self.block_tokens
        return max(1, int(cache_bytes / (values * _ELEMENT_BYTES[precision or "f16"])))


def read_model(path: Path) -> OpenVinoModel:
    """Read the facts and refuse what OpenVINO GenAI would crash on or misread.

    Raises:
        ModelLoadError: Not a whole GGUF file, or of a kind that OpenVINO GenAI does not build.
    """
    if path.suffix != ".gguf":
        raise ModelLoadError(f"{path}: the name must end in .gguf")
    header = read_gguf_header(path)
    architecture = _check_kind(header)
    heads = _required(header, f"{architecture}.attention.head_count")
    hidden = _required(header, f"{architecture}.embedding_length")
    return OpenVinoModel(
        path=str(path),
        context_tokens=header.integer(f"{architecture}.context_length") or _DEFAULT_CONTEXT_TOKENS,
        layers=_required(header, f"{architecture}.block_count"),
        kv_heads=header.integer(f"{architecture}.attention.head_count_kv") or heads,
        head_size=header.integer(f"{architecture}.attention.key_length") or hidden // heads,
        logits=_logits(header),
        control_tokens=_control_tokens(header),
    )


def _check_kind(header: GgufHeader) -> str:
    architecture = header.text("general.architecture")
    if architecture is None or architecture not in _ARCHITECTURES:
        raise ModelLoadError(
            f"{header.path}: architecture {architecture!r}; OpenVINO GenAI reads {_ARCHITECTURES}"
        )
    tokenizer = header.text("tokenizer.ggml.model")
    if tokenizer != _TOKENIZER:
        raise ModelLoadError(
            f"{header.path}: tokenizer {tokenizer!r}; OpenVINO GenAI reads {_TOKENIZER!r} (byte-level BPE)"
        )
    if header.integer("split.count") is not None:
        raise ModelLoadError(f"{header.path}: one part of a split file; join the parts first")
    return architecture


def _required(header: GgufHeader, key: str) -> int:
    value = header.integer(key)
    if value is None or value < 1:
        raise ModelLoadError(f"{header.path}: {key} is {value}, must be a positive integer")
    return value


def _logits(header: GgufHeader) -> int:
    shapes = {tensor.name: tensor.shape for tensor in header.tensors}
    shape = shapes.get("output.weight") or shapes.get("token_embd.weight")
    if shape is None:
        raise ModelLoadError(f"{header.path}: no token_embd.weight among its tensors")
    return shape[-1]


def _control_tokens(header: GgufHeader) -> dict[int, str]:
    tokens = header.array("tokenizer.ggml.tokens")
    types = header.array("tokenizer.ggml.token_type")
    if len(tokens) != len(types) or not tokens:
        raise ModelLoadError(f"{header.path}: {len(tokens)} tokens and {len(types)} token types")
    return {
        number: str(token)
        for number, (token, kind) in enumerate(zip(tokens, types, strict=True))
        if kind == _CONTROL
    }
