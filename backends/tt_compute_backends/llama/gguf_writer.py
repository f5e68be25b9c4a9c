"""Writes a Hugging Face folder of the Llama family as a GGUF file in Q8_0, for runtimes that read nothing else.

Keys and tensor names: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md and llama.cpp's
``convert_hf_to_gguf.py``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, cast

import gguf
import msgspec
import numpy as np

from tt_compute.errors import ModelLoadError
from tt_compute_backends.llama.folder_weights import FolderWeights
from tt_compute_backends.llama.layout import GGUF
from tt_compute_backends.llama.spec import F32, LayerWeights, LlamaSpec
from tt_compute_backends.text.gguf_text import splitter_name
from tt_compute_backends.text.model import TextModel, open_text

__all__ = ["write_gguf"]

_NORMAL, _CONTROL, _USER_DEFINED, _UNUSED = 1, 3, 4, 5
_BLOCK: Final = 32
_library = cast("Any", gguf)


def write_gguf(folder: Path, target: Path) -> None:
    """Write the model in ``folder`` to the file ``target``.

    Raises:
        ModelLoadError: The folder is not one of ours, or its tokeniser has no name in GGUF.
        OSError: The target cannot be written.
    """
    weights, text = FolderWeights(folder), open_text(folder)
    spec = weights.spec
    # GGUF has no name for Mistral: it is a llama.
    architecture = "llama" if spec.architecture == "mistral" else spec.architecture
    writer = _library.GGUFWriter(target, architecture)
    _add_sizes(writer, spec)
    _add_text(writer, text, spec)
    _add_matrix(writer, "token_embd.weight", weights.embedding())
    if not spec.tied:
        _add_matrix(writer, "output.weight", weights.head())
    writer.add_tensor("output_norm.weight", weights.final_norm())
    for index in range(spec.layers):
        _add_layer(writer, index, weights.layer(index), spec, paired=architecture == "llama")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_sizes(writer: Any, spec: LlamaSpec) -> None:
    writer.add_file_type(_library.LlamaFileType.MOSTLY_Q8_0)
    writer.add_block_count(spec.layers)
    writer.add_embedding_length(spec.hidden_size)
    writer.add_feed_forward_length(spec.intermediate_size)
    writer.add_head_count(spec.heads)
    writer.add_head_count_kv(spec.kv_heads)
    writer.add_key_length(spec.head_size)
    writer.add_value_length(spec.head_size)
    writer.add_rope_dimension_count(spec.head_size)
    writer.add_context_length(spec.context_tokens)
    writer.add_layer_norm_rms_eps(spec.norm_epsilon)
    writer.add_rope_freq_base(spec.rope_theta)
    writer.add_vocab_size(spec.vocabulary_size)
    if spec.rope_factors:
        writer.add_tensor("rope_freqs.weight", np.array(spec.rope_factors, dtype=np.float32))


def _add_text(writer: Any, text: TextModel, spec: LlamaSpec) -> None:
    document: Any = msgspec.json.decode(text.tokenizer_json)
    name = splitter_name(document)
    if name is None or document["model"]["type"] != "BPE":
        raise ModelLoadError(
            "its tokenizer has no counterpart in GGUF that is known here (byte-level BPE of GPT-2, SmolLM, "
            "Llama 3 or Qwen 2)",
            hint="use the backend onnxruntime or torch, or give a GGUF file",
        )
    words, kinds = _vocabulary(document, spec.vocabulary_size)
    merges = [
        merge if isinstance(merge, str) else " ".join(merge)
        for merge in document["model"]["merges"]
    ]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(name)
    writer.add_token_list(words)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_eos_token_id(min(text.end_tokens))
    if text.chat_template is not None:
        writer.add_chat_template(text.chat_template)


def _vocabulary(document: Any, size: int) -> tuple[list[str], list[int]]:
    """Words by number and their kinds; numbers without a word get one that no text contains."""
    words = [f"[unused{number}]" for number in range(size)]
    kinds = [_UNUSED] * size
    for word, number in document["model"]["vocab"].items():
        words[number], kinds[number] = word, _NORMAL
    for added in document["added_tokens"]:
        words[added["id"]] = added["content"]
        kinds[added["id"]] = _CONTROL if added["special"] else _USER_DEFINED
    return words, kinds


def _add_layer(
    writer: Any, index: int, weights: LayerWeights, spec: LlamaSpec, *, paired: bool
) -> None:
    for field, name in GGUF.fields.items():
        values: F32 | None = getattr(weights, field)
        if values is None:
            continue
        if paired and field in {"q", "k", "q_bias", "k_bias"}:
            values = _paired(values, spec.head_size)
        _add_matrix(writer, f"blk.{index}.{name}", values)


def _paired(values: F32, head_size: int) -> F32:
    """GGUF's llama files hold the dimensions that are rotated together next to each other."""
    halves = values.reshape(-1, 2, head_size // 2, *values.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(values.shape)


def _add_matrix(writer: Any, name: str, values: F32) -> None:
    if values.ndim == 1 or values.shape[-1] % _BLOCK:
        writer.add_tensor(name, values)
        return
    kind = _library.GGMLQuantizationType.Q8_0
    writer.add_tensor(name, _library.quants.quantize(values, kind), raw_dtype=kind)
