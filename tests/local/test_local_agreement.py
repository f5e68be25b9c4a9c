"""The three runtimes are one model: in float32 they say the same, token by token.

On a copy of the embedded model's file whose weights are in half precision, which all three read as they are.
OpenVINO GenAI rounds the block minima of the file's own Q4_1 to whole steps, and so runs another model.
"""

from __future__ import annotations

import importlib
import itertools
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tt_compute.types import GenerateRequest, Message, SamplingParams, TokenLogprob
from tt_compute_backends.engine.runtime import LoadRequest
from tt_compute_backends.engine.sampling import row_params

pytestmark = [pytest.mark.model, pytest.mark.timeout(600)]

PROMPTS = [
    "What is the capital of France?",
    "List the first five even numbers.",
    "Write one sentence about the sea.",
    "What is 7 times 8?",
    "Who wrote Hamlet?",
    "What color is the sky on a clear day?",
    "Name three fruits.",
    "What is the opposite of hot?",
    "Explain gravity in one sentence.",
    "How many days are in a week?",
    "Translate 'good morning' to Spanish.",
    "What do bees make?",
    "Give me a word that rhymes with 'cat'.",
    "What is the largest planet?",
    "Is water wet? Answer yes or no.",
    "Write a haiku about autumn.",
    "What comes after Monday?",
    "Which animal says 'meow'?",
    "What is H2O?",
    "Finish the sentence: The quick brown fox",
]
TOKENS = 16
CLOSE_NATS = 0.02
"""Two tokens so near each other may change places between equally exact sums in another order."""
RUNTIMES = {
    "openvino": ("tt_compute_backends.openvino_runtime", "OpenVinoRuntime"),
    "onnxruntime": ("tt_compute_backends.onnx_runtime", "OnnxRuntime"),
    "torch": ("tt_compute_backends.torch_runtime", "TorchRuntime"),
}
OPTIONS: dict[str, dict[str, object]] = {
    "openvino": {"reproducible": True},
    "onnxruntime": {},
    "torch": {"dtype": "fp32"},
}


@dataclass
class Said:
    """A greedy completion."""

    tokens: list[str] = field(default_factory=list[str])
    logprobs: list[TokenLogprob] = field(default_factory=list[TokenLogprob])


ROWS = itertools.count()


def complete(runtime: Any, prompt: str, logprobs: int) -> Said:
    request = GenerateRequest(
        messages=(Message(role="user", content=prompt),),
        sampling=SamplingParams(temperature=0, max_tokens=TOKENS, logprobs=logprobs, seed=1),
    )
    prepared = runtime.prepare(request)
    runtime.add(next(ROWS), prepared, row_params(request, prepared, 1, 0))
    said = Said()
    while True:
        for step in runtime.step():
            said.logprobs += step.logprobs
            said.tokens += [logprob.token for logprob in step.logprobs]
            if step.finish is not None:
                return said


def write_half_precision(source: Path, target: Path) -> None:
    """The same file with other weights."""
    library: Any = importlib.import_module("gguf")
    reader, writer = library.GGUFReader(source), library.GGUFWriter(target, "llama")
    for entry in reader.fields.values():
        if entry.name.startswith("GGUF.") or entry.name in {
            "general.architecture",
            "general.file_type",
        }:
            continue
        inner = entry.types[-1] if len(entry.types) > 1 else None
        writer.add_key_value(entry.name, entry.contents(), entry.types[0], inner)
    writer.add_file_type(library.LlamaFileType.MOSTLY_F16)
    for tensor in reader.tensors:
        values = library.quants.dequantize(tensor.data, tensor.tensor_type)
        values = values.reshape(tuple(int(size) for size in tensor.shape[::-1]))
        writer.add_tensor(tensor.name, values if values.ndim == 1 else values.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="module")
def runtimes(embedded_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All that are installed, in float32."""
    weights = tmp_path_factory.mktemp("half") / "half.gguf"
    write_half_precision(embedded_model, weights)
    found: dict[str, Any] = {}
    for name, (module, kind) in RUNTIMES.items():
        library = "openvino_genai" if name == "openvino" else name
        if find_spec(library) is None:
            continue
        path = weights
        if name == "onnxruntime":
            path = tmp_path_factory.mktemp("onnx")
            importlib.import_module("tt_compute_backends.onnx_convert").convert(
                weights, path, "fp32"
            )
        found[name] = getattr(importlib.import_module(module), kind)()
        found[name].load(
            LoadRequest(
                runtime=f"{module}:{kind}",
                model_path=str(path),
                device="CPU" if name == "openvino" else "cpu",
                threads=2,
                max_rows=1,
                memory_bytes=None,
                max_context_tokens=None,
                chat_template=None,
                options=OPTIONS[name],
            )
        )
    if len(found) < 2:
        pytest.skip("fewer than two runtimes are installed")
    return found


@pytest.fixture(scope="module")
def said(runtimes: dict[str, Any]) -> dict[str, list[Said]]:
    """What each runtime says to each prompt, with as many logprobs as it gives."""
    return {
        name: [complete(runtime, prompt, 1 if name == "openvino" else 20) for prompt in PROMPTS]
        for name, runtime in runtimes.items()
    }


@pytest.fixture(scope="module")
def reference(said: dict[str, list[Said]]) -> list[Said]:
    """Of a runtime that tells how likely the other tokens were."""
    return said["torch" if "torch" in said else "onnxruntime"]


def closeness(said: Said, place: int) -> float:
    """How far the second likeliest token was behind, in nats."""
    top = said.logprobs[place].top
    return top[0][1] - top[1][1]


def test_they_say_the_same_but_where_two_tokens_are_as_good(
    said: dict[str, list[Said]], reference: list[Said]
) -> None:
    """Greedy completions of 20 prompts; at a first difference the likeliest two were next to each other."""
    for name, completions in said.items():
        for prompt, found, expected in zip(PROMPTS, completions, reference, strict=True):
            pairs = enumerate(zip(found.tokens, expected.tokens, strict=False))
            place = next((i for i, (one, other) in pairs if one != other), None)
            if place is not None:
                assert closeness(expected, place) < CLOSE_NATS, (name, prompt, place)


def test_their_first_tokens_are_as_likely(
    said: dict[str, list[Said]], reference: list[Said]
) -> None:
    """The whole head of the distribution where a runtime gives it, else the likeliest token."""
    for name, completions in said.items():
        for prompt, found, expected in zip(PROMPTS, completions, reference, strict=True):
            first = found.logprobs[0]
            likely = dict(expected.logprobs[0].top)
            for token, logprob in first.top or ((first.token, first.logprob),):
                if token in likely:
                    assert logprob == pytest.approx(likely[token], abs=0.002), (name, prompt)
