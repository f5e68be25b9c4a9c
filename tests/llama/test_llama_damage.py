"""Damaged files are refused, or read as what they say; nothing else ever comes out of them."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tt_compute.errors import ModelLoadError
from tt_compute_backends.gguf import read_gguf_header
from tt_compute_backends.llama.open import open_weights

MakeGguf = Callable[..., Path]
MakeFolder = Callable[..., Path]

often = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def read_or_refuse(path: Path) -> None:
    """Read all of it, if it can be opened."""
    try:
        weights = open_weights(path)
    except ModelLoadError:
        return
    spec = weights.spec
    vocabulary = (spec.vocabulary_size, spec.hidden_size)
    assert weights.embedding().shape == weights.head().shape == vocabulary
    assert weights.final_norm().shape == (spec.hidden_size,)
    for index in range(spec.layers):
        assert weights.layer(index).down.shape == (spec.hidden_size, spec.intermediate_size)
    assert len(spec.rope_factors) in {0, spec.head_size // 2}


def test_a_gguf_file_cut_anywhere_is_refused(make_gguf: MakeGguf) -> None:
    """At every byte of the header, and in every tensor."""
    path = make_gguf("qwen3")
    header = read_gguf_header(path)
    start = min(tensor.offset_in_file for tensor in header.tensors)
    inside = {tensor.offset_in_file + tensor.bytes - 1 for tensor in header.tensors}
    for length in sorted({*inside, *range(start + 1)}, reverse=True):
        os.truncate(path, length)
        with pytest.raises(ModelLoadError):
            open_weights(path)


def test_a_safetensors_file_cut_anywhere_is_refused(make_folder: MakeFolder) -> None:
    folder = make_folder("qwen3")
    file = folder / "model.safetensors"
    size = file.stat().st_size
    header = 8 + int.from_bytes(file.read_bytes()[:8], "little")
    for length in (*range(size - 1, header, -997), *range(header, -1, -1)):
        os.truncate(file, length)
        with pytest.raises(ModelLoadError, match=r"model\.safetensors"):
            open_weights(folder)


@pytest.fixture(scope="module")
def whole(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny model in every form."""
    place = tmp_path_factory.mktemp("whole")
    model = tiny.TinyModel("qwen2", rope_factors=(2.0,) * 8)
    tiny.write_gguf(model, place / "model.gguf")
    folder: Path = tiny.write_folder(model, place / "folder")
    names = '"model.norm.weight": "model.safetensors"'
    (folder / "model.safetensors.index.json").write_text(f'{{"weight_map": {{{names}}}}}')
    return place


EXTREMES = [0, 1, 0x7F, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40, 1 << 63, (1 << 64) - 1]


@pytest.fixture(scope="module")
def places(whole: Path) -> list[int]:
    """Where the numbers of the GGUF header stand: counts, the model's sizes, the fields of the tensors."""
    raw = (whole / "model.gguf").read_bytes()
    header = read_gguf_header(whole / "model.gguf")
    keys = [key for key in header.metadata if key.startswith("qwen2.")]
    values = [raw.index(key.encode()) + len(key) + 4 for key in keys]
    ends = [raw.index(tensor.name.encode()) + len(tensor.name) for tensor in header.tensors]
    fields = [end + step for end in ends for step in (0, 4, 12, 16, 20, 24, 28)]
    return [4, 8, 16, *values, *fields]


@often
@given(data=st.data())
def test_a_number_of_a_gguf_header_may_be_anything(
    whole: Path, places: list[int], tmp_path: Path, data: st.DataObject
) -> None:
    raw = bytearray((whole / "model.gguf").read_bytes())
    place = data.draw(st.sampled_from(places) | st.integers(0, max(places)))
    layout, most = data.draw(st.sampled_from([("<I", 1 << 32), ("<Q", 1 << 64)]))
    extremes = st.sampled_from([value for value in EXTREMES if value < most])
    struct.pack_into(layout, raw, place, data.draw(extremes | st.integers(0, 300)))
    path = tmp_path / "damaged.gguf"
    path.write_bytes(raw)
    read_or_refuse(path)


def linked(source: Path, target: Path) -> Path:
    """A copy whose files may be put in the place of, but not be written to."""
    target.mkdir(exist_ok=True)
    for file in source.iterdir():
        (target / file.name).unlink(missing_ok=True)
        (target / file.name).hardlink_to(file)
    return target


@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "model.safetensors.index.json"]
)
@often
@given(data=st.data())
def test_bytes_of_a_folder_may_be_anything(
    name: str, whole: Path, tmp_path: Path, data: st.DataObject
) -> None:
    """Replaced, put between or left out; of the weights those of the header."""
    folder = linked(whole / "folder", tmp_path / "folder")
    raw = bytearray((folder / name).read_bytes())
    header = int.from_bytes(raw[:8], "little") + 8 if name == "model.safetensors" else len(raw)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, header - 1))
        taken = data.draw(st.integers(0, 2))
        raw[place : place + taken] = data.draw(st.binary(max_size=2))
    (folder / name).unlink()
    (folder / name).write_bytes(raw)
    read_or_refuse(folder)


VALUES: st.SearchStrategy[object] = st.sampled_from(
    [0, 1, 2, 3, 16, -1, 0.5, 1e-320, 1e300, 2**31, 10**13, None, True, "x", [], [2], {}]
)
SCALES: st.SearchStrategy[object] = st.sampled_from(
    [1, 2, 4, 8.0, 64, 0, -1, 1e-320, 1e300, None, "x"]
)
KEYS = (
    *("num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim"),
    *("hidden_size", "intermediate_size", "vocab_size", "max_position_embeddings"),
    *("rope_theta", "rms_norm_eps", "sliding_window", "tie_word_embeddings", "architectures"),
)
SCALE_KEYS = (
    *("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
    "rope_theta",
)
ROPE = st.fixed_dictionaries(
    {"rope_type": st.sampled_from(["default", "linear", "llama3", "llama3", "yarn", None])},
    optional=dict.fromkeys(SCALE_KEYS, SCALES),
)


@often
@given(
    changes=st.dictionaries(st.sampled_from(KEYS), VALUES, min_size=1, max_size=2)
    | st.fixed_dictionaries({"rope_scaling": ROPE}, optional={"head_dim": VALUES})
)
def test_a_value_of_a_config_may_be_anything(
    changes: dict[str, Any], whole: Path, tmp_path: Path
) -> None:
    folder = linked(whole / "folder", tmp_path / "folder")
    document = json.loads((folder / "config.json").read_text())
    (folder / "config.json").unlink()
    (folder / "config.json").write_text(json.dumps(document | changes))
    read_or_refuse(folder)
