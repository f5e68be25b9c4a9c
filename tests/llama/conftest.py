"""The tiny models of ``tests/local`` as files that say something else than they should."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, cast

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray

_library: Any = gguf
_TYPES: dict[type, Any] = {
    bool: _library.GGUFValueType.BOOL,
    int: _library.GGUFValueType.INT64,
    float: _library.GGUFValueType.FLOAT32,
    str: _library.GGUFValueType.STRING,
    list: _library.GGUFValueType.ARRAY,
}

Changes = Mapping[str, Any]
MakeGguf = Callable[..., Path]
MakeFolder = Callable[..., Path]


@pytest.fixture(scope="session")
def tiny() -> Any:
    """The module of the tiny models."""
    sys.path.append(str(Path(__file__).parents[1] / "local"))
    return importlib.import_module("tiny")


@pytest.fixture
def make_gguf(tiny: Any, tmp_path: Path) -> MakeGguf:
    """Writes a tiny model's file with other keys and tensors."""

    def make(
        architecture: str = "llama",
        *,
        keys: Changes | None = None,
        tensors: Mapping[str, NDArray[Any]] | None = None,
        quantised: Mapping[str, str] | None = None,
        dropped: Collection[str] = (),
    ) -> Path:
        """Write it.

        Args:
        architecture: Of the model.
        keys: Added, or put in place of the model's own.
        tensors: Likewise.
        quantised: Types of tensors of the model, by name.
        dropped: Names of keys and tensors that are left out.
        """
        whole = tiny.write_gguf(tiny.TinyModel(architecture), tmp_path / "whole.gguf")
        reader, target = _library.GGUFReader(whole), tmp_path / "model.gguf"
        writer = _library.GGUFWriter(target, architecture)
        _copy_keys(reader, writer, keys or {}, dropped)
        _copy_tensors(reader, writer, tensors or {}, quantised or {}, dropped)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return target

    return make


def _first(values: Any) -> object:
    first: object = values[0]
    return first


def _copy_keys(reader: Any, writer: Any, changes: Changes, dropped: Collection[str]) -> None:
    for field in reader.fields.values():
        replaced = field.name in changes or field.name in dropped
        if not (replaced or field.name.startswith("GGUF.") or field.name == "general.architecture"):
            inner = field.types[-1] if len(field.types) > 1 else None
            writer.add_key_value(field.name, field.contents(), field.types[0], inner)
    for key, value in changes.items():
        inner = _TYPES[type(_first(value))] if isinstance(value, list) else None
        kind: type = type(cast("object", value))
        writer.add_key_value(key, value, _TYPES[kind], inner)


def _copy_tensors(
    reader: Any,
    writer: Any,
    changes: Mapping[str, NDArray[Any]],
    quantised: Mapping[str, str],
    dropped: Collection[str],
) -> None:
    held = {
        tensor.name: np.array(tensor.data).reshape(tensor.shape[::-1]) for tensor in reader.tensors
    }
    for name, values in (held | dict(changes)).items():
        if name in quantised:
            kind = _library.GGMLQuantizationType[quantised[name]]
            writer.add_tensor(name, _library.quants.quantize(values, kind), raw_dtype=kind)
        elif name not in dropped:
            writer.add_tensor(name, values)


@pytest.fixture
def make_folder(tiny: Any, tmp_path: Path) -> MakeFolder:
    """Writes a tiny model's folder with another ``config.json`` and other tensors."""

    def make(
        architecture: str = "llama",
        *,
        config: Changes | None = None,
        tensors: Mapping[str, NDArray[Any]] | None = None,
        dropped: Collection[str] = (),
    ) -> Path:
        """Write it.

        Args:
        architecture: Of the model.
        config: Added to ``config.json``, or put in place of what it says.
        tensors: Likewise.
        dropped: Names of keys and tensors that are left out.
        """
        folder: Path = tiny.write_folder(tiny.TinyModel(architecture), tmp_path / "model")
        document = json.loads((folder / "config.json").read_text()) | dict(config or {})
        kept = {key: value for key, value in document.items() if key not in dropped}
        (folder / "config.json").write_text(json.dumps(kept))
        library: Any = importlib.import_module("safetensors.numpy")
        file = folder / "model.safetensors"
        held = library.load_file(file) | dict(tensors or {})
        library.save_file({key: held[key] for key in held if key not in dropped}, file)
        return folder

    return make
