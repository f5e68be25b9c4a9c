"""Weights the user names: looked at, never changed, and never a pickle."""

from __future__ import annotations

from pathlib import Path

from tt_compute.errors import ModelLoadError, ModelNotFound

__all__ = ["checked_local_file", "checked_local_model"]

_MAGIC = {"gguf": b"GGUF"}
_PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")
"""Bare pickles of protocols 2 to 5, and the zip around one that torch writes."""


def checked_local_model(path: Path, file_format: str) -> Path:
    """``path`` if it is a file that begins like ``file_format``, or a folder that holds a model.

    Such a folder has a ``config.json`` (Hugging Face's layout, an ONNX graph's folder too). What else is in it
    is the runtime's to judge.

    Raises:
        ModelNotFound: There is nothing of that name, or it cannot be read.
        ModelLoadError: It is of another kind.
    """
    if not path.is_dir():
        return checked_local_file(path, file_format)
    if not (path / "config.json").is_file():
        raise ModelLoadError(
            f"the folder {path} holds no model: it has no config.json",
            hint="set `source: {path: ...}` of the deployment to a .gguf file or a Hugging Face folder",
        )
    return path


def checked_local_file(path: Path, file_format: str) -> Path:
    """``path`` if it is a regular file that begins like ``file_format``.

    Its digest is not compared: a user's own file need not be the profile's.

    Raises:
        ModelNotFound: There is no such file, or it is not a regular one or cannot be read.
        ModelLoadError: It is a file of another kind.
    """
    hint = "change `source: {path: ...}` of the deployment"
    try:
        if not path.is_file():
            what = "is not a regular file" if path.exists() else "does not exist"
            raise ModelNotFound(f"the model file {path} {what}", hint=hint)
        with path.open("rb") as source:
            start = source.read(4)
    except OSError as exc:
        raise ModelNotFound(
            f"the model file {path} cannot be read ({exc.strerror})", hint=hint
        ) from exc
    if start.startswith(_PICKLES):
        raise ModelLoadError(f"{path} looks like a pickle, which is never loaded", hint=hint)
    magic = _MAGIC.get(file_format, b"")
    if not start.startswith(magic):
        raise ModelLoadError(f"{path} is not a {file_format} file: it starts {start!r}", hint=hint)
    return path
