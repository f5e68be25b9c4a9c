"""The three local runtimes beside the bare runtimes and other engines, on the same weights in the same run.

    python benchmarks/local_runtimes.py --output docs/figures/local_runtimes.md

Every contestant is a process of its own that loads the model once and then waits; the runs are interleaved, so
that a slow minute of the machine hits all of them. A run draws N samples of a new prompt. Samples end by
themselves or after 128 tokens, and what counts is the tokens that were made over the whole time, prefill
included. Contestants that are not installed are left out: ``pip install transformers onnxruntime-genai``
and ``CMAKE_ARGS=-DGGML_NATIVE=ON pip install llama-cpp-python`` (compiled for the machine: minutes).
"""

from __future__ import annotations

import argparse
import importlib.metadata
import itertools
import os
import random
import statistics
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from contestants import CONTESTANTS, PAIRS, TOKENS, Job, Made
from report import conditions, markdown, write
from throughput import WORDS
from tt_compute.bench.memory import process_tree_bytes

# --- the worker's side ---------------------------------------------------------------------------


def work(name: str, threads: int) -> None:
    """Serve jobs from standard input, one JSON document a line."""
    # Libraries print; the answers have a descriptor of their own.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    run = CONTESTANTS[name][1](threads)
    answers.write("ready\n")
    answers.flush()
    for line in sys.stdin:
        job = msgspec.json.decode(line, type=Job)
        started = time.perf_counter()
        tokens, first_s = run(job)
        took_s = time.perf_counter() - started
        made = Made(
            tokens=tokens, took_s=took_s, first_s=first_s, rss_bytes=process_tree_bytes() or 0
        )
        answers.write(msgspec.json.encode(made).decode() + "\n")
        answers.flush()


class Worker:
    """A contestant in its process."""

    def __init__(self, name: str, threads: int) -> None:
        command = [sys.executable, __file__, "--worker", name, "--threads", str(threads)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            raise SystemExit(f"{name} did not start")

    def run(self, job: Job) -> Made:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(job).decode() + "\n")
        self._process.stdin.flush()
        return msgspec.json.decode(self._process.stdout.readline(), type=Made)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


# --- the run -------------------------------------------------------------------------------------


def prompt(number: int, words: int) -> str:
    rng = random.Random(number)
    return (
        f"Write a very long story ({number}) about: "
        f"{' '.join(rng.choice(WORDS) for _ in range(words))}"
    )


def spread(values: list[float], digits: int = 0) -> str:
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def measure(
    workers: dict[str, Worker], waves: list[int], rounds: int
) -> dict[tuple[str, int], list[Made]]:
    numbers = itertools.count(1)
    found: dict[tuple[str, int], list[Made]] = {}
    for worker in workers.values():
        worker.run(Job(text=prompt(0, 150), n=2, tokens=16))
    for n in waves:
        for _ in range(rounds):
            job = Job(text=prompt(next(numbers), 165), n=n, tokens=TOKENS)
            for name, worker in workers.items():
                found.setdefault((name, n), []).append(worker.run(job))
                sys.stderr.write(f"{name}, {n} samples\n")
    return found


def speed(made: Made) -> float:
    return made.tokens / made.took_s


def speed_rows(found: dict[tuple[str, int], list[Made]], names: list[str], waves: list[int]) -> Any:
    for name in names:
        yield [name, *(spread([speed(made) for made in found[name, n]]) for n in waves)]


def other_rows(found: dict[tuple[str, int], list[Made]], names: list[str], waves: list[int]) -> Any:
    for name in names:
        first = [spread([made.first_s * 1000 for made in found[name, n]]) for n in waves]
        memory = max(made.rss_bytes for made in found[name, waves[-1]])
        yield [name, *first, f"{memory / 1e6:.0f}"]


def ratio_rows(found: dict[tuple[str, int], list[Made]], names: list[str], waves: list[int]) -> Any:
    for mine, peer in PAIRS.items():
        if mine in names and peer in names:
            ratios = [
                statistics.median(
                    speed(one) / speed(other)
                    for one, other in zip(found[mine, n], found[peer, n], strict=True)
                )
                for n in waves
            ]
            yield [f"{mine} / {peer}", *(f"{ratio:.2f}" for ratio in ratios)]


def prefill_rows(workers: dict[str, Worker], rounds: int) -> list[list[object]]:
    numbers = itertools.count(10_000)
    rows: list[list[object]] = []
    for name, worker in workers.items():
        if name not in PAIRS:
            continue
        took = {
            n: [
                worker.run(Job(text=prompt(next(numbers), 960), n=n, tokens=1)).took_s
                for _ in range(rounds)
            ]
            for n in (1, 16)
        }
        one, many = (statistics.median(took[n]) for n in (1, 16))
        rows.append([name, f"{one:.3f}", f"{many:.3f}", f"{many / one:.2f}"])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--waves", default="1,4,16,32")
    parser.add_argument("--only", default="", help="names that hold one of these, by commas")
    parser.add_argument("--output", type=Path, help="write the report here too")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker, options.threads)
        return
    wanted = [part for part in options.only.split(",") if part]
    names = [
        name
        for name, (module, _) in CONTESTANTS.items()
        if find_spec(module) and (not wanted or any(part in name for part in wanted))
    ]
    waves = [int(part) for part in options.waves.split(",")]
    workers = {name: Worker(name, options.threads) for name in names}
    found = measure(workers, waves, options.rounds)
    prefill = prefill_rows(workers, options.rounds)
    for worker in workers.values():
        worker.close()
    write(options.output, report(found, names, waves, prefill, options.rounds))


def report(
    found: dict[tuple[str, int], list[Made]],
    names: list[str],
    waves: list[int],
    prefill: list[list[object]],
    rounds: int,
) -> str:
    widths = [f"{n}" for n in waves]
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}"
        for name in (
            "onnxruntime",
            "onnxruntime-genai",
            "torch",
            "transformers",
            "llama-cpp-python",
        )
        if find_spec(name.removesuffix("-python").replace("-", "_"))
    )
    return "\n\n".join(
        (
            "# The local runtimes beside their peers",
            f"`python benchmarks/local_runtimes.py --rounds {rounds}`: {conditions()}, {versions}.",
            f"Tokens/s by samples at once; 200 tokens in, up to {TOKENS} out; median (range), interleaved.",
            markdown(["contestant", *widths], list(speed_rows(found, names, waves))),
            "Ours against its own runtime's loop: median ratio of pairs.",
            markdown(["pair", *widths], list(ratio_rows(found, names, waves))),
            "Time to the first token in ms, and resident memory after the widest wave in MB.",
            markdown(["contestant", *widths, "MB"], list(other_rows(found, names, waves))),
            "One prefill for all samples of a prompt: 1,000 tokens in, 1 out; median seconds.",
            markdown(["backend", "1 sample", "16 samples", "ratio"], prefill),
        )
    )


if __name__ == "__main__":
    main()
