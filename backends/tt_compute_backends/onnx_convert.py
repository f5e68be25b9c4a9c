"""Makes an ONNX folder of a GGUF file or a Hugging Face folder.

    python -m tt_compute_backends.onnx_convert SOURCE TARGET --precision int8

The folder is complete in itself: the graph with its weights, and beside it the small files of a Hugging Face
folder, so that the tokeniser, the chat template and the limits travel with it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, cast, get_args

import msgspec
from safetensors.numpy import save

from tt_compute.errors import ModelLoadError
from tt_compute_backends.llama.open import open_weights
from tt_compute_backends.llama.outputs import OUTPUTS, architecture
from tt_compute_backends.llama.pooling import pooling_documents, read_pooling
from tt_compute_backends.llama.reward_head import REWARDING, reward_tensors
from tt_compute_backends.llama.spec import LlamaSpec
from tt_compute_backends.onnx_files import REWARD_FILE, GraphPrecision
from tt_compute_backends.onnx_graph import write_graph
from tt_compute_backends.text.model import TextModel, open_text

__all__ = ["convert", "main"]


def convert(source: Path, target: Path, precision: GraphPrecision) -> None:
    """Fill the existing, empty folder ``target``.

    Raises:
        ModelLoadError: The source cannot be read.
        OSError: The target cannot be written.
    """
    weights = open_weights(source, OUTPUTS)
    output = weights.spec.output
    text = open_text(source, generates=output == "tokens")
    write_graph(weights, target, precision)
    if output in REWARDING:
        (target / REWARD_FILE).write_bytes(save(reward_tensors(weights.reward())))
    documents = _documents(weights.spec, text, precision)
    if output == "none":
        documents |= pooling_documents(read_pooling(source))
    for name, document in documents.items():
        (target / name).parent.mkdir(exist_ok=True)
        (target / name).write_bytes(msgspec.json.format(msgspec.json.encode(document)))
    (target / "tokenizer.json").write_text(text.tokenizer_json, encoding="utf-8")


def _documents(
    spec: LlamaSpec, text: TextModel, precision: GraphPrecision
) -> dict[str, dict[str, Any]]:
    end_tokens = sorted(text.end_tokens)
    return {
        "config.json": {
            "model_type": spec.architecture,
            "architectures": [architecture(spec.architecture, spec.output)],
            "vocab_size": spec.vocabulary_size,
            "max_position_embeddings": spec.context_tokens,
            "num_hidden_layers": spec.layers,
            "hidden_size": spec.hidden_size,
            "num_attention_heads": spec.heads,
            "num_key_value_heads": spec.kv_heads,
            "head_dim": spec.head_size,
            "eos_token_id": end_tokens,
            "pad_token_id": spec.pad_token,
            "tt_compute": {"precision": precision},
        },
        "generation_config.json": {"eos_token_id": end_tokens},
        "tokenizer_config.json": {
            "chat_template": text.chat_template,
            "bos_token": text.bos_token,
            "eos_token": text.eos_token,
        },
    }


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0, or 1 with the reason as the last line of standard error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--precision", choices=get_args(GraphPrecision), default="int8")
    given = parser.parse_args(arguments)
    try:
        convert(given.source, given.target, cast("GraphPrecision", given.precision))
    except (ModelLoadError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
