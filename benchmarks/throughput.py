"""Our OpenVINO backend beside the bare runtime, in one run, on the embedded model.

    python benchmarks/throughput.py --output docs/figures/throughput.md

The peer is OpenVINO GenAI's ``ContinuousBatchingPipeline`` in this process, in its best known
configuration (``docs/design/001-spine.md``): one request per sample, prefix caching, bf16 KV cache, the
first sample first so that the others share its prefill, texts decoded at the end. Ours is the backend as
the client uses it: engine in a process of its own, events over a pipe, texts decoded as they come.
Every pair of measurements has a prompt of its own, so that no prefix of an earlier one is cached, and the
same seeds on both sides, so that both make nearly the same tokens.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tt_compute as tt
from report import conditions, markdown, write
from tt_compute.modelstore.store import LocalModelStore
from tt_compute.types import sample_seed
from tt_compute_backends.openvino import REQUANTISER

DEPLOYMENT = "local/smollm2-135m-openvino"
MODEL = "smollm2-135m-instruct"
TOKENS = 128
SEED = 1
WAVES = (1, 4, 16)
WORDS = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "a",
    "lazy",
    "dog",
    "while",
    "birds",
    "sing",
    "and",
    "rivers",
    "run",
    "under",
    "stars",
]


def prompt(number: int, words: int) -> str:
    rng = random.Random(number)
    return f"Write a very long story ({number}) about: {' '.join(rng.choice(WORDS) for _ in range(words))}"


class Bare:
    """The runtime and nothing else."""

    def __init__(self, path: Path, threads: int) -> None:
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type] # the documented way to switch it off
        import openvino_genai

        self._genai: Any = openvino_genai
        scheduler: Any = openvino_genai.SchedulerConfig()
        scheduler.cache_size = 1
        scheduler.max_num_batched_tokens = 256
        scheduler.enable_prefix_caching = True
        scheduler.dynamic_split_fuse = True
        properties = {"INFERENCE_NUM_THREADS": threads, "KV_CACHE_PRECISION": "bf16"}
        self._pipeline: Any = openvino_genai.ContinuousBatchingPipeline(
            str(path), scheduler, "CPU", properties
        )
        self._tokenizer: Any = self._pipeline.get_tokenizer()
        self._numbers = itertools.count()
        self.first_s = 0.0
        """Of the last run's first token."""

    def run(self, text: str, n: int, tokens: int) -> int:
        """Sample ``n`` texts; returns the tokens made."""
        started, self.first_s = time.perf_counter(), 0.0
        message = [{"role": "user", "content": text}]
        chat = self._tokenizer.apply_chat_template(message, add_generation_prompt=True)
        ids = self._tokenizer.encode(chat, add_special_tokens=False).input_ids
        made: list[list[int]] = [[] for _ in range(n)]
        handles: list[Any] = [self._add(ids, 0, tokens)]
        running = self._genai.GenerationStatus.RUNNING
        while any(handle.get_status() == running for handle in handles):
            self._pipeline.step()
            for handle, row in zip(handles, made, strict=False):
                while handle.can_read():
                    for output in handle.read().values():
                        row.extend(output.generated_ids)
            if made[0] and not self.first_s:
                self.first_s = time.perf_counter() - started
            if len(handles) == 1 and made[0]:
                handles += [self._add(ids, k, tokens) for k in range(1, n)]
        self._tokenizer.decode(made)
        return sum(map(len, made))

    def _add(self, ids: Any, k: int, tokens: int) -> Any:
        config: Any = self._genai.GenerationConfig()
        config.max_new_tokens = tokens
        config.do_sample = True
        config.temperature = 0.8
        config.top_p = 0.95
        config.rng_seed = sample_seed(SEED, k)
        config.apply_chat_template = False
        return self._pipeline.add_request(next(self._numbers), ids, config)


async def ours(client: tt.AsyncClient, text: str, n: int, tokens: int) -> int:
    sampling = tt.SamplingParams(temperature=0.8, top_p=0.95, max_tokens=tokens, seed=SEED)
    samples = await client.generate(text, deployment=DEPLOYMENT, n=n, sampling=sampling)
    return sum(sample.usage.output_tokens for sample in samples)


Runner = Callable[[str, int, int], int]
"""(prompt, samples, tokens of each) -> tokens made."""


def seconds(run: Runner, text: str, n: int, tokens: int) -> tuple[float, int]:
    started = time.perf_counter()
    made = run(text, n, tokens)
    return time.perf_counter() - started, made


def speed(run: Runner, text: str, n: int) -> float:
    """Tokens/s."""
    took, made = seconds(run, text, n, TOKENS)
    return made / took


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.0f} ({min(values):.0f}-{max(values):.0f})"


def decode_rows(mine: Runner, bare: Runner, rounds: int) -> list[list[object]]:
    numbers = itertools.count(1)
    rows: list[list[object]] = []
    for n in WAVES:
        speeds: dict[str, list[float]] = {"mine": [], "bare": []}
        runners = [("mine", mine), ("bare", bare)]
        for _ in range(rounds):
            text = prompt(next(numbers), 200)
            for name, run in runners:
                speeds[name].append(speed(run, text, n))
            runners.reverse()
        ratio = statistics.median(a / b for a, b in zip(*speeds.values(), strict=True))
        medians = statistics.median(speeds["mine"]) / statistics.median(speeds["bare"])
        rows.append([n, *map(spread, speeds.values()), f"{ratio:.3f}", f"{medians:.3f}"])
    return rows


def prefill_rows(run: Runner, rounds: int) -> list[list[object]]:
    """A long prompt and one token: sixteen samples against one."""
    numbers = itertools.count(10_000)
    took: dict[int, list[float]] = {1: [], 16: []}
    for _ in range(rounds):
        for n, all_seconds in took.items():
            all_seconds.append(seconds(run, prompt(next(numbers), 960), n, 1)[0])
    one, many = (statistics.median(took[n]) for n in (1, 16))
    return [["1,000 tokens in, 1 token out", f"{one:.3f}", f"{many:.3f}", f"{many / one:.2f}"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, help="write the report here too")
    options = parser.parse_args()
    loop = asyncio.new_event_loop()
    config = tt.Config.from_mapping(
        {
            "deployments": [
                {"id": DEPLOYMENT, "override": {"placement": {"threads": options.threads}}}
            ],
            "store": {"enabled": False},
        }
    )
    client = tt.AsyncClient(config)
    store = LocalModelStore(config.cache_dir)
    pulled = loop.run_until_complete(store.pull(config.library.model(MODEL), "gguf"))
    # The copy that ours loads, so that both run the same weights.
    path = loop.run_until_complete(store.convert(pulled, REQUANTISER)) / "model.gguf"
    loop.run_until_complete(client.warm(DEPLOYMENT))
    bare = Bare(path, options.threads)

    def run_ours(text: str, n: int, tokens: int) -> int:
        return loop.run_until_complete(ours(client, text, n, tokens))

    for n in WAVES:
        run_ours(prompt(-n, 200), n, 16)
        bare.run(prompt(-n - 100, 200), n, 16)
    decode = decode_rows(run_ours, bare.run, options.rounds)
    prefill = prefill_rows(run_ours, options.rounds)
    loop.run_until_complete(client.aclose())
    report = "\n\n".join(
        (
            "# The OpenVINO backend beside the bare runtime",
            f"`python benchmarks/throughput.py --rounds {options.rounds}`: {conditions()}.",
            f"Tokens/s, about 220 tokens in, up to {TOKENS} out; median (lowest-highest), interleaved.",
            markdown(
                ["samples", "ours", "bare runtime", "median ratio of pairs", "ratio of medians"],
                decode,
            ),
            "One prefill for all samples of a prompt, through our backend; median seconds.",
            markdown(["work", "1 sample", "16 samples", "ratio"], prefill),
        )
    )
    write(options.output, report)


if __name__ == "__main__":
    main()
