"""Tiny random models of the Llama family as files, and their arithmetic spelt out.

The arithmetic is NumPy's, from the papers and one token at a time, to hold the runtimes against.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from tt_compute_backends.llama.outputs import STEPS, Output
from tt_compute_backends.llama.reward_head import REWARDING
from tt_compute_backends.llama.spec import F32, LayerWeights, LlamaSpec, RewardLayer

TEMPLATE = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
CONTROL = ["<|end|>", "<|user|>", "<|assistant|>", "<|system|>"]
VOCABULARY = 256 + len(CONTROL)
STEP_END = "<extra_0>"
"""The last token of process reward models, and of no others."""


class TinyModel:
    """Satisfies ``LlamaWeights``."""

    def __init__(
        self,
        architecture: str = "llama",
        *,
        tied: bool = True,
        rope_factors: tuple[float, ...] = (),
        output: Output = "tokens",
        reward_layers: int = 1,
        pad_token: int | None = None,
        seed: int = 0,
    ) -> None:
        self.spec = LlamaSpec(
            architecture=architecture,
            layers=2,
            hidden_size=64,
            intermediate_size=96,
            heads=4,
            kv_heads=2,
            head_size=16,
            vocabulary_size=VOCABULARY + (output in STEPS),
            context_tokens=512,
            norm_epsilon=2.0**-16,
            rope_theta=10_000.0,
            rope_factors=rope_factors,
            tied=tied and output == "tokens",
            output=output,
            pad_token=pad_token,
        )
        self._random = np.random.default_rng(seed)
        self._embedding = self._matrix(self.spec.vocabulary_size, 64)
        self._head = self._embedding if tied else self._matrix(VOCABULARY, 64)
        self._norm = self._vector(64)
        self._layers = [self._layer() for _ in range(2)]
        labels = REWARDING.get(output)
        self._reward = () if labels is None else self._reward_head(reward_layers, labels)

    def embedding(self) -> F32:
        return self._embedding

    def head(self) -> F32:
        return self._head

    def final_norm(self) -> F32:
        return self._norm

    def layer(self, index: int) -> LayerWeights:
        return self._layers[index]

    def reward(self) -> tuple[RewardLayer, ...]:
        return self._reward

    def _reward_head(self, layers: int, labels: int) -> tuple[RewardLayer, ...]:
        if layers == 1:
            bias = None if labels == 1 else self._vector(labels, 0)
            return (RewardLayer(weight=self._matrix(labels, 64), bias=bias),)
        return (
            RewardLayer(weight=self._matrix(64, 64), bias=self._vector(64, 0)),
            RewardLayer(weight=self._matrix(labels, 64), bias=self._vector(labels, 0)),
        )

    def _matrix(self, outputs: int, inputs: int) -> F32:
        made: F32 = (self._random.standard_normal((outputs, inputs)) / inputs**0.5).astype(
            np.float32
        )
        return made

    def _vector(self, size: int, around: float = 1.0) -> F32:
        made: F32 = (around + 0.2 * self._random.standard_normal(size)).astype(np.float32)
        return made

    def _layer(self) -> LayerWeights:
        biased = self.spec.architecture == "qwen2"
        normed = self.spec.architecture == "qwen3"
        return LayerWeights(
            attention_norm=self._vector(64),
            q=self._matrix(64, 64) * 3,
            k=self._matrix(32, 64) * 3,
            v=self._matrix(32, 64),
            o=self._matrix(64, 64),
            q_bias=self._vector(64, 0) if biased else None,
            k_bias=self._vector(32, 0) if biased else None,
            v_bias=self._vector(32, 0) if biased else None,
            q_norm=self._vector(16) if normed else None,
            k_norm=self._vector(16) if normed else None,
            ffn_norm=self._vector(64),
            gate=self._matrix(96, 64),
            up=self._matrix(96, 64),
            down=self._matrix(64, 96),
        )


# --- the arithmetic ------------------------------------------------------------------------------


def reference_logits(model: Any, token_ids: list[int]) -> F32:
    """Logits after the last token, in float64 and the plainest way."""
    last = reference_hidden(model, token_ids)[-1]
    logits: F32 = (last @ model.head().T).astype(np.float32)
    return logits


def reference_hidden(model: Any, token_ids: Sequence[int]) -> NDArray[np.float64]:
    """Every token's hidden state behind the last norm, likewise."""
    spec: LlamaSpec = model.spec
    x = model.embedding()[list(token_ids)].astype(np.float64)
    for index in range(spec.layers):
        weights = model.layer(index)
        x += _attention(spec, weights, _rms(x, weights.attention_norm, spec.norm_epsilon))
        normed = _rms(x, weights.ffn_norm, spec.norm_epsilon)
        gate = normed @ weights.gate.T
        x += (gate / (1 + np.exp(-gate)) * (normed @ weights.up.T)) @ weights.down.T
    hidden: NDArray[np.float64] = _rms(x, model.final_norm(), spec.norm_epsilon)
    return hidden


def reference_step_scores(
    model: Any, tokens: Sequence[int], ends: Sequence[int]
) -> NDArray[np.float64]:
    """How likely the head of a process reward model finds the second label at each of some places."""
    x = reference_hidden(model, tokens)[list(ends)]
    *inner, last = model.reward()
    for layer in inner:
        x = np.maximum(x @ layer.weight.T + layer.bias, 0)
    shares = np.exp(x @ last.weight.T + last.bias)
    good: NDArray[np.float64] = shares[:, 1] / shares.sum(1)
    return good


def chat_in_steps(question: str, steps: Sequence[str], system: str) -> list[int]:
    """A solution as a process reward model is shown it, each step's end the last token of the vocabulary."""
    made = tokenizer(STEP_END)
    shown = "".join(step + STEP_END for step in steps)
    ids: list[int] = made.encode(
        f"<|system|>{system}<|end|><|user|>{question}<|end|><|assistant|>{shown}<|end|>"
    ).ids
    return ids


def _rms(x: NDArray[Any], scale: F32, epsilon: float) -> NDArray[Any]:
    normed: NDArray[Any] = x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon) * scale
    return normed


def _attention(spec: LlamaSpec, weights: LayerWeights, x: NDArray[Any]) -> NDArray[Any]:
    def heads(matrix: F32, bias: F32 | None) -> NDArray[Any]:
        made = x @ matrix.T + (0 if bias is None else bias)
        return made.reshape(len(x), -1, spec.head_size)

    q, k = heads(weights.q, weights.q_bias), heads(weights.k, weights.k_bias)
    v = heads(weights.v, weights.v_bias)
    if weights.q_norm is not None and weights.k_norm is not None:
        q = _rms(q, weights.q_norm, spec.norm_epsilon)
        k = _rms(k, weights.k_norm, spec.norm_epsilon)
    q, k = _rotated(spec, q), _rotated(spec, k)
    out = np.zeros_like(q)
    for head in range(spec.heads):
        shared = head // (spec.heads // spec.kv_heads)
        for place in range(len(x)):
            scores = k[: place + 1, shared] @ q[place, head] / spec.head_size**0.5
            shares = np.exp(scores - scores.max())
            out[place, head] = shares / shares.sum() @ v[: place + 1, shared]
    mixed: NDArray[Any] = out.reshape(len(x), -1) @ weights.o.T
    return mixed


def _rotated(spec: LlamaSpec, x: NDArray[Any]) -> NDArray[Any]:
    """Each pair (i, i + half) as a complex number, turned by its angle."""
    half = spec.head_size // 2
    factors = np.array(spec.rope_factors or (1.0,) * half)
    speeds = spec.rope_theta ** (-np.arange(half) * 2 / spec.head_size) / factors
    turned = (x[..., :half] + 1j * x[..., half:]) * np.exp(
        1j * np.outer(np.arange(len(x)), speeds)
    )[:, None]
    return np.concatenate((turned.real, turned.imag), -1)


_ENDS = {
    ("reward", 1): "ForSequenceClassification",
    ("reward", 2): "ForRewardModel",
    ("plain_steps", 1): "ForTokenClassification",
    ("steps", 1): "ForProcessRewardModel",
    ("steps", 2): "ForProcessRewardModel",
}
"""Of an architecture's name, by output and layers of the head."""


# --- the files -----------------------------------------------------------------------------------


def tokenizer(*more: str) -> Any:
    """One token per byte, and the control tokens."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made: Any = Tokenizer(models.BPE({letter: place for place, letter in enumerate(letters)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([*CONTROL, *more])
    return made


def write_folder(model: Any, folder: Path, dtype: Any = np.float32, text: Any = None) -> Path:
    """As Hugging Face folders are; ``text`` is another model's than that of the tiny ones."""
    folder.mkdir(parents=True, exist_ok=True)
    spec = model.spec
    config: dict[str, Any] = {
        "model_type": spec.architecture,
        "num_hidden_layers": spec.layers,
        "hidden_size": spec.hidden_size,
        "intermediate_size": spec.intermediate_size,
        "num_attention_heads": spec.heads,
        "num_key_value_heads": spec.kv_heads,
        "head_dim": spec.head_size,
        "vocab_size": spec.vocabulary_size,
        "max_position_embeddings": spec.context_tokens,
        "rms_norm_eps": spec.norm_epsilon,
        "rope_theta": spec.rope_theta,
        "tie_word_embeddings": spec.tied,
        "eos_token_id": 256 if text is None else sorted(text.end_tokens),
    }
    if spec.output != "tokens":
        end = _ENDS.get((spec.output, len(model.reward())), "Model")
        config["architectures"] = [spec.architecture.capitalize() + end]
    if spec.pad_token is not None:
        config["pad_token_id"] = spec.pad_token
    if spec.rope_factors:
        config["rope_scaling"] = {"rope_type": "linear", "factor": spec.rope_factors[0]}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    made = tokenizer(STEP_END) if spec.output in STEPS else tokenizer()
    (folder / "tokenizer.json").write_text(
        made.to_str() if text is None else text.tokenizer_json, encoding="utf-8"
    )
    template = TEMPLATE if text is None else text.chat_template
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"chat_template": template, "eos_token": "<|end|>"}), encoding="utf-8"
    )
    tensors = {name: values.astype(dtype) for name, values in _folder_tensors(model).items()}
    library: Any = importlib.import_module("safetensors.numpy")
    library.save_file(tensors, folder / "model.safetensors")
    return folder


def _folder_tensors(model: Any) -> dict[str, F32]:
    tensors = {
        "model.embed_tokens.weight": model.embedding(),
        "model.norm.weight": model.final_norm(),
    }
    if model.spec.output == "tokens" and not model.spec.tied:
        tensors["lm_head.weight"] = model.head()
    layers: Any = model.reward()
    for place, layer in enumerate(layers):
        name = "score" if len(layers) == 1 else f"score.{2 * place}"
        tensors[f"{name}.weight"] = layer.weight
        if layer.bias is not None:
            tensors[f"{name}.bias"] = layer.bias
    names = {
        "attention_norm": "input_layernorm.weight",
        "q": "self_attn.q_proj.weight",
        "k": "self_attn.k_proj.weight",
        "v": "self_attn.v_proj.weight",
        "o": "self_attn.o_proj.weight",
        "q_bias": "self_attn.q_proj.bias",
        "k_bias": "self_attn.k_proj.bias",
        "v_bias": "self_attn.v_proj.bias",
        "q_norm": "self_attn.q_norm.weight",
        "k_norm": "self_attn.k_norm.weight",
        "ffn_norm": "post_attention_layernorm.weight",
        "gate": "mlp.gate_proj.weight",
        "up": "mlp.up_proj.weight",
        "down": "mlp.down_proj.weight",
    }
    for index in range(model.spec.layers):
        weights = model.layer(index)
        for field, name in names.items():
            values = getattr(weights, field)
            if values is not None:
                tensors[f"model.layers.{index}.{name}"] = values
    if model.spec.output == "none":
        return {name.removeprefix("model."): values for name, values in tensors.items()}
    return tensors


def write_gguf(model: TinyModel, path: Path) -> Path:
    """As llama.cpp's converter does: a llama's heads hold neighbours that are rotated together."""
    spec, writer = model.spec, gguf.GGUFWriter(str(path), model.spec.architecture)
    made: Any = writer
    made.add_block_count(spec.layers)
    made.add_embedding_length(spec.hidden_size)
    made.add_feed_forward_length(spec.intermediate_size)
    made.add_head_count(spec.heads)
    made.add_head_count_kv(spec.kv_heads)
    made.add_key_length(spec.head_size)
    made.add_value_length(spec.head_size)
    made.add_context_length(spec.context_tokens)
    made.add_layer_norm_rms_eps(spec.norm_epsilon)
    made.add_rope_freq_base(spec.rope_theta)
    if spec.rope_factors:
        made.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        made.add_rope_scaling_factor(spec.rope_factors[0])
    words = tokenizer().get_vocab(with_added_tokens=True)
    made.add_tokenizer_model("gpt2")
    made.add_tokenizer_pre("gpt-2")
    made.add_token_list([word for word, _ in sorted(words.items(), key=lambda item: item[1])])
    made.add_token_types([1] * 256 + [3] * len(CONTROL))
    made.add_token_merges([])
    made.add_eos_token_id(256)
    made.add_chat_template(TEMPLATE)
    for name, values in _gguf_tensors(model).items():
        made.add_tensor(name, values)
    made.write_header_to_file()
    made.write_kv_data_to_file()
    made.write_tensors_to_file()
    made.close()
    return path


def _gguf_tensors(model: TinyModel) -> dict[str, F32]:
    names = {
        "model.embed_tokens.": "token_embd.",
        "model.norm.": "output_norm.",
        "lm_head.": "output.",
        "model.layers.": "blk.",
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
        "self_attn.q_norm": "attn_q_norm",
        "self_attn.k_norm": "attn_k_norm",
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
    }
    tensors: dict[str, F32] = {}
    for name, values in _folder_tensors(model).items():
        turned = values
        if model.spec.architecture == "llama" and (".q_proj" in name or ".k_proj" in name):
            heads = model.spec.heads if ".q_proj" in name else model.spec.kv_heads
            halves = values.reshape(heads, 2, model.spec.head_size // 2, *values.shape[1:])
            turned = np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(values.shape)
        new = name
        for old, short in names.items():
            new = new.replace(old, short)
        tensors[new] = turned
    return tensors
