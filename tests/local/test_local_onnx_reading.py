"""What can be read with ONNX folders that other programs wrote, or that are not whole."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tt_compute.errors import ContextLengthError, ModelLoadError, UnsupportedError
from tt_compute.types import Message
from tt_compute_backends.engine.runtime import (
    EmbedTexts,
    LoadRequest,
    RateContinuations,
    Reading,
    ScoreTexts,
)

pytest.importorskip("onnxruntime")
onnx: Any = pytest.importorskip("onnx")

QUESTION = (Message(role="user", content="What is six times seven, and why do you think so?"),)
RATED = RateContinuations(messages=QUESTION, texts=("42", "It is 41.", "x" * 50))

Convert = Callable[..., Path]


@pytest.fixture
def convert(tiny: Any, tmp_path: Path) -> Convert:
    """An ONNX folder of a tiny model in float32."""

    def make(**model: Any) -> Path:
        from tt_compute_backends.onnx_convert import convert

        source = tiny.write_folder(tiny.TinyModel(**model), tmp_path / "source")
        (tmp_path / "made").mkdir()
        convert(source, tmp_path / "made", "fp32")
        return tmp_path / "made"

    return make


def load(folder: Path, place: str = "onnx_runtime:OnnxRuntime") -> Any:
    module, _, name = place.partition(":")
    runtime = getattr(importlib.import_module(f"tt_compute_backends.{module}"), name)()
    runtime.load(
        LoadRequest(
            runtime=f"tt_compute_backends.{place}",
            model_path=str(folder),
            device="CPU" if name == "OpenVinoReader" else "cpu",
            threads=1,
            max_rows=4,
            memory_bytes=None,
            max_context_tokens=None,
            chat_template=None,
        )
    )
    return runtime


def read(runtime: Any, reading: Reading) -> Any:
    work = runtime.read(reading)
    while True:
        try:
            next(work)
        except StopIteration as done:
            return np.array(done.value)


@pytest.mark.parametrize("place", ["onnx_runtime:OnnxRuntime", "openvino_reader:OpenVinoReader"])
def test_a_text_beyond_the_graphs_positions_is_refused_whatever_the_configuration_says(
    convert: Convert, place: str
) -> None:
    """The graph would fail there, or give numbers that mean nothing."""
    pytest.importorskip(place.partition("_")[0].replace("onnx", "onnxruntime"))
    folder = convert(output="reward")
    config = json.loads((folder / "config.json").read_text())
    config["max_position_embeddings"] = 4096
    (folder / "config.json").write_text(json.dumps(config))
    runtime = load(folder, place)
    with pytest.raises(ContextLengthError, match="512"):
        read(runtime, ScoreTexts(messages=QUESTION, texts=("x" * 700,)))


def as_others_write_it(folder: Path, *, all_positions: bool) -> None:
    """Logits and nothing else, of every token or of the last one."""
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    graph = model.graph
    (hidden,) = (output for output in graph.output if output.name == "hidden_states")
    graph.output.remove(hidden)
    if all_positions:
        (head,) = (node for node in graph.node if "logits" in node.output)
        head.input[0] = "hidden_states"
        graph.output[0].type.tensor_type.shape.dim[1].dim_param = "tokens"
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    (folder / "head.onnx").unlink()


def test_a_graph_with_the_logits_of_every_token_tells_likelihoods(convert: Convert) -> None:
    folder = convert()
    expected = read(load(folder), RATED)
    as_others_write_it(folder, all_positions=True)
    np.testing.assert_allclose(read(load(folder), RATED), expected, atol=1e-4)


def test_a_graph_with_those_of_the_last_token_only_tells_none_and_what_to_do(
    convert: Convert,
) -> None:
    folder = convert()
    as_others_write_it(folder, all_positions=False)
    runtime = load(folder)
    with pytest.raises(UnsupportedError, match="nothing of the text itself") as caught:
        runtime.read(RATED)
    assert "converted" in str(caught.value.hint)


def test_the_output_layer_alone_is_loaded_when_it_is_first_wanted(
    convert: Convert, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those who only draw samples do without the memory that it takes."""
    from tt_compute_backends.onnx_library import new_session as plain

    opened: list[str] = []

    def new_session(graph: Path, **options: Any) -> Any:
        opened.append(graph.name)
        return plain(graph, **options)

    monkeypatch.setattr("tt_compute_backends.onnx_runtime.new_session", new_session)
    runtime = load(convert())
    assert opened == ["model.onnx"]
    for _ in range(2):
        read(runtime, RATED)
        assert opened == ["model.onnx", "head.onnx"]


@pytest.mark.parametrize("output", ["reward", "none"])
def test_a_graph_without_hidden_states_is_refused_where_they_are_all_there_is(
    convert: Convert, output: str
) -> None:
    """Such as one whose model generates, behind small files of one that does not."""
    folder = convert()
    as_others_write_it(folder, all_positions=True)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    name = {"reward": "LlamaForSequenceClassification", "none": "LlamaModel"}[output]
    config["architectures"] = [name]
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ModelLoadError, match="hidden_states"):
        load(folder)


def test_a_folder_without_its_reward_head_is_refused(convert: Convert) -> None:
    folder = convert(output="reward")
    (folder / "reward.safetensors").unlink()
    with pytest.raises(ModelLoadError, match=r"reward\.safetensors"):
        load(folder)


def test_a_reward_head_of_another_shape_is_refused(convert: Convert) -> None:
    from safetensors.numpy import save

    folder = convert(output="reward")
    (folder / "reward.safetensors").write_bytes(
        save({"score.weight": np.zeros((2, 64), np.float32)})
    )
    with pytest.raises(ModelLoadError, match=r"score\.weight is \(2, 64\), expected \(1, 64\)"):
        load(folder)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"pad_token_id": "x"}, "pad_token_id"),
        ({"architectures": ["LlamaForQuestionAnswering"]}, "LlamaForQuestionAnswering"),
        ({"max_position_embeddings": "many"}, "max_position_embeddings"),
    ],
)
def test_small_files_that_say_something_else_are_refused(
    convert: Convert, change: dict[str, object], told: str
) -> None:
    folder = convert(output="none")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8")) | change
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ModelLoadError, match=told):
        load(folder)


def test_eight_bits_stay_near(tiny: Any, convert: Convert, tmp_path: Path) -> None:
    """Vectors of a random model, whose directions are nearly those of float32."""
    from tt_compute_backends.onnx_convert import convert as convert_folder

    texts = EmbedTexts(texts=("hello", "a longer text of some more tokens", "x"))
    exact = read(load(convert(output="none")), texts)
    (tmp_path / "int8").mkdir()
    convert_folder(tmp_path / "source", tmp_path / "int8", "int8")
    near = read(load(tmp_path / "int8"), texts)
    assert ((exact * near).sum(1) > 0.995).all()
    assert not np.array_equal(exact, near)


def test_what_a_folder_was_made_of_can_be_told_from_it(convert: Convert) -> None:
    """A folder of ours is a source like any other."""
    from tt_compute_backends.onnx_readable import read_output

    folder = convert(output="reward", reward_layers=2, pad_token=256)
    assert read_output(folder) == "reward"
    assert read(load(folder), ScoreTexts(messages=QUESTION, texts=("42",))).shape == (1, 1)
