"""ONNX folders: what is refused, and why, before any weights are loaded."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tt_compute.errors import ModelLoadError

pytest.importorskip("onnxruntime")
onnx: Any = pytest.importorskip("onnx")


@pytest.fixture(scope="module")
def made(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tt_compute_backends.onnx_convert import convert

    base = tmp_path_factory.mktemp("onnx")
    source = tiny.write_gguf(tiny.TinyModel(), base / "m.gguf")
    (base / "made").mkdir()
    convert(source, base / "made", "int8")
    return base / "made"


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    copied: Path = shutil.copytree(made, tmp_path / "copy")
    return copied


def refusal(folder: Path) -> str:
    from tt_compute_backends.onnx_model import read_graph

    with pytest.raises(ModelLoadError) as caught:
        read_graph(folder)
    return caught.value.message


def change(folder: Path, edit: Any) -> None:
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    edit(model.graph)
    (folder / "model.onnx").write_bytes(model.SerializeToString())


def test_what_we_convert_is_complete_in_itself(made: Path) -> None:
    names = {path.name for path in made.iterdir()}
    assert names == {
        "model.onnx",
        "head.onnx",
        "model.onnx.data",
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }


def test_its_sizes_are_read_from_the_graph(made: Path) -> None:
    from tt_compute_backends.onnx_model import read_graph

    shape = read_graph(made)
    assert (shape.layers, shape.kv_heads, shape.head_size) == (2, 2, 16)
    assert shape.logits is not None
    assert shape.hidden is not None
    assert (shape.logits.width, shape.hidden.width) == (260, 64)
    assert not shape.logits.all_positions
    assert shape.hidden.all_positions


def test_a_missing_graph_is_refused(folder: Path) -> None:
    (folder / "model.onnx").unlink()
    assert "missing" in refusal(folder)


def test_a_graph_cut_short_is_refused(folder: Path) -> None:
    path = folder / "model.onnx"
    path.write_bytes(path.read_bytes()[:-100])
    assert "not a whole ONNX file" in refusal(folder)


def test_missing_weights_are_refused(folder: Path) -> None:
    (folder / "model.onnx.data").unlink()
    assert "model.onnx.data" in refusal(folder)


def test_weights_cut_short_are_refused(folder: Path) -> None:
    path = folder / "model.onnx.data"
    path.write_bytes(path.read_bytes()[:-1])
    assert "cut short" in refusal(folder)


def test_weights_outside_the_folder_are_refused(folder: Path) -> None:
    def edit(graph: Any) -> None:
        graph.initializer[0].external_data[0].value = "../elsewhere"

    change(folder, edit)
    assert "outside" in refusal(folder)


def test_a_graph_that_copies_its_past_is_refused(folder: Path) -> None:
    """Without grouped-query attention there is no cache to write to in place."""

    def edit(graph: Any) -> None:
        for node in graph.node:
            if node.op_type == "GroupQueryAttention":
                node.op_type = "MultiHeadAttention"

    change(folder, edit)
    assert "in place" in refusal(folder)


def test_a_graph_with_other_inputs_is_refused(folder: Path) -> None:
    def edit(graph: Any) -> None:
        graph.input[0].name = "pixel_values"

    change(folder, edit)
    assert "input_ids" in refusal(folder)


def test_weights_outside_the_folder_are_refused_for_the_output_layer_too(folder: Path) -> None:
    model = onnx.load(folder / "head.onnx", load_external_data=False)
    model.graph.initializer[0].external_data[0].value = "../elsewhere"
    (folder / "head.onnx").write_bytes(model.SerializeToString())
    assert "head.onnx: weights in '../elsewhere'" in refusal(folder)


def test_a_graph_that_gives_nothing_is_refused(folder: Path) -> None:
    def edit(graph: Any) -> None:
        for output in graph.output[:2]:
            output.name = f"my_{output.name}"

    change(folder, edit)
    assert "neither logits nor hidden_states" in refusal(folder)


def test_a_provider_that_is_not_in_the_build_is_named_with_those_that_are() -> None:
    from tt_compute_backends.onnx_library import provider_name

    assert provider_name("cpu") == provider_name("CPUExecutionProvider") == "CPUExecutionProvider"
    with pytest.raises(ModelLoadError, match="CPUExecutionProvider"):
        provider_name("qnn")


def test_weights_of_another_size_are_refused_by_the_runtime_without_a_crash(folder: Path) -> None:
    from tt_compute_backends.onnx_library import new_session

    def edit(graph: Any) -> None:
        graph.initializer[0].dims[0] += 1

    change(folder, edit)
    with pytest.raises(ModelLoadError, match="cannot load"):
        new_session(
            folder / "model.onnx", threads=1, providers=[("CPUExecutionProvider", {})], settings={}
        )


@pytest.mark.parametrize("bits", [4, 8])
def test_quantised_weights_stay_within_half_a_step(bits: int) -> None:
    """Unpacked by hand: low nibbles first, blocks of 32, zero points packed like values."""
    import numpy as np

    from tt_compute_backends.onnx_weights import quantise

    matrix = np.random.default_rng(1).standard_normal((3, 70)).astype(np.float32)
    held = quantise(matrix, bits)
    values = held.packed.astype(np.int64)
    zeros: Any = 128
    if bits == 4:
        values = np.stack((values & 15, values >> 4), -1).reshape(3, 3, 32)
        assert held.zero_points is not None
        nibbles = np.stack((held.zero_points & 15, held.zero_points >> 4), -1).reshape(3, -1)
        zeros = nibbles[:, :3, None].astype(np.int64)
    restored = ((values - zeros) * held.scales[..., None]).reshape(3, 96)
    steps = np.repeat(held.scales, 32, axis=1)[:, :70]
    assert (np.abs(restored[:, :70] - matrix) <= steps * (0.5 if bits == 8 else 1.0) + 1e-6).all()
