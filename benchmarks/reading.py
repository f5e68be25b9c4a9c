"""Texts made into vectors by each local backend, beside transformers, on the same weights in the same run.

    pip install transformers
    python benchmarks/reading.py --output docs/figures/reading.md

The stack of the embedded model stands for an embedding model of its size: the mean of its hidden states, which is
what is timed, is nobody's idea of a good vector. Runs are interleaved; transformers is left out where it is missing.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

import tt_compute as tt
from contestants import store
from report import conditions, markdown, write
from throughput import WORDS
from tt_compute_backends.llama.layout import BARE_FOLDER
from tt_compute_backends.llama.open import open_weights
from tt_compute_backends.text.model import open_text

Embed = Callable[[Sequence[str]], NDArray[np.float64]]
OURS: dict[str, tuple[str, dict[str, object]]] = {
    "torch-fp32": ("torch", {"dtype": "fp32"}),
    "torch-bf16": ("torch", {}),
    "onnxruntime-int8": ("onnxruntime", {}),
    "openvino-int8": ("openvino", {}),
}
PEER = "transformers"
BATCH = 32
"""Of the peer, which pads: what sentence-transformers takes by default."""
LOADS = {"64 of 12 words": (64, 12), "16 of 80 words": (16, 80), "4 of 400 words": (4, 400)}
SEED = 3
PADDING = "<|endoftext|>"
VERSIONS = ("torch", "onnxruntime", "openvino", PEER)
EXPLANATION = f"""\
Tokens/s by number and length of the texts: median (range), interleaved. The peer pads batches of {BATCH} texts of like lengths.
Cosine: the least with the vector that the first line gives the same text.
The weights are the embedded model's, 135 million parameters."""


def texts(count: int, words: int, round_number: int) -> list[str]:
    """Between half as many and half as many again."""
    rng = random.Random(f"{SEED} {words} {round_number}")
    return [
        " ".join(rng.choices(WORDS, k=rng.randint(words // 2, words * 3 // 2)))
        for _ in range(count)
    ]


def write_folder(folder: Path) -> Path:
    """The embedded model's stack as a folder of an embedding model."""
    _, path = store()
    weights, text = open_weights(path), open_text(path)
    spec = weights.spec
    tensors = {
        BARE_FOLDER.embedding: weights.embedding(),
        BARE_FOLDER.final_norm: weights.final_norm(),
    }
    for index in range(spec.layers):
        layer = weights.layer(index)
        tensors |= {
            name: values
            for field, name in BARE_FOLDER.of_layer(index).items()
            if (values := getattr(layer, field)) is not None
        }
    (folder / "model.safetensors").write_bytes(save(tensors))
    config = {
        "architectures": ["LlamaModel"],
        "model_type": spec.architecture,
        "vocab_size": spec.vocabulary_size,
        "hidden_size": spec.hidden_size,
        "intermediate_size": spec.intermediate_size,
        "num_hidden_layers": spec.layers,
        "num_attention_heads": spec.heads,
        "num_key_value_heads": spec.kv_heads,
        "max_position_embeddings": spec.context_tokens,
        "rms_norm_eps": spec.norm_epsilon,
        "rope_theta": spec.rope_theta,
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "tokenizer.json").write_text(text.tokenizer_json, encoding="utf-8")
    (folder / "tokenizer_config.json").write_text("{}", encoding="utf-8")
    return folder


def ours(client: tt.AsyncClient, loop: asyncio.AbstractEventLoop, name: str) -> Embed:
    def embed(given: Sequence[str]) -> NDArray[np.float64]:
        return np.array(loop.run_until_complete(client.embed(given, deployment=name)))

    return embed


def peer(folder: Path, threads: int, dtype: str) -> Embed:
    """Padded batches of texts of like lengths, the mean over what is no padding."""
    torch: Any = importlib.import_module("torch")
    library: Any = importlib.import_module("transformers")
    torch.set_num_threads(threads)
    model = library.AutoModel.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
    tokenizer = library.PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"), pad_token=PADDING
    )

    def embed(given: Sequence[str]) -> NDArray[np.float64]:
        order = sorted(range(len(given)), key=lambda place: -len(given[place]))
        found: dict[int, NDArray[np.float64]] = {}
        for start in range(0, len(order), BATCH):
            places = order[start : start + BATCH]
            inputs = tokenizer(
                [given[place] for place in places], padding=True, return_tensors="pt"
            )
            with torch.inference_mode():
                hidden = model(**inputs).last_hidden_state.float()
            mask = inputs["attention_mask"][..., None]
            vectors = torch.nn.functional.normalize((hidden * mask).sum(1), dim=-1)
            found |= dict(zip(places, vectors.double().numpy(), strict=True))
        return np.array([found[place] for place in range(len(given))])

    return embed


def config(folder: Path, threads: int) -> tt.Config:
    entries = [
        {
            "id": name,
            "backend": backend,
            "model": {"id": f"reading-{place}"},
            "hardware": "x86-cpu",
            "source": {"path": str(folder)},
            "placement": {"threads": threads},
            "options": options,
        }
        for place, (name, (backend, options)) in enumerate(OURS.items())
    ]
    return tt.Config.from_mapping({"deployments": entries, "store": {"enabled": False}})


def tokens_of(folder: Path, given: Sequence[str]) -> int:
    encode = open_text(folder, generates=False).encode
    return sum(len(encode(text)) for text in given)


def measure(
    contestants: dict[str, Embed], folder: Path, rounds: int
) -> tuple[dict[tuple[str, str], list[float]], dict[str, float]]:
    """Tokens per second by contestant and load, and the least cosine with the first contestant's vectors."""
    speeds: dict[tuple[str, str], list[float]] = {}
    least = dict.fromkeys(contestants, 1.0)
    for embed in contestants.values():
        embed(texts(8, 40, -1))
    for round_number in range(rounds):
        for load, (count, words) in LOADS.items():
            given = texts(count, words, round_number)
            tokens = tokens_of(folder, given)
            vectors: dict[str, NDArray[np.float64]] = {}
            for name, embed in contestants.items():
                started = time.perf_counter()
                vectors[name] = embed(given)
                took_s = time.perf_counter() - started
                speeds.setdefault((name, load), []).append(tokens / took_s)
            exact = next(iter(vectors.values()))
            for name, found in vectors.items():
                least[name] = min(least[name], float((exact * found).sum(1).min()))
    return speeds, least


def report(speeds: dict[tuple[str, str], list[float]], least: dict[str, float], rounds: int) -> str:
    rows = [
        [
            name,
            *(
                f"{statistics.median(found):,.0f} ({min(found):,.0f}-{max(found):,.0f})"
                for found in (speeds[name, load] for load in LOADS)
            ),
            f"{cosine:.4f}",
        ]
        for name, cosine in least.items()
    ]
    parts = (
        "# Texts made into vectors",
        f"`python benchmarks/reading.py --rounds {rounds}`: {conditions(*VERSIONS)}.",
        EXPLANATION,
        markdown(("contestant", *LOADS, "cosine"), rows),
    )
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    loop = asyncio.new_event_loop()
    with tempfile.TemporaryDirectory() as made:
        folder = write_folder(Path(made))
        client = tt.AsyncClient(config(folder, given.threads))
        contestants: dict[str, Embed] = {}
        if find_spec("transformers"):
            for dtype in ("float32", "bfloat16"):
                contestants[f"{PEER}, {dtype}"] = peer(folder, given.threads, dtype)
        contestants |= {name: ours(client, loop, name) for name in OURS}
        speeds, least = measure(contestants, folder, given.rounds)
        loop.run_until_complete(client.aclose())
    write(given.output, report(speeds, least, given.rounds))


if __name__ == "__main__":
    main()
