"""Opens the weights of a model of the Llama family, wherever they lie."""

from __future__ import annotations

from pathlib import Path

from tt_compute.errors import ModelLoadError
from tt_compute_backends.llama.folder_weights import FolderWeights
from tt_compute_backends.llama.gguf_weights import GgufWeights
from tt_compute_backends.llama.spec import LlamaWeights

__all__ = ["open_weights"]


def open_weights(path: Path) -> LlamaWeights:
    """Look at the model and check it; its numbers are read when asked for.

    Args:
        path: A GGUF file, or a Hugging Face folder with ``config.json`` and safetensors.

    Raises:
        ModelLoadError: Damaged, incomplete, or of a kind that is not read.
    """
    if path.is_dir():
        return FolderWeights(path)
    if path.suffix != ".gguf":
        raise ModelLoadError(
            f"{path}: neither a GGUF file (by its name) nor a folder",
            hint="set source.path to a .gguf file or a Hugging Face folder",
        )
    return GgufWeights(path)
