"""How long it takes to simulate a million requests, by what they do.

    python benchmarks/simulate.py --output docs/figures/simulate.md

Each case runs in a process of its own, on one core, at 80 % of the rate at which its fleet saturates. The time is
that of `Simulation.run`, drawing the arrivals and adding up the report included; setting up is planning and drawing
the courses that runs take.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from report import conditions, markdown, write
from tt_compute.clock import SystemClock
from tt_compute.planning.types import Objective
from tt_compute.profiles.library import ProfileLibrary
from tt_compute.profiles.schema import TaskKind
from tt_compute.simulation.routes import Asked
from tt_compute.simulation.simulation import Simulation
from tt_compute.simulation.workload import Kind, poisson

REQUESTS = 1_000_000
LOAD = 0.8
HOW = (
    "One process and one core for each case, the Python standard library alone. Arrivals are Poisson at 80 % of "
    "the rate at which the fleet saturates; prompts of 200 tokens."
)


class Case(NamedTuple):
    """What is simulated."""

    name: str
    deployments: tuple[str, ...]
    task: TaskKind
    asked: Asked
    replicas: Mapping[str, int] = {}


CASES = (
    Case(
        "one sample, an H100",
        ("vllm/llama-3.1-8b-h100",),
        "open",
        Asked(output_tokens=300),
    ),
    Case(
        "one sample, an H100 and four RTX 4090 that the planner prefers",
        ("vllm/llama-3.1-8b-h100", "llama.cpp/qwen3-8b-rtx-4090"),
        "open",
        Asked(output_tokens=300),
        {"llama.cpp/qwen3-8b-rtx-4090": 4},
    ),
    Case(
        "votes of up to 4, a service",
        ("mock/strong",),
        "math",
        Asked(objective=Objective(max_samples=4)),
    ),
    Case("votes of up to 16, a service", ("mock/strong",), "math", Asked()),
    Case("votes of up to 16, a CPU", ("local/smollm2-135m-openvino",), "math", Asked()),
)


class Timed(NamedTuple):
    """What it took."""

    setup_s: float
    run_s: float
    samples: float
    peak_mib: float


def measure(place: int) -> Timed:
    case = CASES[place]
    library = ProfileLibrary()
    specs = [library.resolve(deployment) for deployment in case.deployments]
    kind = Kind(case.task, 200, None)

    def simulation(rate: float, requests: int) -> Simulation:
        workload = poisson(kind, rate_per_s=rate, requests=requests, seed=1)
        return Simulation(workload, specs, case.replicas, case.asked, SystemClock())

    most = simulation(1.0, 1).saturation.rate_per_s
    assert most is not None
    began = time.perf_counter()
    million = simulation(LOAD * most, REQUESTS)
    ready = time.perf_counter()
    report = million.run()
    ended = time.perf_counter()
    assert report.served == REQUESTS
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Timed(ready - began, ended - ready, report.samples_mean or 0.0, peak)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, help="write the report here too")
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    rows: list[list[str]] = []
    for place, case in enumerate(CASES):
        with context.Pool(1) as pool:
            took = pool.apply(measure, (place,))
        rows.append(
            [
                case.name,
                f"{took.samples:.2f}",
                f"{took.run_s:.1f}",
                f"{took.run_s / REQUESTS * 1e6:.1f}",
                f"{took.setup_s:.1f}",
                f"{took.peak_mib:.0f}",
            ]
        )
    header = ["what", "samples per request", "run s", "us per request", "set up s", "peak MiB"]
    report = "\n\n".join(
        (
            "# A million simulated requests",
            f"`python benchmarks/simulate.py`: {conditions()}.",
            HOW,
            markdown(header, rows),
        )
    )
    write(options.output, report)


if __name__ == "__main__":
    main()
