"""What a cancelled sample saves: half of a wave of 16 is cancelled half-way, on each local runtime.

    python benchmarks/adaptive.py --output docs/figures/adaptive.md

If cancelled rows stop costing at once, the wave takes the mean of what 16 and what 8 whole samples take.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import statistics
import time
from importlib.util import find_spec
from pathlib import Path

import tt_compute as tt
from report import conditions, markdown, write
from throughput import WORDS
from tt_compute.types import Delta, Sample

TOKENS = 128
WIDE, NARROW = 16, 8
EXPLANATION = "Expected is the mean of the two whole waves; saved is the part of the difference that was gained, 1 = all."
RUNTIMES = {"openvino": "openvino_genai", "onnxruntime": "onnxruntime", "torch": "torch"}


def prompt(number: int) -> str:
    rng = random.Random(number)
    words = " ".join(rng.choice(WORDS) for _ in range(165))
    return f"Write a very long story ({number}) about: {words}"


async def wave(
    client: tt.AsyncClient, deployment: str, text: str, width: int, *, cancel: bool
) -> tuple[float, int]:
    """Seconds and tokens; with ``cancel`` the second half ends once the first row is half-way."""
    sampling = tt.SamplingParams(temperature=0.8, top_p=0.95, max_tokens=TOKENS, seed=1)
    made = pieces = 0
    started = time.perf_counter()
    async with client.open(
        text, deployment=deployment, sampling=sampling, deltas="text"
    ) as generation:
        generation.draw(width)
        async for event in generation:
            if isinstance(event, Sample):
                made += event.usage.output_tokens
            elif isinstance(event, Delta) and event.index == 0:
                pieces += 1
                if cancel and pieces == TOKENS // 2:
                    for index in range(NARROW, width):
                        generation.cancel(index)
    return time.perf_counter() - started, made


async def measure(name: str, rounds: int) -> list[object]:
    deployment = f"local/smollm2-135m-{name}"
    config = tt.Config.from_mapping({"deployments": [deployment], "store": {"enabled": False}})
    numbers = itertools.count()
    runs: dict[str, list[float]] = {"wide": [], "narrow": [], "cancelled": []}
    async with tt.AsyncClient(config) as client:
        await wave(client, deployment, prompt(-1), WIDE, cancel=False)
        for _ in range(rounds):
            text = prompt(next(numbers))
            # Every run has a prompt of its own, of the same length.
            for kind, width in (("wide", WIDE), ("narrow", NARROW), ("cancelled", WIDE)):
                took, _ = await wave(
                    client, deployment, f"{kind} {text}", width, cancel=kind == "cancelled"
                )
                runs[kind].append(took)
    wide, narrow, cancelled = (statistics.median(times) for times in runs.values())
    expected = (wide + narrow) / 2
    return [
        name,
        f"{wide:.2f}",
        f"{narrow:.2f}",
        f"{cancelled:.2f}",
        f"{expected:.2f}",
        f"{(wide - cancelled) / (wide - expected):.2f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, help="write the report here too")
    options = parser.parse_args()
    rows = [
        asyncio.run(measure(name, options.rounds))
        for name, library in RUNTIMES.items()
        if find_spec(library)
    ]
    header = ["backend", "16 whole", "8 whole", "8 of 16 cancelled half-way", "expected", "saved"]
    report = "\n\n".join(
        (
            "# What a cancelled sample saves",
            f"`python benchmarks/adaptive.py --rounds {options.rounds}`: {conditions()}.",
            f"Seconds, medians; 200 tokens in, up to {TOKENS} out. {EXPLANATION}",
            markdown(header, rows),
        )
    )
    write(options.output, report)


if __name__ == "__main__":
    main()
