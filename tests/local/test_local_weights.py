"""The readers of weights: equal numbers from every kind of file, and a reason for what cannot be read."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tt_compute.errors import ModelLoadError
from tt_compute_backends.llama.folder_config import llama3_factors
from tt_compute_backends.llama.open import open_weights


def assert_equal(found: Any, model: Any) -> None:
    assert found.spec == model.spec
    np.testing.assert_array_equal(found.embedding(), model.embedding())
    np.testing.assert_array_equal(found.head(), model.head())
    np.testing.assert_array_equal(found.final_norm(), model.final_norm())
    for index in range(model.spec.layers):
        for field in model.layer(index).__slots__:
            expected, value = getattr(model.layer(index), field), getattr(found.layer(index), field)
            if expected is None:
                assert value is None, field
            else:
                np.testing.assert_array_equal(value, expected, err_msg=field)


def test_a_gguf_file_gives_the_numbers_that_went_in(
    tiny: Any, tiny_model: Any, tmp_path: Path
) -> None:
    assert_equal(open_weights(tiny.write_gguf(tiny_model, tmp_path / "m.gguf")), tiny_model)


def test_a_folder_gives_the_numbers_that_went_in(
    tiny: Any, tiny_model: Any, tmp_path: Path
) -> None:
    assert_equal(open_weights(tiny.write_folder(tiny_model, tmp_path / "m")), tiny_model)


def test_half_precision_is_read_as_what_it_stands_for(tiny: Any, tmp_path: Path) -> None:
    model = tiny.TinyModel()
    found = open_weights(tiny.write_folder(model, tmp_path / "m", dtype=np.float16))
    expected = model.embedding().astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(found.embedding(), expected)


def test_bfloat16_is_the_upper_half_of_a_float32(tiny: Any, tmp_path: Path) -> None:
    """Written by hand, as NumPy has no such type."""
    folder = tiny.write_folder(tiny.TinyModel(), tmp_path / "m")
    values = np.arange(64, dtype=np.float32)
    upper = (values.view(np.uint32) >> 16).astype(np.uint16)
    file = folder / "model.safetensors"
    raw = file.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    table = json.loads(raw[8 : 8 + length])
    data = raw[8 + length :] + upper.tobytes()
    end = len(raw) - 8 - length
    table["model.norm.weight"] |= {"dtype": "BF16"}
    start = table["model.norm.weight"]["data_offsets"][0]
    del table["model.norm.weight"]
    # The old place stays as padding under another name, so that the file has no hole.
    table["unused"] = {"dtype": "F32", "shape": [64], "data_offsets": [start, start + 256]}
    table["model.norm.weight"] = {"dtype": "BF16", "shape": [64], "data_offsets": [end, end + 128]}
    head = json.dumps(table).encode()
    file.write_bytes(len(head).to_bytes(8, "little") + head + data)
    np.testing.assert_array_equal(open_weights(folder).final_norm(), values)


def test_shards_are_read_as_one(tiny: Any, tmp_path: Path) -> None:
    library: Any = importlib.import_module("safetensors.numpy")
    model = tiny.TinyModel()
    folder = tiny.write_folder(model, tmp_path / "m")
    tensors: dict[str, Any] = library.load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, held in parts.items():
        library.save_file({name: tensors[name] for name in held}, folder / file)
    index = {name: file for file, held in parts.items() for name in held}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    assert_equal(open_weights(folder), model)


def test_llama3_slows_long_waves_and_keeps_short_ones() -> None:
    """Waves under 8192 / 4 tokens are kept, those over 8192 are 8 times slower; values of Llama 3.1."""
    factors = llama3_factors(500_000.0, 128, factor=8, low=1, high=4, trained_tokens=8192)
    waves = [2 * np.pi * 500_000.0 ** (i / 64) for i in range(64)]
    for wave, factor in zip(waves, factors, strict=True):
        if wave < 2048:
            assert factor == pytest.approx(1)
        elif wave > 8192:
            assert factor == pytest.approx(8)
        else:
            assert 1 < factor < 8


def test_a_folder_written_as_a_gguf_file_is_the_same_model(
    tiny: Any, tiny_model: Any, tmp_path: Path
) -> None:
    """Matrices to within half a step of Q8_0, of which there are 254 in a block's range; all else exactly."""
    from tt_compute_backends.gguf_requantise import requantise
    from tt_compute_backends.text.model import open_text

    folder = tiny.write_folder(tiny_model, tmp_path / "m")
    requantise(folder, tmp_path / "m.gguf")
    found = open_weights(tmp_path / "m.gguf")
    assert found.spec.rope_factors == pytest.approx(tiny_model.spec.rope_factors)
    for field in tiny_model.layer(1).__slots__:
        expected, value = getattr(tiny_model.layer(1), field), getattr(found.layer(1), field)
        if expected is None:
            assert value is None
        elif expected.ndim == 1:
            np.testing.assert_array_equal(value, expected, err_msg=field)
        else:
            step = np.abs(expected).max() / 127
            np.testing.assert_allclose(value, expected, atol=0.51 * step, err_msg=field)
    mine, theirs = open_text(tmp_path / "m.gguf"), open_text(folder)
    assert mine.encode("Größe <|end|>") == theirs.encode("Größe <|end|>")
    assert mine.end_tokens == theirs.end_tokens


def test_a_tokenizer_without_a_name_in_gguf_is_refused(tiny: Any, tmp_path: Path) -> None:
    from tt_compute_backends.gguf_requantise import requantise

    folder = tiny.write_folder(tiny.TinyModel(), tmp_path / "m")
    document = json.loads((folder / "tokenizer.json").read_text())
    document["pre_tokenizer"] = {"type": "Whitespace"}
    (folder / "tokenizer.json").write_text(json.dumps(document))
    with pytest.raises(ModelLoadError, match="no counterpart"):
        requantise(folder, tmp_path / "m.gguf")


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model_type": "gemma2"}, "gemma2"),
        ({"hidden_act": "gelu"}, "gelu"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "yarn"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"num_hidden_layers": 3}, r"no tensor model\.layers\.2"),
        ({"num_hidden_layers": "two"}, "num_hidden_layers"),
        ({"hidden_size": 32}, "expected"),
        ({"num_key_value_heads": 3}, "num_key_value_heads"),
        ({"mlp_bias": True}, "mlp_bias"),
    ],
)
def test_a_folder_that_would_be_misread_is_refused(
    tiny: Any, tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    folder = tiny.write_folder(tiny.TinyModel(), tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(ModelLoadError, match=reason):
        open_weights(folder)


def test_a_sliding_window_caps_the_context(tiny: Any, tmp_path: Path) -> None:
    """Within the window it makes no difference."""
    folder = tiny.write_folder(tiny.TinyModel(), tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"sliding_window": 100}))
    assert open_weights(folder).spec.context_tokens == 100


def test_pickled_weights_are_never_loaded(tiny: Any, tmp_path: Path) -> None:
    folder = tiny.write_folder(tiny.TinyModel(), tmp_path / "m")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelLoadError, match="pickle"):
        open_weights(folder)


def test_an_index_cannot_lead_out_of_its_folder(tiny: Any, tmp_path: Path) -> None:
    folder = tiny.write_folder(tiny.TinyModel(), tmp_path / "m")
    (folder / "model.safetensors.index.json").write_text(
        '{"weight_map": {"x": "../x.safetensors"}}'
    )
    with pytest.raises(ModelLoadError, match="outside"):
        open_weights(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_folder_with_a_damaged_or_missing_file_is_refused(
    tiny: Any, tmp_path: Path, name: str
) -> None:
    folder = tiny.write_folder(tiny.TinyModel(), tmp_path / "m")
    raw = (folder / name).read_bytes()
    for damaged in (b"", raw[: len(raw) // 2], b"\xff" * 100):
        (folder / name).write_bytes(damaged)
        with pytest.raises(ModelLoadError, match=name):
            open_weights(folder)
    (folder / name).unlink()
    with pytest.raises(ModelLoadError, match=name):
        open_weights(folder)


@pytest.mark.parametrize("key", ["expert_count", "attention.sliding_window"])
def test_a_gguf_file_with_parts_that_are_not_followed_is_refused(
    tiny: Any, tmp_path: Path, key: str
) -> None:
    """The key is written over one that is not needed and as long."""
    path = tiny.write_gguf(tiny.TinyModel(), tmp_path / "m.gguf")
    raw = path.read_bytes()
    old = b"llama.rope.freq_base"
    new = f"llama.{key}".encode()
    at = raw.index(old) - 8
    width = 8 + len(old) + 4 + 4
    entry = (
        len(new).to_bytes(8, "little") + new + (4).to_bytes(4, "little") + (8).to_bytes(4, "little")
    )
    # The data moves, and with it the alignment: padded to keep it.
    moved = raw[:at] + entry + raw[at + width :]
    path.write_bytes(moved + b"\0" * 64)
    with pytest.raises(ModelLoadError, match=key.rpartition(".")[2]):
        open_weights(path)


@pytest.fixture(scope="module")
def whole_gguf(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path: Path = tiny.write_gguf(tiny.TinyModel(), tmp_path_factory.mktemp("tiny") / "m.gguf")
    return path.read_bytes()


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_damaged_gguf_file_is_refused_or_read_but_never_crashes(
    whole_gguf: bytes, tmp_path: Path, data: st.DataObject
) -> None:
    damaged = bytearray(whole_gguf)
    if data.draw(st.booleans()):
        del damaged[data.draw(st.integers(0, len(damaged) - 1)) :]
    else:
        # In the header, where every byte means something.
        for place in data.draw(st.lists(st.integers(0, 6000), min_size=1, max_size=4)):
            damaged[place] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.gguf"
    path.write_bytes(bytes(damaged))
    try:
        weights = open_weights(path)
        weights.layer(0)
    except ModelLoadError:
        return
    assert weights.embedding().shape[1] == weights.spec.hidden_size
