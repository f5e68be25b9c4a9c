"""A model of the Llama family from a Hugging Face folder: ``config.json`` and safetensors."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Final

import msgspec

from tt_compute.errors import ModelLoadError
from tt_compute_backends.llama.folder_config import read_folder_config
from tt_compute_backends.llama.layout import BARE_FOLDER, FOLDER, check_tensors
from tt_compute_backends.llama.outputs import GENERATING, Output
from tt_compute_backends.llama.reward_head import (
    PREFIX,
    REWARDING,
    check_labels,
    reward_layers,
)
from tt_compute_backends.llama.safetensors_file import SafetensorsFile
from tt_compute_backends.llama.spec import F32, LayerWeights, LlamaSpec, RewardLayer
from tt_compute_backends.text.folder import read_json

__all__ = ["FolderWeights"]

_INDEX: Final = "model.safetensors.index.json"
_SINGLE: Final = "model.safetensors"
_STACK: Final = ("model.", "lm_head.")
"""What the names of a model's tensors begin with; others belong to whoever wrote the file."""
_BARE_STACK: Final = ("embed_tokens.", "layers.", "norm.", "lm_head.")
_TABLE: Final = ".rotary_emb.inv_freq"
"""Old files hold the rotation's frequencies, which follow from ``config.json``."""


class FolderWeights:
    """Satisfies ``LlamaWeights``.

    Args:
        folder: With ``config.json`` and the weights.
        outputs: Kinds of models that the caller can use.

    Raises:
        ModelLoadError: Damaged, incomplete, of another architecture, or with parts that would be misread.
    """

    def __init__(self, folder: Path, outputs: Collection[Output] = GENERATING) -> None:
        config = read_folder_config(folder, outputs)
        self.spec: LlamaSpec = config.spec
        self._files = _tensors(folder)
        bare = FOLDER.embedding not in self._files and BARE_FOLDER.embedding in self._files
        self._names = BARE_FOLDER if bare else FOLDER
        stack = _BARE_STACK if bare else _STACK
        self._parts = (*stack, PREFIX) if self.spec.output in REWARDING else stack
        shapes = {name: file.shapes[name] for name, file in self._files.items()}
        check_labels(folder, shapes, self.spec.output)
        check_tensors(
            folder,
            self.spec,
            self._names,
            shapes,
            biased=config.biased,
            ignored=self._without_effect,
        )
        for name, file in self._files.items():
            if name.startswith(self._parts) and not file.readable(name):
                raise ModelLoadError(
                    f"{file.path}: {name} is of type {file.dtype(name)}; F32, F16 and BF16 are read"
                )

    def embedding(self) -> F32:
        return self._read(self._names.embedding)

    def final_norm(self) -> F32:
        return self._read(self._names.final_norm)

    def head(self) -> F32:
        return self.embedding() if self.spec.tied else self._read(self._names.head)

    def reward(self) -> tuple[RewardLayer, ...]:
        if self.spec.output not in REWARDING:
            return ()
        return tuple(
            RewardLayer(weight=self._read(weight), bias=None if bias is None else self._read(bias))
            for weight, bias in reward_layers(self._files, self.spec.output)
        )

    def layer(self, index: int) -> LayerWeights:
        return LayerWeights(
            **{
                field: self._read(name)
                for field, name in self._names.of_layer(index).items()
                if name in self._files
            }
        )

    def _without_effect(self, name: str) -> bool:
        if name == FOLDER.head:
            return self.spec.tied or self.spec.output != "tokens"
        return not name.startswith(self._parts) or name.endswith(_TABLE)

    def _read(self, name: str) -> F32:
        return self._files[name].read(name)


def _tensors(folder: Path) -> dict[str, SafetensorsFile]:
    """The file of each tensor."""
    found: dict[str, SafetensorsFile] = {}
    for file_name in _file_names(folder):
        file = SafetensorsFile(folder / file_name)
        for name in file.shapes:
            if name in found:
                raise ModelLoadError(
                    f"{folder}: {name} is in {found[name].path.name} and {file_name}"
                )
            found[name] = file
    return found


def _file_names(folder: Path) -> list[str]:
    names = [_SINGLE]
    if (folder / _INDEX).exists():
        try:
            index = msgspec.convert(read_json(folder / _INDEX).get("weight_map"), dict[str, str])
        except msgspec.ValidationError as error:
            raise ModelLoadError(f"{folder / _INDEX}: weight_map: {error}") from error
        names = sorted(set(index.values()))
    present = {path.name for path in folder.iterdir()}
    for name in names:
        if "/" in name or "\\" in name or name in {"", ".", ".."}:
            raise ModelLoadError(f"{folder / _INDEX} names {name!r}, a file outside its folder")
        if name not in present:
            raise _missing(folder, name)
    return names


def _missing(folder: Path, name: str) -> ModelLoadError:
    pickles = sorted(path.name for path in (*folder.glob("*.bin"), *folder.glob("*.pt*")))
    if pickles:
        return ModelLoadError(
            f"{folder} has its weights as {pickles[0]}, a pickle, which is never loaded",
            hint="convert them to safetensors, or fetch the folder's safetensors revision",
        )
    return ModelLoadError(f"{folder / name} is missing")
