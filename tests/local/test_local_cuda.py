"""torch on a GPU says what torch on the CPU says. Skipped without one; ``make test-cuda`` runs these alone."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tt_compute.types import GenerateRequest, Message, SamplingParams, TokenLogprob
from tt_compute_backends.engine.runtime import LoadRequest
from tt_compute_backends.engine.sampling import row_params

pytestmark = [pytest.mark.model, pytest.mark.cuda, pytest.mark.timeout(600)]

PROMPTS = ("What is the capital of France?", "What is 7 times 8?", "Write a haiku about autumn.")
RUNTIME = "tt_compute_backends.torch_runtime:TorchRuntime"


@pytest.fixture(scope="module")
def torch() -> Any:
    """The library, where it has a GPU."""
    if find_spec("torch") is None:
        pytest.skip("torch is not installed")
    library: Any = importlib.import_module("torch")
    if not library.cuda.is_available():
        pytest.skip("torch has no GPU here")
    return library


def load(weights: Path, device: str, dtype: str) -> Any:
    runtime = importlib.import_module("tt_compute_backends.torch_runtime").TorchRuntime()
    runtime.load(
        LoadRequest(
            runtime=RUNTIME,
            model_path=str(weights),
            device=device,
            threads=None,
            max_rows=4,
            memory_bytes=None,
            max_context_tokens=None,
            chat_template=None,
            options={"dtype": dtype},
        )
    )
    return runtime


def greedy(runtime: Any, prompt: str, tokens: int) -> list[TokenLogprob]:
    """The tokens of a completion, each with its likeliest rivals."""
    request = GenerateRequest(
        messages=(Message(role="user", content=prompt),),
        sampling=SamplingParams(temperature=0, max_tokens=tokens, logprobs=5, seed=1),
    )
    prepared = runtime.prepare(request)
    runtime.add(0, prepared, row_params(request, prepared, 1, 0))
    said: list[TokenLogprob] = []
    while True:
        for step in runtime.step():
            said += step.logprobs
            if step.finish is not None:
                return said


def test_in_float32_it_says_what_the_cpu_says(torch: Any, embedded_model: Path) -> None:
    """Greedy, 16 tokens of each prompt; TF32 is off unless a user asks torch for it."""
    del torch
    on_cpu, on_gpu = (load(embedded_model, device, "fp32") for device in ("cpu", "cuda:0"))
    for prompt in PROMPTS:
        expected, found = greedy(on_cpu, prompt, 16), greedy(on_gpu, prompt, 16)
        assert [one.token for one in found] == [one.token for one in expected], prompt


@pytest.mark.parametrize(("dtype", "nats"), [("bf16", 0.1), ("fp16", 0.03), ("int8", 0.3)])
def test_in_fewer_bits_its_first_token_is_about_as_likely(
    torch: Any, embedded_model: Path, dtype: str, nats: float
) -> None:
    """Against float32 on the CPU, over the five likeliest tokens."""
    del torch
    on_cpu, on_gpu = load(embedded_model, "cpu", "fp32"), load(embedded_model, "cuda:0", dtype)
    for prompt in PROMPTS:
        expected, found = greedy(on_cpu, prompt, 1)[0], greedy(on_gpu, prompt, 1)[0]
        likely = dict(found.top)
        shared = [(token, logprob) for token, logprob in expected.top if token in likely]
        assert shared, prompt
        for token, logprob in shared:
            assert likely[token] == pytest.approx(logprob, abs=nats), (prompt, token)


def test_what_ended_rows_held_is_free_again(torch: Any, embedded_model: Path) -> None:
    """Peak memory of the tenth run is that of the second: nothing piles up."""
    runtime = load(embedded_model, "cuda:0", "bf16")
    peaks: list[int] = []
    for _ in range(10):
        torch.cuda.reset_peak_memory_stats()
        greedy(runtime, PROMPTS[2], 64)
        peaks.append(torch.cuda.max_memory_allocated())
    assert peaks[-1] <= peaks[1] * 1.01
