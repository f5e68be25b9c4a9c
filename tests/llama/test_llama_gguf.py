"""GGUF files of the Llama family: what is read, and what is refused by its name before it is misread."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import gguf
import numpy as np
import pytest

from tt_compute.errors import ModelLoadError
from tt_compute_backends import gguf as header_reader
from tt_compute_backends.llama.open import open_weights

MakeGguf = Callable[..., Path]

_library: Any = gguf


def _as_tuple(values: Any) -> str:
    return repr(tuple(values))


def test_blocks_are_as_large_as_ggml_says() -> None:
    """A wrong size would place every check of a tensor's end."""
    for number, sizes in cast("Any", header_reader)._BLOCKS.items():
        assert sizes == _library.GGML_QUANT_SIZES[_library.GGMLQuantizationType(number)], number


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"])
def test_a_quantised_matrix_is_what_its_blocks_stand_for(
    kind: str, tiny: Any, make_gguf: MakeGguf
) -> None:
    path = make_gguf(quantised={"blk.1.ffn_up.weight": kind})
    exact = tiny.TinyModel().layer(1).up
    number = _library.GGMLQuantizationType[kind]
    expected = _library.quants.dequantize(_library.quants.quantize(exact, number), number)
    np.testing.assert_array_equal(open_weights(path).layer(1).up, expected)


# --- the rotation --------------------------------------------------------------------------------

FREQUENCIES = np.array([1, 1, 1, 2, 4, 8, 8, 8], dtype=np.float32)


@pytest.mark.parametrize(
    ("keys", "factor"),
    [
        ({}, None),
        ({"type": "none"}, None),
        ({"type": "none", "factor": 4.0}, None),
        ({"type": "linear", "factor": 4.0}, 4),
        ({"type": "linear"}, None),
        ({"factor": 4.0}, 4),
        ({"factor": 0.0}, None),
    ],
    ids=str,
)
def test_linear_scaling_is_read_as_llama_cpp_reads_it(
    keys: dict[str, Any], factor: float | None, make_gguf: MakeGguf
) -> None:
    """A factor without a type is a linear one; a factor of 0 is none."""
    path = make_gguf(keys={f"llama.rope.scaling.{key}": value for key, value in keys.items()})
    assert open_weights(path).spec.rope_factors == (() if factor is None else (factor,) * 8)


def test_the_old_name_of_linear_scaling_is_read(make_gguf: MakeGguf) -> None:
    path = make_gguf(keys={"llama.rope.scale_linear": 2.0})
    assert open_weights(path).spec.rope_factors == (2.0,) * 8


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_frequencies_of_their_own_are_read_in_their_type(dtype: Any, make_gguf: MakeGguf) -> None:
    path = make_gguf(tensors={"rope_freqs.weight": FREQUENCIES.astype(dtype)})
    assert open_weights(path).spec.rope_factors == tuple(FREQUENCIES)


def test_frequencies_and_linear_scaling_multiply(make_gguf: MakeGguf) -> None:
    path = make_gguf(
        keys={"llama.rope.scaling.factor": 2.0}, tensors={"rope_freqs.weight": FREQUENCIES}
    )
    assert open_weights(path).spec.rope_factors == tuple(2 * FREQUENCIES)


@pytest.mark.parametrize(
    "frequencies",
    [FREQUENCIES[:3], FREQUENCIES * 0, -FREQUENCIES, FREQUENCIES * np.nan, FREQUENCIES * np.inf],
    ids=["few", "zero", "negative", "nan", "infinite"],
)
def test_frequencies_that_cannot_be_divided_by_are_refused(
    frequencies: Any, make_gguf: MakeGguf
) -> None:
    path = make_gguf(tensors={"rope_freqs.weight": frequencies})
    with pytest.raises(ModelLoadError, match="not 8 positive numbers"):
        open_weights(path)


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("expert_count", 8),
        ("attention.sliding_window", 4096),
        ("attention.causal", False),
        ("attention.scale", 0.5),
        ("logit_scale", 2.0),
        ("pooling_type", 3),
        ("a_key_of_next_year", 1),
        ("rope.dimension_count", 8),
        ("attention.value_length", 8),
        ("attention.key_length", 15),
        ("attention.key_length", 1 << 40),
        ("attention.head_count_kv", 3),
        ("attention.head_count_kv", [2, 1]),
        ("attention.head_count", 0),
        ("feed_forward_length", [96, 48]),
        ("context_length", -1),
        ("attention.layer_norm_rms_epsilon", 0.0),
        ("rope.freq_base", -1.0),
        ("rope.freq_base", "large"),
        ("rope.scaling.factor", -1.0),
        ("rope.scaling.type", "yarn"),
        ("rope.scaling.type", "longrope"),
        ("rope.scaling.type", 1),
        ("rope.scaling.attn_factor", 1.5),
    ],
)
def test_a_key_that_would_be_misread_is_refused_with_its_value(
    key: str, value: Any, make_gguf: MakeGguf
) -> None:
    name = "heads of" if key == "attention.key_length" else f"llama.{key} is "
    with pytest.raises(ModelLoadError) as caught:
        open_weights(make_gguf(keys={f"llama.{key}": value}))
    shown = _as_tuple(value) if isinstance(value, list) else repr(value).strip("'")
    assert name in caught.value.message
    assert shown in caught.value.message


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("expert_count", 0),
        ("expert_used_count", 2),
        ("attention.sliding_window", 0),
        ("attention.causal", True),
        ("vocab_size", 260),
        ("rope.dimension_count", 16),
        ("rope.scaling.original_context_length", 512),
        ("rope.scaling.attn_factor", 1.0),
    ],
)
def test_a_key_without_effect_is_no_hindrance(key: str, value: Any, make_gguf: MakeGguf) -> None:
    assert open_weights(make_gguf(keys={f"llama.{key}": value})).spec.rope_factors == ()


def ones(*shape: int) -> Any:
    return np.ones(shape, dtype=np.float32)


@pytest.mark.parametrize(
    ("architecture", "tensors", "dropped", "reason"),
    [
        ("llama", {}, ["blk.1.ffn_up.weight"], r"no tensor blk\.1\.ffn_up\.weight"),
        ("llama", {}, ["token_embd.weight"], r"no tensor token_embd\.weight"),
        ("qwen2", {}, ["blk.0.attn_k.bias"], r"no tensor blk\.0\.attn_k\.bias"),
        ("qwen2", {}, ["blk.1.attn_q.bias"], r"no tensor blk\.1\.attn_q\.bias"),
        ("qwen3", {}, ["blk.1.attn_q_norm.weight"], r"no tensor blk\.1\.attn_q_norm\.weight"),
        ("qwen2", {"blk.0.attn_q.bias": ones(3)}, [], r"attn_q\.bias is \(3,\), expected \(64,\)"),
        ("llama", {"blk.0.attn_q.bias": ones(64)}, [], r"no tensor blk\.0\.attn_k\.bias"),
        ("llama", {"blk.0.attn_output.bias": ones(64)}, [], r"attn_output\.bias is of a part"),
        ("llama", {"blk.0.attn_q_norm.weight": ones(16)}, [], r"attn_q_norm\.weight is of a part"),
        ("llama", {"blk.2.attn_q.weight": ones(64, 64)}, [], r"blk\.2\.attn_q\.weight is of a"),
        ("llama", {"output.weight": ones(259, 64)}, [], r"output\.weight is \(259, 64\)"),
    ],
)
def test_a_tensor_missing_left_over_or_of_another_shape_is_named(
    architecture: str, tensors: Any, dropped: list[str], reason: str, make_gguf: MakeGguf
) -> None:
    with pytest.raises(ModelLoadError, match=reason):
        open_weights(make_gguf(architecture, tensors=tensors, dropped=dropped))


def test_biases_of_a_llama_are_read_in_the_order_of_its_matrices(
    tiny: Any, make_gguf: MakeGguf
) -> None:
    """Rows of the matrix and entries of the bias are turned alike."""
    width = {"q": 64, "k": 32, "v": 32}
    tensors = {
        f"blk.{layer}.attn_{part}.bias": np.arange(size, dtype=np.float32)
        for layer in range(2)
        for part, size in width.items()
    }
    tensors["blk.0.attn_q.weight"] = np.repeat(tensors["blk.0.attn_q.bias"][:, None], 64, axis=1)
    layer = open_weights(make_gguf(tensors=tensors)).layer(0)
    assert layer.q_bias is not None
    assert layer.v_bias is not None
    np.testing.assert_array_equal(layer.q[:, 0], layer.q_bias)
    np.testing.assert_array_equal(layer.q_bias[:16], [*range(0, 16, 2), *range(1, 16, 2)])
    np.testing.assert_array_equal(layer.v_bias, np.arange(32))


def test_a_promise_of_more_layers_than_any_memory_holds_is_refused_at_the_first(
    make_gguf: MakeGguf,
) -> None:
    with pytest.raises(ModelLoadError, match=r"no tensor blk\.2\."):
        open_weights(make_gguf(keys={"llama.block_count": 1 << 60}))


def test_a_type_that_holds_no_weights_is_refused(make_gguf: MakeGguf) -> None:
    path = make_gguf(tensors={"blk.0.ffn_up.weight": np.ones((96, 64), dtype=np.int32)})
    with pytest.raises(ModelLoadError, match=r"ffn_up\.weight is of type I32"):
        open_weights(path)


def test_rows_must_be_whole_blocks(make_gguf: MakeGguf) -> None:
    """A norm over 16 numbers called Q8_0, whose blocks hold 32; the writer itself would refuse."""
    path = make_gguf("qwen3")
    raw = bytearray(path.read_bytes())
    name = b"blk.0.attn_q_norm.weight"
    kind = raw.index(name) + len(name) + 4 + 8
    raw[kind : kind + 4] = (8).to_bytes(4, "little")
    path.write_bytes(raw)
    with pytest.raises(ModelLoadError, match="rows of 16, which blocks of 32 do not fill"):
        open_weights(path)


def test_a_tensor_that_stands_twice_is_refused(make_gguf: MakeGguf) -> None:
    path = make_gguf()
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b"blk.1.attn_q.weight", b"blk.0.attn_q.weight"))
    with pytest.raises(ModelLoadError, match="twice"):
        open_weights(path)


def test_a_part_of_a_split_file_is_refused(make_gguf: MakeGguf) -> None:
    with pytest.raises(ModelLoadError, match="split"):
        open_weights(make_gguf(keys={"split.count": 3}))
