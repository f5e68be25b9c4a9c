"""Hugging Face folders of the Llama family: what is read, and what is refused before it is misread."""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tt_compute.errors import ModelLoadError
from tt_compute_backends.llama.open import open_weights
from tt_compute_backends.llama.outputs import OUTPUTS

MakeFolder = Callable[..., Path]

LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


def ones(*shape: int) -> Any:
    return np.ones(shape, dtype=np.float32)


# --- the rotation --------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["rope_scaling", "rope_parameters"])
@pytest.mark.parametrize(
    ("rope", "factors"),
    [
        (None, ()),
        ({}, ()),
        ({"rope_type": "default"}, ()),
        ({"rope_type": "linear", "factor": 2}, (2.0,) * 8),
        ({"type": "linear", "factor": 2.5}, (2.5,) * 8),
        ({"rope_type": "linear", "type": "default", "factor": 2.0}, (2.0,) * 8),
    ],
    ids=str,
)
def test_rope_scaling_is_read_under_its_old_and_its_new_name(
    key: str, rope: Any, factors: tuple[float, ...], make_folder: MakeFolder
) -> None:
    """``rope_type`` counts before ``type``, as in transformers."""
    assert open_weights(make_folder(config={key: rope})).spec.rope_factors == factors


def test_the_base_beside_the_scaling_counts_before_the_one_outside(make_folder: MakeFolder) -> None:
    rope = {"rope_type": "default", "rope_theta": 5e5}
    spec = open_weights(make_folder(config={"rope_theta": 1e4, "rope_parameters": rope})).spec
    assert spec.rope_theta == 5e5


def test_llama3_scaling_is_that_of_transformers(make_folder: MakeFolder) -> None:
    """Its formula as it stands there: kept, slowed, or blended, by the length of the wave."""
    theta, half = 100.0, 8
    frequencies = theta ** (-np.arange(half) / half)
    waves = 2 * math.pi / frequencies
    smooth = (64 / waves - 1) / (4 - 1)
    blended = (1 - smooth) * frequencies / 8 + smooth * frequencies
    scaled = np.where(waves > 64 / 1, frequencies / 8, frequencies)
    scaled = np.where((waves >= 64 / 4) & (waves <= 64 / 1), blended, scaled)
    found = open_weights(make_folder(config={"rope_theta": theta, "rope_scaling": LLAMA3})).spec
    np.testing.assert_allclose(found.rope_factors, frequencies / scaled, rtol=1e-12)
    assert len({round(factor, 6) for factor in found.rope_factors}) > 3, "all three kinds of waves"


@pytest.mark.parametrize(
    ("rope", "reason"),
    [
        ({"rope_type": "dynamic", "factor": 2.0}, "rope scaling 'dynamic'"),
        ({"type": "yarn", "factor": 4.0, "attention_factor": 1.0}, "rope scaling 'yarn'"),
        ({"rope_type": "longrope", "short_factor": [1.0]}, "rope scaling 'longrope'"),
        ({"rope_type": 3}, "rope scaling 3"),
        ({"rope_type": ["linear"]}, "rope scaling"),
        ({"rope_type": "linear"}, "factor"),
        ({"rope_type": "linear", "factor": 0}, "factor"),
        ({"rope_type": "linear", "factor": "two"}, "factor"),
        ({"rope_type": "default", "partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ({"rope_type": "default", "mrope_section": [2, 3, 3]}, "mrope_section"),
        ({"full_attention": {"rope_type": "yarn", "factor": 4.0}}, "full_attention"),
        ({"rope_type": "llama3", "factor": 8.0}, "low_freq_factor"),
        (LLAMA3 | {"factor": 0}, "factor"),
        (LLAMA3 | {"high_freq_factor": 1.0}, "high_freq_factor must be above low_freq_factor"),
        (LLAMA3 | {"rope_theta": -1}, "rope_theta"),
    ],
    ids=str,
)
def test_a_rotation_that_would_be_misread_is_refused(
    rope: dict[str, Any], reason: str, make_folder: MakeFolder
) -> None:
    with pytest.raises(ModelLoadError, match=reason):
        open_weights(make_folder(config={"rope_parameters": rope}))


# --- the window ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("architecture", "config", "context_tokens"),
    [
        ("mistral", {"sliding_window": 100}, 100),
        ("mistral", {"sliding_window": None}, 8192),
        ("mistral", {}, 4096),
        ("mistral", {"sliding_window": 10_000}, 8192),
        ("qwen2", {"sliding_window": 100}, 8192),
        ("qwen2", {"sliding_window": 100, "use_sliding_window": False}, 8192),
        ("qwen2", {"sliding_window": 100, "use_sliding_window": True}, 100),
        ("qwen3", {"use_sliding_window": True}, 4096),
        ("qwen3", {}, 8192),
        ("llama", {}, 8192),
    ],
)
def test_the_context_ends_at_a_window_that_is_in_use(
    architecture: str, config: dict[str, Any], context_tokens: int, make_folder: MakeFolder
) -> None:
    """Within it attention sees everything. Mistral's is in use unless it is null, Qwen's when asked for."""
    folder = make_folder(architecture, config={"max_position_embeddings": 8192} | config)
    assert open_weights(folder).spec.context_tokens == context_tokens


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"model_type": "mixtral"}, "model_type 'mixtral'"),
        ({"model_type": ["llama"]}, "model_type"),
        ({"architectures": ["LlamaForSequenceClassification"]}, "LlamaForSequenceClassification"),
        ({"num_local_experts": 8}, "num_experts"),
        ({"rms_norm_eps": 0}, "rms_norm_eps"),
        ({"max_position_embeddings": 0}, "max_position_embeddings"),
        ({"num_hidden_layers": 10**12}, r"no tensor model\.layers\.2\."),
        ({"head_dim": 10**12}, "heads of 1000000000000"),
        ({"head_dim": 15}, "heads of 15"),
        ({"num_key_value_heads": -1}, "num_key_value_heads"),
        ({"vocab_size": 261}, "embed_tokens"),
        ({"rope_theta": "large"}, "rope_theta"),
        ({"tie_word_embeddings": False}, r"no tensor lm_head\.weight"),
    ],
    ids=str,
)
def test_a_config_that_would_be_misread_is_refused(
    config: dict[str, Any], reason: str, make_folder: MakeFolder
) -> None:
    with pytest.raises(ModelLoadError, match=reason):
        open_weights(make_folder(config=config))


@pytest.mark.parametrize("config", ["[]", "3", "{", "", '{"model_type": "llama"}', "[" * 100_000])
def test_a_config_that_is_none_is_refused(config: str, make_folder: MakeFolder) -> None:
    folder = make_folder()
    (folder / "config.json").write_text(config)
    with pytest.raises(ModelLoadError, match=r"config\.json"):
        open_weights(folder)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"architectures": ["LlamaForQuestionAnswering"]}, "LlamaForQuestionAnswering"),
        ({"architectures": ["LlamaForTokenClassification"]}, r"no tensor score\.weight"),
        ({"architectures": ["LlamaForRewardModelWithGating"]}, r"\*ForRewardModel"),
        ({"architectures": "LlamaModel"}, "architectures"),
        ({"architectures": []}, "architectures"),
        ({"architectures": ["LlamaModel"], "is_causal": False}, "is_causal"),
        ({"architectures": ["LlamaForSequenceClassification"]}, r"no tensor score\.weight"),
    ],
    ids=str,
)
def test_of_models_that_do_not_generate_too_others_are_refused(
    config: dict[str, Any], reason: str, make_folder: MakeFolder
) -> None:
    with pytest.raises(ModelLoadError, match=reason):
        open_weights(make_folder(config=config), OUTPUTS)


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ({"score.weight": ones(2, 64)}, r"score\.weight is \(2, 64\), expected \(1, 64\)"),
        ({"score.weight": ones(1, 64), "score.bias": ones(1)}, r"score\.bias is of a part"),
        ({"score.0.weight": ones(64, 64), "score.2.weight": ones(1, 64)}, r"score\.0\.bias"),
    ],
    ids=["labels", "bias", "half"],
)
def test_a_head_that_gives_no_reward_is_refused(
    tensors: Any, reason: str, make_folder: MakeFolder
) -> None:
    config = {"architectures": ["LlamaForSequenceClassification"]}
    with pytest.raises(ModelLoadError, match=reason):
        open_weights(make_folder(config=config, tensors=tensors), OUTPUTS)


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ({"score.weight": ones(9, 64), "score.bias": ones(9)}, r"score\.weight has 9 labels"),
        ({"score.weight": ones(2, 64), "score.bias": ones(1)}, r"score\.bias is \(1,\)"),
        ({"score.weight": ones(2)}, r"score\.weight is \(2,\), expected \(2, 64\)"),
    ],
    ids=["labels", "bias", "flat"],
)
def test_a_head_that_judges_no_steps_is_refused(
    tensors: Any, reason: str, make_folder: MakeFolder
) -> None:
    config = {"architectures": ["LlamaForTokenClassification"]}
    with pytest.raises(ModelLoadError, match=reason):
        open_weights(make_folder(config=config, tensors=tensors), OUTPUTS)


def test_what_is_not_asked_for_is_refused(make_folder: MakeFolder) -> None:
    """A runtime that only generates would draw nonsense from it."""
    with pytest.raises(ModelLoadError, match="an embedding model; only language models"):
        open_weights(make_folder(config={"architectures": ["LlamaModel"]}))


LAYER = "model.layers.0.self_attn."


@pytest.mark.parametrize(
    ("architecture", "config", "tensors", "dropped", "reason"),
    [
        ("llama", {"attention_bias": True}, {}, [], r"no tensor .*q_proj\.bias"),
        ("llama", {}, {f"{LAYER}q_proj.bias": ones(64)}, [], r"q_proj\.bias is of a part"),
        ("qwen2", {}, {f"{LAYER}o_proj.bias": ones(64)}, [], r"o_proj\.bias is of a part"),
        ("qwen2", {}, {f"{LAYER}q_proj.bias": ones(3)}, [], r"q_proj\.bias is \(3,\), expected"),
        ("qwen2", {}, {}, [f"{LAYER}k_proj.bias"], r"no tensor .*k_proj\.bias"),
        ("qwen3", {}, {}, [f"{LAYER}k_norm.weight"], r"no tensor .*k_norm\.weight"),
        ("llama", {}, {f"{LAYER}sinks": ones(4)}, [], r"sinks is of a part"),
        ("llama", {}, {"model.vision.weight": ones(4)}, [], r"vision\.weight is of a part"),
        (
            "llama",
            {},
            {"model.norm.weight": np.ones(64, dtype=np.float64)},
            [],
            r"norm\.weight is of type F64",
        ),
    ],
)
def test_a_tensor_that_would_be_left_out_or_misread_is_named(
    architecture: str,
    config: Any,
    tensors: Any,
    dropped: list[str],
    reason: str,
    make_folder: MakeFolder,
) -> None:
    folder = make_folder(architecture, config=config, tensors=tensors, dropped=dropped)
    with pytest.raises(ModelLoadError, match=reason):
        open_weights(folder)


@pytest.mark.parametrize(
    "name", ["lm_head.weight", "model.layers.0.self_attn.rotary_emb.inv_freq", "other.weight"]
)
def test_a_tensor_without_effect_is_no_hindrance(
    name: str, tiny: Any, make_folder: MakeFolder
) -> None:
    """The head of a tied model, a table of old files, and what is none of the model's."""
    found = open_weights(make_folder(tensors={name: ones(8)}))
    np.testing.assert_array_equal(found.head(), tiny.TinyModel().embedding())


def test_a_llama_with_biases_has_them(make_folder: MakeFolder) -> None:
    tensors = {
        f"model.layers.{layer}.self_attn.{part}_proj.bias": np.full(size, layer, dtype=np.float32)
        for layer in range(2)
        for part, size in {"q": 64, "k": 32, "v": 32}.items()
    }
    layer = open_weights(make_folder(config={"attention_bias": True}, tensors=tensors)).layer(1)
    np.testing.assert_array_equal(layer.q_bias, ones(64))


# --- shards --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weight_map", "reason"),
    [
        ({"x": "../x.safetensors"}, "outside"),
        ({"x": "/etc/hosts"}, "outside"),
        ({"x": "sub/x.safetensors"}, "outside"),
        ({"x": "sub\\x.safetensors"}, "outside"),
        ({"x": ".."}, "outside"),
        ({"x": ""}, "outside"),
        ({"x": "gone.safetensors"}, r"gone\.safetensors is missing"),
        ({"x": "n" * 5000}, "is missing"),
        ({"x": "nul\0.safetensors"}, "is missing"),
        ({"x": "config.json"}, r"config\.json is not a whole safetensors file"),
        ({"x": 5}, "weight_map"),
        ([], "weight_map"),
        (None, "weight_map"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_index_leads_to_whole_files_of_its_folder_only(
    weight_map: Any, reason: str, make_folder: MakeFolder
) -> None:
    folder = make_folder()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(ModelLoadError, match=reason):
        open_weights(folder)


def test_a_tensor_in_two_shards_is_refused(make_folder: MakeFolder) -> None:
    """Which of the two is meant cannot be known."""
    folder = make_folder()
    library: Any = importlib.import_module("safetensors.numpy")
    library.save_file({"model.norm.weight": ones(64)}, folder / "second.safetensors")
    index = {"a": "model.safetensors", "b": "second.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    with pytest.raises(ModelLoadError, match=r"model\.norm\.weight is in model\.safetensors and"):
        open_weights(folder)


@pytest.mark.parametrize("pickle", ["pytorch_model.bin", "consolidated.00.pth", "model.pt"])
def test_pickles_are_named_and_never_opened(pickle: str, make_folder: MakeFolder) -> None:
    folder = make_folder()
    (folder / "model.safetensors").unlink()
    (folder / pickle).write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    with pytest.raises(ModelLoadError, match=f"{pickle}, a pickle") as caught:
        open_weights(folder)
    assert "convert them to safetensors" in (caught.value.hint or "")
