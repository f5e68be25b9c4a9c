"""Who runs in ``local_runtimes.py``: our backends and their peers, each in its best known configuration."""

from __future__ import annotations

import asyncio
import importlib
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

import tt_compute as tt
from llama_cpp_peer import LlamaCpp
from throughput import Bare
from tt_compute.modelstore.store import LocalModelStore
from tt_compute.types import Sample
from tt_compute_backends.llama.open import open_weights
from tt_compute_backends.onnx_files import graph_converter
from tt_compute_backends.openvino import REQUANTISER
from tt_compute_backends.text.model import open_text

__all__ = ["CONTESTANTS", "PAIRS", "TOKENS", "Job", "Made", "store"]

TOKENS = 128
TEMPERATURE, TOP_P, SEED = 0.8, 0.95, 1
MODEL = "smollm2-135m-instruct"
LOCAL = "local/smollm2-135m-"


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One run."""

    text: str
    n: int
    tokens: int


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    tokens: int
    took_s: float
    first_s: float
    rss_bytes: int


Run = Callable[[Job], tuple[int, float]]
"""Returns the tokens made, and when the first one was there."""


# --- contestants ---------------------------------------------------------------------------------


def ours(runtime: str, threads: int, options: dict[str, object] | None = None) -> Run:
    """One of our backends, as an application uses it."""
    override: dict[str, object] = {"placement": {"threads": threads}, "options": options or {}}
    config = tt.Config.from_mapping(
        {
            "deployments": [{"id": LOCAL + runtime, "override": override}],
            "store": {"enabled": False},
        }
    )
    loop = asyncio.new_event_loop()
    client = tt.AsyncClient(config)
    loop.run_until_complete(client.warm(LOCAL + runtime))

    async def generate(job: Job) -> tuple[int, float]:
        sampling = tt.SamplingParams(
            temperature=TEMPERATURE, top_p=TOP_P, max_tokens=job.tokens, seed=SEED
        )
        samples = await client.generate(
            job.text, deployment=LOCAL + runtime, n=job.n, sampling=sampling
        )
        first = [one.timing.first_token_s or 0.0 for one in samples if isinstance(one, Sample)]
        return sum(sample.usage.output_tokens for sample in samples), min(first)

    return lambda job: loop.run_until_complete(generate(job))


def bare_openvino(threads: int) -> Run:
    """Continuous batching, one request per sample, prefix cache, leader first; on the file that we run."""
    bare = Bare(requantised(), threads)

    def run(job: Job) -> tuple[int, float]:
        made = bare.run(job.text, job.n, job.tokens)
        return made, bare.first_s

    return run


def onnxruntime_genai(threads: int) -> Run:
    """Its own generator on our graph, prompts copied to a batch of N; the best way it has for samples."""
    library: Any = importlib.import_module("onnxruntime_genai")
    folder = genai_folder(onnx_folder(), threads)
    model = library.Model(str(folder))
    tokenizer = library.Tokenizer(model)

    def run(job: Job) -> tuple[int, float]:
        started, first_s, made = time.perf_counter(), 0.0, 0
        ids = tokenizer.encode(chat(job.text))
        params = library.GeneratorParams(model)
        params.set_search_options(
            batch_size=job.n,
            do_sample=True,
            temperature=TEMPERATURE,
            top_p=TOP_P,
            max_length=len(ids) + job.tokens,
            random_seed=SEED,
        )
        generator = library.Generator(model, params)
        generator.append_tokens([list(ids)] * job.n)
        while not generator.is_done():
            generator.generate_next_token()
            first_s = first_s or time.perf_counter() - started
        for row in range(job.n):
            made += len(trimmed(list(generator.get_sequence(row))[len(ids) :]))
        return made, first_s

    return run


def transformers_generate(threads: int) -> Run:
    """``generate`` in bfloat16 with ``num_return_sequences``, weights as we read them."""
    torch: Any = importlib.import_module("torch")
    model, tokenizer = transformers_model(torch)
    torch.set_num_threads(threads)

    def run(job: Job) -> tuple[int, float]:
        ids = torch.tensor([tokenizer.encode(chat(job.text))])
        torch.manual_seed(SEED)
        watch = FirstToken()
        out = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=True,
            temperature=TEMPERATURE,
            top_p=TOP_P,
            top_k=0,
            max_new_tokens=job.tokens,
            num_return_sequences=job.n,
            eos_token_id=END_TOKENS,
            pad_token_id=END_TOKENS[0],
            stopping_criteria=[watch],
        )
        made = sum(len(trimmed(row[ids.shape[1] :].tolist())) for row in out)
        return made, watch.first_s

    return run


def llama_cpp(threads: int) -> Run:
    """One batch of N sequences over one prefill, on the 8-bit file that OpenVINO runs; built for this CPU."""
    temperature, top_p, seed = TEMPERATURE, TOP_P, SEED
    peer = LlamaCpp(requantised(), threads, temperature=temperature, top_p=top_p, seed=seed)
    return lambda job: peer.run(peer.encode(chat(job.text)), job.n, job.tokens)


CONTESTANTS: dict[str, tuple[str, Callable[[int], Run]]] = {
    "openvino (ours)": ("openvino_genai", lambda threads: ours("openvino", threads)),
    "openvino-genai": ("openvino_genai", bare_openvino),
    "onnxruntime (ours)": ("onnxruntime", lambda threads: ours("onnxruntime", threads)),
    "onnxruntime-genai": ("onnxruntime_genai", onnxruntime_genai),
    "torch bf16 (ours)": ("torch", lambda threads: ours("torch", threads)),
    "torch int8 (ours)": ("torch", lambda threads: ours("torch", threads, {"dtype": "int8"})),
    "transformers bf16": ("transformers", transformers_generate),
    "llama.cpp": ("llama_cpp", llama_cpp),
}
"""Name -> the module it needs, and how it is made ready."""
PAIRS = {
    "openvino (ours)": "openvino-genai",
    "onnxruntime (ours)": "onnxruntime-genai",
    "torch bf16 (ours)": "transformers bf16",
}


# --- what the peers need -------------------------------------------------------------------------

END_TOKENS = [2, 0]
"""<|im_end|> and <|endoftext|> of SmolLM2."""


class FirstToken:
    """A stopping criterion that never stops; it notes when it is first asked."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self.first_s = 0.0

    def __call__(self, input_ids: Any, _scores: Any, **_: Any) -> Any:
        self.first_s = self.first_s or time.perf_counter() - self._started
        torch: Any = importlib.import_module("torch")
        return torch.zeros(len(input_ids), dtype=torch.bool)


def trimmed(tokens: list[int]) -> list[int]:
    """Up to and with the first end token."""
    ends = [place for place, token in enumerate(tokens) if token in END_TOKENS]
    return tokens[: ends[0] + 1] if ends else tokens


def chat(text: str) -> str:
    return (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
        f"<|im_end|>\n<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"
    )


def store() -> tuple[LocalModelStore, Path]:
    """Where models lie, and the embedded one's file."""
    config = tt.Config.from_mapping({"store": {"enabled": False}})
    made = LocalModelStore(config.cache_dir)
    return made, asyncio.run(made.pull(config.library.model(MODEL), "gguf"))


def requantised() -> Path:
    """The file that our OpenVINO backend loads."""
    made, path = store()
    return asyncio.run(made.convert(path, REQUANTISER)) / "model.gguf"


def onnx_folder() -> Path:
    made, path = store()
    return asyncio.run(made.convert(path, graph_converter("int8")))


def genai_folder(folder: Path, threads: int) -> Path:
    """Our folder with the settings that onnxruntime-genai wants beside the graph."""
    spec = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    made = Path(tempfile.mkdtemp(prefix="genai-"))
    for path in folder.iterdir():
        (made / path.name).symlink_to(path)
    decoder: dict[str, Any] = {
        "session_options": {
            "log_id": "genai",
            "provider_options": [],
            "intra_op_num_threads": threads,
        },
        "filename": "model.onnx",
        "head_size": spec["head_dim"],
        "hidden_size": spec["hidden_size"],
        "num_attention_heads": spec["num_attention_heads"],
        "num_hidden_layers": spec["num_hidden_layers"],
        "num_key_value_heads": spec["num_key_value_heads"],
        "inputs": {
            "input_ids": "input_ids",
            "attention_mask": "attention_mask",
            "past_key_names": "past_key_values.%d.key",
            "past_value_names": "past_key_values.%d.value",
        },
        "outputs": {
            "logits": "logits",
            "present_key_names": "present.%d.key",
            "present_value_names": "present.%d.value",
        },
    }
    model: dict[str, Any] = {
        "type": "llama",
        "vocab_size": spec["vocab_size"],
        "context_length": spec["max_position_embeddings"],
        "bos_token_id": 1,
        "eos_token_id": END_TOKENS,
        "pad_token_id": 2,
        "decoder": decoder,
    }
    search = {"max_length": 2048, "past_present_share_buffer": True}
    (made / "genai_config.json").write_text(
        json.dumps({"model": model, "search": search}), encoding="utf-8"
    )
    return made


def transformers_model(torch: Any) -> tuple[Any, Any]:
    library: Any = importlib.import_module("transformers")
    _, path = store()
    weights, spec = open_weights(path), open_weights(path).spec
    config = library.LlamaConfig(
        vocab_size=spec.vocabulary_size,
        hidden_size=spec.hidden_size,
        intermediate_size=spec.intermediate_size,
        num_hidden_layers=spec.layers,
        num_attention_heads=spec.heads,
        num_key_value_heads=spec.kv_heads,
        max_position_embeddings=spec.context_tokens,
        rms_norm_eps=spec.norm_epsilon,
        rope_theta=spec.rope_theta,
        tie_word_embeddings=True,
    )
    model = library.LlamaForCausalLM(config)
    names = {
        "attention_norm": "input_layernorm.weight",
        "q": "self_attn.q_proj.weight",
        "k": "self_attn.k_proj.weight",
        "v": "self_attn.v_proj.weight",
        "o": "self_attn.o_proj.weight",
        "ffn_norm": "post_attention_layernorm.weight",
        "gate": "mlp.gate_proj.weight",
        "up": "mlp.up_proj.weight",
        "down": "mlp.down_proj.weight",
    }
    state = {
        "model.embed_tokens.weight": weights.embedding(),
        "model.norm.weight": weights.final_norm(),
    }
    for index in range(spec.layers):
        layer = weights.layer(index)
        state |= {
            f"model.layers.{index}.{name}": getattr(layer, part) for part, name in names.items()
        }
    tensors = {name: torch.from_numpy(values) for name, values in state.items()}
    model.load_state_dict(tensors, strict=False)
    model.tie_weights()
    return model.to(torch.bfloat16).eval(), open_text(path)
