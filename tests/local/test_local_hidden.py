"""Hidden states of pieces that are computed together, against the arithmetic spelt out in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tt_compute_backends.loop.forward import Piece
from tt_compute_backends.loop.padding import alike, padded

TEXTS = [
    [5, 200, 13, 256, 77, 31, 8, 90, 41, 2, 17, 60],
    [7, 7, 7],
    [200],
    [1, 2, 3, 4, 5, 6, 7],
]


def _torch(model: Any, _folder: Path) -> Any:
    torch = pytest.importorskip("torch")
    from tt_compute_backends.torch_forward import TorchForward

    return TorchForward(model, device=torch.device("cpu"), precision="fp32")


def _onnxruntime(model: Any, folder: Path) -> Any:
    pytest.importorskip("onnxruntime")
    from tt_compute_backends.onnx_forward import OnnxForward
    from tt_compute_backends.onnx_graph import write_graph
    from tt_compute_backends.onnx_library import new_session
    from tt_compute_backends.onnx_model import read_graph

    write_graph(model, folder, "fp32")
    session = new_session(
        folder / "model.onnx", threads=1, providers=[("CPUExecutionProvider", {})], settings={}
    )
    shape = read_graph(folder)
    return OnnxForward(session, shape, shape.hidden)


def _openvino(model: Any, folder: Path) -> Any:
    pytest.importorskip("openvino")
    pytest.importorskip("onnx")
    from tt_compute_backends.onnx_graph import write_graph
    from tt_compute_backends.openvino_forward import OpenVinoForward
    from tt_compute_backends.openvino_library import new_graph

    write_graph(model, folder, "fp32")
    exact: dict[str, object] = {
        "INFERENCE_PRECISION_HINT": "f32",
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
    }
    path = folder / "model.onnx"
    return OpenVinoForward(new_graph(str(path), "CPU", exact), path, alone=False)


RUNTIMES = {"torch": _torch, "onnxruntime": _onnxruntime, "openvino": _openvino}
Make = Callable[..., Any]


@pytest.fixture(params=RUNTIMES)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Loads a model into the runtime in fp32, batches allowed."""
    load: Callable[[Any, Path], Any] = RUNTIMES[request.param]

    def made(model: Any) -> Any:
        return load(model, tmp_path)

    return made


def check(tiny: Any, model: Any, found: Any, ranges: list[tuple[list[int], int, int]]) -> None:
    """Whether ``found`` is, in order, what each text has from one place to another."""
    expected = [tiny.reference_hidden(model, text)[start:end] for text, start, end in ranges]
    np.testing.assert_allclose(found, np.concatenate(expected), atol=2e-4)


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3"])
def test_texts_of_different_lengths_are_each_as_if_alone(
    tiny: Any, make: Make, architecture: str
) -> None:
    model = tiny.TinyModel(architecture, output="none")
    forward = make(model)
    pieces = [Piece(forward.new_cache(1, len(text)), 0, text, 0) for text in TEXTS]
    found = forward.hidden(pieces)
    check(tiny, model, found, [(text, 0, len(text)) for text in TEXTS])


def test_pieces_go_on_from_what_their_rows_hold(tiny: Any, make: Make) -> None:
    """Behind equally many tokens and behind others, and beside one that begins."""
    model = tiny.TinyModel(output="none")
    forward = make(model)
    first, second, _, fourth = TEXTS
    caches = [forward.new_cache(1, len(text)) for text in TEXTS]
    begun = [(first, 2), (fourth, 2), (second, 1)]
    held = {0: caches[0], 1: caches[3], 2: caches[1]}
    forward.hidden([Piece(held[place], 0, text[:n], 0) for place, (text, n) in enumerate(begun)])
    pieces = [Piece(held[place], 0, text[n:], n) for place, (text, n) in enumerate(begun)]
    pieces.insert(1, Piece(caches[2], 0, TEXTS[2], 0))
    found = forward.hidden(pieces)
    ranges = [(text, n, len(text)) for text, n in begun]
    ranges.insert(1, (TEXTS[2], 0, 1))
    check(tiny, model, found, ranges)


def test_texts_go_on_from_a_common_beginning(tiny: Any, make: Make) -> None:
    model = tiny.TinyModel(output="none")
    forward = make(model)
    beginning = TEXTS[0]
    shared = forward.new_cache(1, len(beginning))
    forward.hidden([Piece(shared, 0, beginning, 0)])
    pieces: list[Any] = []
    for text in TEXTS[1:]:
        cache = forward.new_cache(1, 8 + len(text))
        forward.copy_row(shared, 0, cache, 0, 8)
        pieces.append(Piece(cache, 0, text, 8))
    found = forward.hidden(pieces)
    check(
        tiny,
        model,
        found,
        [(beginning[:8] + text, 8, 8 + len(text)) for text in TEXTS[1:]],
    )


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 40)), min_size=1, max_size=30))
def test_padding_at_most_doubles_what_is_computed(shapes: list[tuple[int, int]]) -> None:
    """However long and short texts meet in a pass, each in one group of its own past."""
    cache: Any = None
    pieces = [Piece(cache, 0, [1] * tokens, past) for past, tokens in shapes]
    groups = alike(pieces)
    assert sorted(place for group in groups for place in group) == list(range(len(pieces)))
    for group in groups:
        members = [pieces[place] for place in group]
        assert len({piece.past_tokens for piece in members}) == 1
        assert padded(members).size <= 2 * sum(len(piece.token_ids) for piece in members)
