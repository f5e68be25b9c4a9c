"""The tensors of the Llama family: which there are, how large they are, what each kind of file calls them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

import msgspec

from tt_compute.errors import ModelLoadError
from tt_compute_backends.llama.reward_head import REWARDING, reward_shapes
from tt_compute_backends.llama.spec import LlamaSpec

__all__ = [
    "BARE_FOLDER",
    "FOLDER",
    "GGUF",
    "MOST_HEAD_SIZE",
    "Shape",
    "TensorNames",
    "check_tensors",
    "layer_shapes",
]

MOST_HEAD_SIZE: Final = 4096
"""Dimensions of one head; 16 times the largest known. Tables are made of it before any tensor is seen."""

Shape = tuple[int, ...]


class TensorNames(msgspec.Struct, frozen=True, kw_only=True):
    """What one kind of file calls the tensors."""

    embedding: str
    final_norm: str
    head: str
    layer: str
    """What the names of one layer begin with; ``{}`` is its number."""
    fields: dict[str, str]
    """How they go on, by field of ``LayerWeights``."""

    def of_layer(self, index: int) -> dict[str, str]:
        """Names of one layer's tensors, by field of ``LayerWeights``."""
        place = self.layer.format(index)
        return {field: place + name for field, name in self.fields.items()}


GGUF: Final = TensorNames(
    embedding="token_embd.weight",
    final_norm="output_norm.weight",
    head="output.weight",
    layer="blk.{}.",
    fields={
        "attention_norm": "attn_norm.weight",
        "q": "attn_q.weight",
        "k": "attn_k.weight",
        "v": "attn_v.weight",
        "o": "attn_output.weight",
        "q_bias": "attn_q.bias",
        "k_bias": "attn_k.bias",
        "v_bias": "attn_v.bias",
        "q_norm": "attn_q_norm.weight",
        "k_norm": "attn_k_norm.weight",
        "ffn_norm": "ffn_norm.weight",
        "gate": "ffn_gate.weight",
        "up": "ffn_up.weight",
        "down": "ffn_down.weight",
    },
)
FOLDER: Final = TensorNames(
    embedding="model.embed_tokens.weight",
    final_norm="model.norm.weight",
    head="lm_head.weight",
    layer="model.layers.{}.",
    fields={
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
    },
)


BARE_FOLDER: Final = msgspec.structs.replace(
    FOLDER,
    embedding="embed_tokens.weight",
    final_norm="norm.weight",
    layer="layers.{}.",
)
"""Where the stack of layers was saved by itself, without what stands above it."""


def layer_shapes(spec: LlamaSpec, *, biased: bool) -> dict[str, Shape]:
    """Shapes of all that a layer has, by field of ``LayerWeights``.

    Args:
        spec: Of the model.
        biased: Whether the projections to queries, keys and values have a bias.
    """
    hidden, ffn = spec.hidden_size, spec.intermediate_size
    q, kv = spec.heads * spec.head_size, spec.kv_heads * spec.head_size
    shapes: dict[str, Shape] = {
        "attention_norm": (hidden,),
        "q": (q, hidden),
        "k": (kv, hidden),
        "v": (kv, hidden),
        "o": (hidden, q),
        "ffn_norm": (hidden,),
        "gate": (ffn, hidden),
        "up": (ffn, hidden),
        "down": (hidden, ffn),
    }
    if biased:
        shapes |= {"q_bias": (q,), "k_bias": (kv,), "v_bias": (kv,)}
    if spec.architecture == "qwen3":
        shapes |= {"q_norm": (spec.head_size,), "k_norm": (spec.head_size,)}
    return shapes


def check_tensors(
    where: object,
    spec: LlamaSpec,
    names: TensorNames,
    found: Mapping[str, Shape],
    *,
    biased: bool,
    ignored: Callable[[str], bool],
) -> None:
    """Hold a file's tensors against those that the model must have.

    Args:
        where: The file, for the message.
        spec: What the file says of itself.
        names: What its kind of file calls the tensors.
        found: Shapes of those that are there.
        biased: See ``layer_shapes``.
        ignored: Whether a tensor that is not of the model, by its name, changes no arithmetic.

    Raises:
        ModelLoadError: One is missing, of another shape, or of a part that would be left out.
    """
    known: set[str] = set()
    for name, shape in _expected(spec, names, found, biased=biased):
        if name not in found:
            raise ModelLoadError(f"{where}: no tensor {name}")
        if found[name] != shape:
            raise ModelLoadError(f"{where}: {name} is {found[name]}, expected {shape}")
        known.add(name)
    for name in found:
        if name not in known and not ignored(name):
            raise ModelLoadError(f"{where}: {name} is of a part that this reader does not follow")


def _expected(
    spec: LlamaSpec, names: TensorNames, found: Mapping[str, Shape], *, biased: bool
) -> Iterator[tuple[str, Shape]]:
    """One by one, because the number of layers is not to be believed before their tensors are seen."""
    vocabulary = (spec.vocabulary_size, spec.hidden_size)
    yield names.embedding, vocabulary
    yield names.final_norm, (spec.hidden_size,)
    if spec.output in REWARDING:
        yield from reward_shapes(found, spec.hidden_size, spec.output).items()
    elif spec.output == "tokens" and not spec.tied:
        yield names.head, vocabulary
    shapes = layer_shapes(spec, biased=biased)
    for index in range(spec.layers):
        of_layer = names.of_layer(index)
        for field, shape in shapes.items():
            yield of_layer[field], shape
