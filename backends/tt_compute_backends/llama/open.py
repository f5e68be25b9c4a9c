"""Opens the weights of a model of the Llama family, wherever they lie."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Final

from tt_compute.errors import ModelLoadError
from tt_compute_backends.llama.folder_weights import FolderWeights
from tt_compute_backends.llama.gguf_weights import GgufWeights
from tt_compute_backends.llama.outputs import GENERATING, Output
from tt_compute_backends.llama.spec import LlamaWeights

__all__ = ["find_weights", "open_weights"]

_SUFFIX: Final = ".gguf"
_HINT: Final = "set source.path to a .gguf file or a Hugging Face folder"


def open_weights(path: Path, outputs: Collection[Output] = GENERATING) -> LlamaWeights:
    """Look at the model and check it; its numbers are read when asked for.

    Args:
        path: See ``find_weights``.
        outputs: Kinds of models that the caller can use; other ones are refused.

    Raises:
        ModelLoadError: Damaged, incomplete, or of a kind that is not read.
    """
    found = find_weights(path)
    return FolderWeights(found, outputs) if found.is_dir() else GgufWeights(found)


def find_weights(path: Path) -> Path:
    """The GGUF file or the Hugging Face folder that ``path`` stands for.

    Args:
        path: A ``.gguf`` file; a folder with ``config.json`` and safetensors; or, where there is no ``config.json``,
            a folder that holds exactly one ``.gguf`` file.

    Raises:
        ModelLoadError: It is none of them.
    """
    if path.is_dir():
        return path if (path / "config.json").exists() else _only_file(path)
    if not path.exists():
        raise ModelLoadError(f"{path} does not exist", hint=_HINT)
    if path.suffix != _SUFFIX:
        raise ModelLoadError(f"{path} is no {_SUFFIX} file, by its name", hint=_HINT)
    return path


def _only_file(folder: Path) -> Path:
    files = sorted(folder.glob(f"*{_SUFFIX}"))
    if len(files) == 1:
        return files[0]
    if files:
        names = ", ".join(file.name for file in files)
        raise ModelLoadError(
            f"{folder} holds {len(files)} GGUF files, and no config.json: {names}",
            hint="set source.path to one of them",
        )
    raise ModelLoadError(f"{folder} holds neither config.json nor a GGUF file", hint=_HINT)
