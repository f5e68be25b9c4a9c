"""How a folder's process reward model wants the steps of an answer marked."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tt_compute.errors import ModelLoadError
from tt_compute_backends.llama.outputs import STEPS, Output
from tt_compute_backends.text.model import TextModel
from tt_compute_backends.text.sequences import StepMarks

__all__ = ["check_no_separator", "read_steps"]

_SEPARATOR: Final = "<extra_0>"
_SYSTEM: Final = "Please reason step by step, and put your final answer within \\boxed{}."
"""Both from https://huggingface.co/Qwen/Qwen2.5-Math-PRM-7B."""


def read_steps(
    folder: Path,
    output: Output,
    text: TextModel,
    separator: str | None,
    vocabulary_size: int | None = None,
) -> StepMarks | None:
    """What the folder, or whoever deploys it, says; None = the model is of another kind.

    Models of Qwen's class read a chat, those that TRL's ``PRMTrainer`` makes a plain question and its steps:
    ``PRMTrainer.tokenize_row`` in https://github.com/huggingface/trl/blob/main/trl/experimental/prm/prm_trainer.py.

    Args:
        folder: Where the model is.
        output: What it is for.
        text: How it reads.
        separator: The deployment's ``options.step_separator``.
        vocabulary_size: Tokens that the model knows; None = nobody says.

    Raises:
        ModelLoadError: The separator is unknown, or none that the tokenizer has, or the model has no steps.
    """
    if output not in STEPS:
        check_no_separator(separator)
        return None
    if output == "steps":
        marks = _in_chat(folder, text, _SEPARATOR if separator is None else separator)
    else:
        marks = _plain(folder, text, separator)
    beyond = max((*marks.begin, *marks.tokens), default=0)
    if vocabulary_size is not None and beyond >= vocabulary_size:
        raise ModelLoadError(
            f"{folder}: token {beyond} of the step separator {marks.separator!r} is beyond the model's "
            f"{vocabulary_size}"
        )
    return marks


def check_no_separator(separator: str | None) -> None:
    """Of a model that is no process reward model.

    Raises:
        ModelLoadError: One is stated.
    """
    if separator is not None:
        raise ModelLoadError(
            "options.step_separator is stated, and the model is no process reward model",
            hint="leave it out",
        )


def _in_chat(folder: Path, text: TextModel, separator: str) -> StepMarks:
    token = text.added_token(separator)
    if token is None:
        raise ModelLoadError(
            f"{folder}: the tokenizer has no token {separator!r}, which marks the end of a step",
            hint="say in options.step_separator which token the model was trained with",
        )
    if text.chat_template is None:
        raise ModelLoadError(
            f"{folder} has no chat template, within which the steps are shown",
            hint="give it in the model's profile: `chat_template`",
        )
    return StepMarks(separator=separator, tokens=(token,), in_chat=True, system=_SYSTEM)


def _plain(folder: Path, text: TextModel, separator: str | None) -> StepMarks:
    if separator is None:
        raise ModelLoadError(
            f"{folder} does not say what ends a step, nor whether the labels are those of steps at all",
            hint="if TRL's PRMTrainer made the model, say in options.step_separator what it was trained with; "
            'its default is a line break, "\\n"',
        )
    tokens = tuple(text.encode(separator))
    if not tokens:
        raise ModelLoadError(f"{folder}: the step separator {separator!r} makes no token")
    begin = () if text.bos_token is None else tuple(text.encode(text.bos_token))
    return StepMarks(separator=separator, tokens=tokens, in_chat=False, begin=begin)
