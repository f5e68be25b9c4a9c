"""Where the weights of a model are looked for."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tt_compute.errors import ModelLoadError
from tt_compute_backends.llama.open import find_weights, open_weights

MakeGguf = Callable[..., Path]
MakeFolder = Callable[..., Path]


def test_a_folder_with_one_gguf_file_stands_for_it(make_gguf: MakeGguf, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    file = Path(shutil.copy(make_gguf(), folder))
    assert find_weights(folder) == file
    assert open_weights(folder).spec == open_weights(file).spec


def test_a_config_counts_before_a_gguf_file_beside_it(
    make_gguf: MakeGguf, make_folder: MakeFolder
) -> None:
    folder = make_folder("qwen2")
    shutil.copy(make_gguf("llama"), folder)
    assert open_weights(folder).spec.architecture == "qwen2"


def test_of_several_gguf_files_none_is_guessed(make_gguf: MakeGguf, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("one.gguf", "two.gguf"):
        shutil.copy(make_gguf(), folder / name)
    with pytest.raises(ModelLoadError, match=r"2 GGUF files.*one\.gguf, two\.gguf"):
        open_weights(folder)


def test_a_place_without_a_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "model.safetensors").write_bytes(b"")
    for name, reason in {
        "empty": "holds neither config.json nor a GGUF file",
        "gone.gguf": "does not exist",
        "gone": "does not exist",
        "model.safetensors": "is no .gguf file",
    }.items():
        with pytest.raises(ModelLoadError, match=reason) as caught:
            open_weights(tmp_path / name)
        assert caught.value.hint is not None
