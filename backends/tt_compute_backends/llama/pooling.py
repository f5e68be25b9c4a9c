"""Which hidden state stands for a text, as the files of sentence-transformers beside a model say it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from tt_compute.errors import ModelLoadError
from tt_compute_backends.llama.outputs import MODULES
from tt_compute_backends.text.folder import read_json

__all__ = ["Pooling", "pooling_documents", "read_pooling"]

Pooling = Literal["mean", "last"]

_FOLDER: Final = "1_Pooling"
_KINDS: Final = ("Transformer", "Pooling", "Normalize")
"""Modules that are followed; vectors are normalised in any case."""
_MODES: Final[dict[str, Pooling]] = {"mean": "mean", "lasttoken": "last"}
_FLAG: Final = "pooling_mode_"


class _Module(msgspec.Struct, frozen=True, kw_only=True):
    type: str
    path: str = ""


def read_pooling(folder: Path) -> Pooling:
    """The mean over all tokens, or the last one; the mean where the folder does not say.

    Raises:
        ModelLoadError: Damaged, or another way, or there are modules that would be left out.
    """
    where = _pooling_folder(folder) / "config.json"
    settings = read_json(where)
    stated: Any = settings.get("pooling_mode")
    modes = [stated] if isinstance(stated, str) else stated or _flagged(settings)
    if not settings or modes == []:
        return "mean"
    for known, pooling in _MODES.items():
        if modes == [known]:
            return pooling
    raise ModelLoadError(f"{where}: pooling {modes!r}; read are {' or '.join(_MODES)}")


def pooling_documents(pooling: Pooling) -> dict[str, dict[str, Any]]:
    """Files, by path in the folder, that ``read_pooling`` reads as ``pooling``."""
    (mode,) = (name for name, known in _MODES.items() if known == pooling)
    return {f"{_FOLDER}/config.json": {"pooling_mode": mode}}


def _flagged(settings: dict[str, Any]) -> list[str]:
    """The modes of older files, a key each."""
    modes = [key.removeprefix(_FLAG) for key, value in settings.items() if value is True]
    return [mode.removesuffix("_tokens") for mode in modes if f"{_FLAG}{mode}" in settings]


def _pooling_folder(folder: Path) -> Path:
    """Where ``modules.json`` has it."""
    path = folder / MODULES
    if not path.is_file():
        return folder / _FOLDER
    try:
        modules = msgspec.json.decode(path.read_bytes(), type=list[_Module])
    except (OSError, msgspec.DecodeError) as error:
        raise ModelLoadError(f"{path} cannot be read: {error}") from error
    kinds = {module.type.rpartition(".")[2]: module.path for module in modules}
    left_out = [kind for kind in kinds if kind not in _KINDS]
    if left_out:
        raise ModelLoadError(f"{path}: modules {left_out}; those read are {', '.join(_KINDS)}")
    inside = kinds.get("Pooling", _FOLDER)
    if Path(inside).is_absolute() or ".." in Path(inside).parts or "\0" in inside:
        raise ModelLoadError(f"{path}: the path {inside!r} is none of a folder beside it")
    return folder / inside
