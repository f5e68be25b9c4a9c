"""The forward passes of torch and ONNX Runtime against the arithmetic spelt out in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

MakeForward = Callable[..., Any]
TOKENS = [5, 200, 13, 256, 77, 31, 8, 90, 41, 2, 17, 60]


def _torch(model: Any, precision: str, _folder: Path) -> Any:
    torch = pytest.importorskip("torch")
    from tt_compute_backends.torch_forward import TorchForward

    precisions: Any = precision
    return TorchForward(model, device=torch.device("cpu"), precision=precisions)


def _onnx(model: Any, precision: str, folder: Path) -> Any:
    pytest.importorskip("onnxruntime")
    from tt_compute_backends.onnx_forward import OnnxForward
    from tt_compute_backends.onnx_graph import write_graph
    from tt_compute_backends.onnx_library import new_session
    from tt_compute_backends.onnx_model import read_graph

    precisions: Any = precision
    write_graph(model, folder, precisions)
    session = new_session(
        folder / "model.onnx", threads=1, providers=[("CPUExecutionProvider", {})], settings={}
    )
    return OnnxForward(session, read_graph(folder))


RUNTIMES = {"torch": _torch, "onnxruntime": _onnx}


@pytest.fixture(params=RUNTIMES)
def make_forward(request: pytest.FixtureRequest, tmp_path: Path) -> MakeForward:
    """Loads a model into the runtime, by default in fp32."""

    def make(model: Any, precision: str = "fp32") -> Any:
        return RUNTIMES[request.param](model, precision, tmp_path)

    return make


def test_a_prefill_gives_the_logits_of_the_last_token(
    tiny: Any, tiny_model: Any, make_forward: MakeForward
) -> None:
    forward = make_forward(tiny_model)
    found = forward.prefill(forward.new_cache(1, 20), 0, TOKENS, 0)
    np.testing.assert_allclose(found, tiny.reference_logits(tiny_model, TOKENS), atol=1e-4)


def test_a_prefill_in_pieces_is_the_same(
    tiny: Any, tiny_model: Any, make_forward: MakeForward
) -> None:
    forward = make_forward(tiny_model)
    cache = forward.new_cache(3, 20)
    forward.prefill(cache, 1, TOKENS[:5], 0)
    forward.prefill(cache, 1, TOKENS[5:6], 5)
    found = forward.prefill(cache, 1, TOKENS[6:], 6)
    np.testing.assert_allclose(found, tiny.reference_logits(tiny_model, TOKENS), atol=1e-4)


def test_rows_of_different_lengths_each_see_their_own_tokens(
    tiny: Any, tiny_model: Any, make_forward: MakeForward
) -> None:
    forward = make_forward(tiny_model)
    cache = forward.new_cache(4, 20)
    rows = [TOKENS[:9], TOKENS[3:6], TOKENS[2:12]]
    for row, tokens in enumerate(rows):
        forward.prefill(cache, row, tokens, 0)
    for new in ((1, 2, 3), (7, 8, 9)):
        found = forward.decode(cache, new, [len(tokens) for tokens in rows])
        rows = [[*tokens, token] for tokens, token in zip(rows, new, strict=True)]
        expected = [tiny.reference_logits(tiny_model, tokens) for tokens in rows]
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_copied_row_goes_on_like_the_one_it_was_copied_from(
    tiny: Any, make_forward: MakeForward
) -> None:
    model = tiny.TinyModel()
    forward = make_forward(model)
    prompt, rows = forward.new_cache(1, 12), forward.new_cache(2, 30)
    forward.prefill(prompt, 0, TOKENS, 0)
    forward.copy_row(prompt, 0, rows, 1, 12)
    forward.copy_row(rows, 1, rows, 0, 12)
    found = forward.decode(rows, [3, 4], [12, 12])
    expected = [tiny.reference_logits(model, [*TOKENS, token]) for token in (3, 4)]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_what_lay_in_a_row_before_makes_no_difference(tiny: Any, make_forward: MakeForward) -> None:
    """A row is written over from its beginning and its old end is never looked at."""
    model = tiny.TinyModel()
    forward = make_forward(model)
    cache = forward.new_cache(1, 20)
    forward.prefill(cache, 0, TOKENS[::-1], 0)
    found = forward.prefill(cache, 0, TOKENS[:4], 0)
    np.testing.assert_allclose(found, tiny.reference_logits(model, TOKENS[:4]), atol=1e-4)


def test_a_cache_takes_as_much_as_is_said(tiny: Any, make_forward: MakeForward) -> None:
    forward = make_forward(tiny.TinyModel())
    cache = forward.new_cache(3, 50)
    parts = cache.layers if hasattr(cache, "layers") else cache.arrays
    assert sum(part.nbytes for part in parts) == 3 * 50 * forward.kv_bytes_per_token


@pytest.mark.parametrize(
    ("runtime", "precision", "tolerance"),
    [
        ("torch", "bf16", 0.15),
        ("torch", "int8", 0.15),
        ("onnxruntime", "int8", 0.2),
        ("onnxruntime", "int4", 0.9),
    ],
)
def test_lower_precisions_stay_near(
    tiny: Any, tmp_path: Path, runtime: str, precision: str, tolerance: float
) -> None:
    """Logits of these random models have a spread of 1."""
    model = tiny.TinyModel()
    forward = RUNTIMES[runtime](model, precision, tmp_path)
    found = forward.prefill(forward.new_cache(1, 20), 0, TOKENS, 0)
    expected = tiny.reference_logits(model, TOKENS)
    assert float(np.abs(found - expected).max()) < tolerance


@pytest.mark.parametrize("device", ["cuda:0", "mps", "xpu"])
def test_a_device_that_torch_lacks_is_named(tiny: Any, tmp_path: Path, device: str) -> None:
    torch = pytest.importorskip("torch")
    from tt_compute.errors import ModelLoadError
    from tt_compute_backends.engine.runtime import LoadRequest
    from tt_compute_backends.torch_runtime import TorchRuntime

    if getattr(torch, device.partition(":")[0]).is_available():
        pytest.skip(f"{device} is here")
    request = LoadRequest(
        runtime="tt_compute_backends.torch_runtime:TorchRuntime",
        model_path=str(tiny.write_gguf(tiny.TinyModel(), tmp_path / "m.gguf")),
        device=device,
        threads=1,
        max_rows=1,
        memory_bytes=None,
        max_context_tokens=None,
        chat_template=None,
    )
    with pytest.raises(ModelLoadError, match=device):
        TorchRuntime().load(request)
