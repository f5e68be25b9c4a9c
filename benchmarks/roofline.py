"""How near each local runtime comes to what this machine's memory and arithmetic allow.

    python benchmarks/roofline.py --output docs/figures/roofline.md

With one sample every decode step reads all weights once: the bytes read per second stand beside the bandwidth of
the machine. With 32 the same bytes serve 32 rows: the FLOP/s stand beside the rate of a matrix product of the
shapes that a step is made of. Both limits are measured here, in the same run, by torch and on all threads.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from contestants import CONTESTANTS, TOKENS, Job, Made, store
from local_runtimes import Worker, prompt
from report import conditions, markdown, write
from tt_compute_backends.llama.open import open_weights

BYTES_PER_WEIGHT = {
    "openvino (ours)": 1 + 2 / 32,
    "onnxruntime (ours)": 1 + 4 / 32,
    "torch bf16 (ours)": 2.0,
    "torch int8 (ours)": 1.0,
    "llama.cpp": 1 + 2 / 32,
}
"""What each keeps of a weight: 8 bits with a scale for 32 (fp16 or fp32), bfloat16, 8 bits with a scale a row."""
WIDE = 32
SKINNY_SHAPES = ((576, 960), (576, 576), (576, 3072), (1536, 576))
"""Inputs and outputs of the products of one layer: query/key/value, output, gate and up, down."""


def best_s(run: Callable[[], object], rounds: int = 9) -> float:
    """The median time of ``run`` after a first call."""
    run()
    took: list[float] = []
    for _ in range(rounds):
        started = time.perf_counter()
        run()
        took.append(time.perf_counter() - started)
    return statistics.median(took)


def bandwidth_bytes_per_s(torch: Any) -> float:
    """Of reading 1 GB that no cache holds."""
    block = torch.ones(256 * 1024 * 1024, dtype=torch.float32)
    size: int = block.nbytes
    return size / best_s(block.sum)


def gemm_flops(torch: Any, dtype: Any, rows: int) -> float:
    """Rate of the products of one layer on ``rows`` rows, over as many layers as no cache holds."""
    layers = [
        [torch.randn(outputs, inputs).to(dtype) for inputs, outputs in SKINNY_SHAPES]
        for _ in range(30)
    ]
    inputs = [torch.randn(rows, size).to(dtype) for size, _ in SKINNY_SHAPES]

    def run() -> None:
        for layer in layers:
            for x, weights in zip(inputs, layer, strict=True):
                torch.nn.functional.linear(x, weights)

    operations = 2 * rows * len(layers) * sum(size * outputs for size, outputs in SKINNY_SHAPES)
    return operations / best_s(run)


def decode_rate(made: Made, n: int) -> float:
    """Tokens/s after the first one of each sample."""
    return (made.tokens - n) / (made.took_s - made.first_s)


def decode_rates(names: list[str], threads: int, rounds: int) -> dict[tuple[str, int], float]:
    rates: dict[tuple[str, int], float] = {}
    for name in names:
        worker = Worker(name, threads)
        worker.run(Job(text=prompt(0, 150), n=2, tokens=16))
        for n in (1, WIDE):
            rates[name, n] = statistics.median(
                decode_rate(worker.run(Job(text=prompt(at + 1, 165), n=n, tokens=TOKENS)), n)
                for at in range(rounds)
            )
        worker.close()
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, help="write the report here too")
    options = parser.parse_args()
    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(options.threads)
    weights = open_weights(store()[1]).spec.parameters
    bandwidth = bandwidth_bytes_per_s(torch)
    limits = {
        f"{kind}, {rows} rows": gemm_flops(torch, getattr(torch, kind), rows)
        for kind in ("float32", "bfloat16")
        for rows in (1, WIDE)
    }
    names = [name for name in BYTES_PER_WEIGHT if find_spec(CONTESTANTS[name][0])]
    rates = decode_rates(names, options.threads, options.rounds)
    write(options.output, report(weights, bandwidth, limits, rates, options.rounds))


def report(
    weights: int,
    bandwidth: float,
    limits: dict[str, float],
    rates: dict[tuple[str, int], float],
    rounds: int,
) -> str:
    gemm = limits[f"bfloat16, {WIDE} rows"]
    rows: list[list[object]] = []
    for name in dict.fromkeys(name for name, _ in rates):
        read = rates[name, 1] * weights * BYTES_PER_WEIGHT[name]
        flops = rates[name, WIDE] * 2 * weights
        rows.append(
            [
                name,
                f"{rates[name, 1]:.0f}",
                f"{read / 1e9:.1f}",
                f"{read / bandwidth:.0%}",
                f"{rates[name, WIDE]:.0f}",
                f"{flops / 1e9:.0f}",
                f"{flops / gemm:.0%}",
            ]
        )
    limit_rows = [
        ["memory, reading", f"{bandwidth / 1e9:.1f} GB/s"],
        *([f"products of {kind}", f"{rate / 1e9:.0f} GFLOP/s"] for kind, rate in limits.items()),
    ]
    header = ["contestant", "tokens/s at 1", "GB/s of weights", "of the memory"]
    header += [f"tokens/s at {WIDE}", "GFLOP/s", f"of bfloat16 at {WIDE} rows"]
    return "\n\n".join(
        (
            "# The local runtimes and the machine",
            f"`python benchmarks/roofline.py --rounds {rounds}`: {conditions()}, torch {importlib.import_module('torch').__version__}.",
            "What the machine does, by torch.",
            markdown(["limit", "measured"], limit_rows),
            f"What a decode makes of it, first tokens left out; {weights / 1e6:.0f} million weights a step.",
            markdown(header, rows),
        )
    )


if __name__ == "__main__":
    main()
