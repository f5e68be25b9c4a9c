"""What an ONNX folder's model gives of texts, by the small files beside its graph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from tt_compute.errors import ModelLoadError
from tt_compute_backends.llama.outputs import READABLE, Output, folder_output
from tt_compute_backends.llama.pooling import read_pooling
from tt_compute_backends.llama.reward_head import REWARDING, reward_layers, reward_shapes
from tt_compute_backends.llama.safetensors_file import SafetensorsFile
from tt_compute_backends.llama.spec import RewardLayer
from tt_compute_backends.llama.steps import read_steps
from tt_compute_backends.loop.forward import F32, ReadingForward
from tt_compute_backends.loop.readable import Readable
from tt_compute_backends.onnx_files import REWARD_FILE
from tt_compute_backends.text.folder import read_json
from tt_compute_backends.text.model import TextModel

__all__ = ["context_tokens", "read_output", "read_readable"]

_DEFAULT_CONTEXT_TOKENS = 2048


class _Config(msgspec.Struct, frozen=True, kw_only=True):
    pad_token_id: int | None = None
    vocab_size: int | None = None
    max_position_embeddings: int = _DEFAULT_CONTEXT_TOKENS


def read_output(folder: Path) -> Output:
    """What the model is for; one that does not say generates.

    Raises:
        ModelLoadError: Damaged, or something that is not read.
    """
    config = read_json(folder / "config.json")
    output = folder_output(folder, config)
    if output is None:
        names: object = config.get("architectures")
        raise ModelLoadError(
            f"{folder / 'config.json'}: architectures {names}; those read are {READABLE}"
        )
    return output


def context_tokens(folder: Path, positions: int | None) -> int:
    """Most tokens of a text, the model's own limit.

    Args:
        folder: Its ``config.json`` may say more than the graph was made for.
        positions: Which the graph knows; None = it does not say.
    """
    found = _config(folder).max_position_embeddings
    stated = found if found > 0 else _DEFAULT_CONTEXT_TOKENS
    return stated if positions is None else min(stated, positions)


def read_readable(
    folder: Path,
    output: Output,
    forward: ReadingForward[Any],
    hidden_size: int,
    text: TextModel,
    *,
    step_separator: str | None,
    logits: Callable[[F32], F32] | None = None,
) -> Readable:
    """The loaded model with what is to be made of its hidden states; ``logits`` as in ``Readable``.

    Raises:
        ModelLoadError: A file beside the graph is missing or damaged, or does not fit it.
    """
    config = _config(folder)
    return Readable(
        forward=forward,
        output=output,
        hidden_size=hidden_size,
        logits=logits,
        reward=_read_reward(folder / REWARD_FILE, hidden_size, output)
        if output in REWARDING
        else (),
        pad_token=config.pad_token_id,
        pooling=read_pooling(folder) if output == "none" else "mean",
        steps=read_steps(folder, output, text, step_separator, config.vocab_size),
    )


def _config(folder: Path) -> _Config:
    path = folder / "config.json"
    try:
        return msgspec.convert(read_json(path), _Config)
    except msgspec.ValidationError as error:
        raise ModelLoadError(f"{path}: {error}") from error


def _read_reward(path: Path, hidden_size: int, output: Output) -> tuple[RewardLayer, ...]:
    file = SafetensorsFile(path)
    for name, shape in reward_shapes(file.shapes, hidden_size, output).items():
        if file.shapes.get(name) != shape or not file.readable(name):
            raise ModelLoadError(
                f"{path}: {name} is {file.shapes.get(name)}, expected {shape} in F32, F16 or BF16"
            )
    return tuple(
        RewardLayer(weight=file.read(weight), bias=None if bias is None else file.read(bias))
        for weight, bias in reward_layers(file.shapes, output)
    )
