"""A model of the Llama family from a Hugging Face folder: ``config.json`` and safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, cast

from tt_compute.errors import ModelLoadError
from tt_compute_backends.llama.folder_config import read_folder_spec
from tt_compute_backends.llama.safetensors_file import SafetensorsFile
from tt_compute_backends.llama.spec import F32, LayerWeights, LlamaSpec
from tt_compute_backends.text.folder import read_json

__all__ = ["FolderWeights"]

_INDEX: Final = "model.safetensors.index.json"
_SINGLE: Final = "model.safetensors"
_UNFOLLOWED: Final = (
    "self_attn.o_proj.bias",
    "mlp.gate_proj.bias",
    "mlp.up_proj.bias",
    "mlp.down_proj.bias",
)
"""Tensors that would change the arithmetic and are not followed."""


class FolderWeights:
    """Satisfies ``LlamaWeights``. The files stay mapped until the object is dropped.

    Args:
        folder: With ``config.json`` and the weights.

    Raises:
        ModelLoadError: Damaged, incomplete, of another architecture, or with parts that would be misread.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.spec: LlamaSpec = read_folder_spec(folder)
        self._files = {name: file for file in _files(folder) for name in file.names}
        _check(folder, self.spec, self._files)

    def embedding(self) -> F32:
        return self._read("model.embed_tokens.weight")

    def final_norm(self) -> F32:
        return self._read("model.norm.weight")

    def head(self) -> F32:
        return self.embedding() if self.spec.tied else self._read("lm_head.weight")

    def layer(self, index: int) -> LayerWeights:
        place = f"model.layers.{index}."
        return LayerWeights(
            attention_norm=self._read(f"{place}input_layernorm.weight"),
            q=self._read(f"{place}self_attn.q_proj.weight"),
            k=self._read(f"{place}self_attn.k_proj.weight"),
            v=self._read(f"{place}self_attn.v_proj.weight"),
            o=self._read(f"{place}self_attn.o_proj.weight"),
            q_bias=self._maybe(f"{place}self_attn.q_proj.bias"),
            k_bias=self._maybe(f"{place}self_attn.k_proj.bias"),
            v_bias=self._maybe(f"{place}self_attn.v_proj.bias"),
            q_norm=self._maybe(f"{place}self_attn.q_norm.weight"),
            k_norm=self._maybe(f"{place}self_attn.k_norm.weight"),
            ffn_norm=self._read(f"{place}post_attention_layernorm.weight"),
            gate=self._read(f"{place}mlp.gate_proj.weight"),
            up=self._read(f"{place}mlp.up_proj.weight"),
            down=self._read(f"{place}mlp.down_proj.weight"),
        )

    def _maybe(self, name: str) -> F32 | None:
        return self._read(name) if name in self._files else None

    def _read(self, name: str) -> F32:
        return self._files[name].read(name)


def _files(folder: Path) -> list[SafetensorsFile]:
    index = read_json(folder / _INDEX).get("weight_map")
    if not isinstance(index, dict):
        names = {_SINGLE}
    else:
        names = {str(name) for name in cast("dict[str, object]", index).values()}
    for name in names:
        if Path(name).name != name:
            raise ModelLoadError(f"{folder / _INDEX} names {name!r}, a file outside its folder")
        if not (folder / name).is_file():
            raise _missing(folder, name)
    return [SafetensorsFile(folder / name) for name in sorted(names)]


def _missing(folder: Path, name: str) -> ModelLoadError:
    pickles = sorted(path.name for path in (*folder.glob("*.bin"), *folder.glob("*.pt*")))
    if pickles:
        return ModelLoadError(
            f"{folder} has its weights as {pickles[0]}, a pickle, which is never loaded",
            hint="convert them to safetensors, or fetch the folder's safetensors revision",
        )
    return ModelLoadError(f"{folder / name} is missing")


def _check(folder: Path, spec: LlamaSpec, files: Mapping[str, SafetensorsFile]) -> None:
    for name, shape in _shapes(spec).items():
        file = files.get(name)
        if file is None:
            raise ModelLoadError(f"{folder}: no tensor {name}")
        if file.shape(name) != shape:
            raise ModelLoadError(f"{folder}: {name} is {file.shape(name)}, expected {shape}")
        if not file.readable(name):
            raise ModelLoadError(
                f"{folder}: {name} is of type {file.dtype(name)}; F32, F16 and BF16 are read"
            )
    for name in files:
        if name.endswith(_UNFOLLOWED):
            raise ModelLoadError(f"{folder}: {name} is a part that this reader does not follow")


def _shapes(spec: LlamaSpec) -> dict[str, tuple[int, ...]]:
    hidden, ffn = spec.hidden_size, spec.intermediate_size
    q, kv = spec.heads * spec.head_size, spec.kv_heads * spec.head_size
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (spec.vocabulary_size, hidden),
        "model.norm.weight": (hidden,),
    }
    if not spec.tied:
        shapes["lm_head.weight"] = (spec.vocabulary_size, hidden)
    for layer in range(spec.layers):
        place = f"model.layers.{layer}."
        shapes |= {
            f"{place}input_layernorm.weight": (hidden,),
            f"{place}self_attn.q_proj.weight": (q, hidden),
            f"{place}self_attn.k_proj.weight": (kv, hidden),
            f"{place}self_attn.v_proj.weight": (kv, hidden),
            f"{place}self_attn.o_proj.weight": (hidden, q),
            f"{place}post_attention_layernorm.weight": (hidden,),
            f"{place}mlp.gate_proj.weight": (ffn, hidden),
            f"{place}mlp.up_proj.weight": (ffn, hidden),
            f"{place}mlp.down_proj.weight": (hidden, ffn),
        }
    return shapes
