"""What a folder's model gives of a hidden state, told from its small files; imports nothing heavy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from tt_compute.errors import ModelLoadError

__all__ = [
    "GENERATING",
    "MODULES",
    "OUTPUTS",
    "READABLE",
    "STEPS",
    "Output",
    "architecture",
    "folder_output",
]

Output = Literal["tokens", "reward", "steps", "plain_steps", "none"]
"""What the output layer makes of a hidden state: a number for each token, one reward, a verdict on the step that ends
there (process reward models that read a chat, or plain text), or nothing because there is none (models that are made
for their hidden states)."""
OUTPUTS: Final[tuple[Output, ...]] = ("tokens", "reward", "steps", "plain_steps", "none")
STEPS: Final[tuple[Output, ...]] = ("steps", "plain_steps")
GENERATING: Final[tuple[Output, ...]] = ("tokens",)

MODULES: Final = "modules.json"
"""Beside models of sentence-transformers, which are embedding models whatever their architecture is called."""
_ENDS: Final[dict[str, Output]] = {
    "ForCausalLM": "tokens",
    "ForSequenceClassification": "reward",
    "ForRewardModel": "reward",
    "ForProcessRewardModel": "steps",
    "ForTokenClassification": "plain_steps",
}
"""By how an architecture's name ends."""
_BARE: Final = re.compile(r"[A-Z][a-z]+\d*Model")
"""LlamaModel, Qwen3Model: the stack of layers alone; Qwen2ForRewardModel is something else."""
READABLE: Final = f"{', '.join(f'*{end}' for end in _ENDS)} and the stack of layers alone"


def folder_output(folder: Path, config: dict[str, Any]) -> Output | None:
    """What the model of a folder is for; None = a kind that is not read.

    Args:
        folder: Where it is.
        config: Its ``config.json``.

    Raises:
        ModelLoadError: ``architectures`` is no list of names.
    """
    try:
        names = msgspec.convert(config.get("architectures"), list[str] | None)
    except msgspec.ValidationError as error:
        raise ModelLoadError(f"{folder / 'config.json'}: architectures: {error}") from error
    named: Output | None = "tokens"
    if names is not None:
        named = next((found for name in names if (found := _of(name)) is not None), None)
    if named == "tokens" and (folder / MODULES).is_file():
        return "none"
    return named


def architecture(model_type: str, output: Output) -> str:
    """A name that ``folder_output`` reads as ``output``."""
    ends = {found: end for end, found in reversed(_ENDS.items())} | {"none": "Model"}
    return model_type.capitalize() + ends[output]


def _of(name: str) -> Output | None:
    for end, output in _ENDS.items():
        if name.endswith(end):
            return output
    return "none" if _BARE.fullmatch(name) else None
