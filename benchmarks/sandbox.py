"""What checking a program in the sandbox takes: started beforehand, started for it, and without a sandbox.

python benchmarks/sandbox.py --output docs/figures/sandbox.md
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from report import conditions, markdown, write
from tt_compute.verify.sandbox.bubblewrap import BubblewrapSandbox
from tt_compute.verify.sandbox.launch import find_launch
from tt_compute.verify.sandbox.process import SandboxProcess
from tt_compute.verify.sandbox.runtime import find_runtime
from tt_compute.verify.sandbox.seccomp import filter_for
from tt_compute.verify.sandbox.types import Case, Program

RUNS = 100
PAUSE_S = 0.1
"""Between checks, so that the sandbox taken has been replaced; a sample takes longer to be drawn."""
BURST = 64
SOURCE = "def add(a, b):\n    return a + b\n"
HOW = (
    f"Milliseconds of {RUNS} checks, one after the other with a pause of {PAUSE_S:g} s. The program adds two "
    "numbers; a test calls it, and its value comes back. Programs run on the system's Python."
)


def program(tests: int) -> Program:
    return Program(source=SOURCE, cases=(Case(call="add", args=(2, 3)),) * tests)


async def timed(work: Callable[[], Awaitable[object]], pause_s: float = PAUSE_S) -> list[float]:
    took: list[float] = []
    for _ in range(RUNS):
        await asyncio.sleep(pause_s)
        started = time.perf_counter()
        await work()
        took.append((time.perf_counter() - started) * 1e3)
    return took


def row(name: str, took_ms: list[float]) -> list[str]:
    ranked = sorted(took_ms)
    p95 = ranked[int(0.95 * len(ranked))]
    return [name, f"{statistics.median(took_ms):.1f}", f"{p95:.1f}", f"{ranked[-1]:.1f}"]


async def cold() -> None:
    def check() -> None:
        process = SandboxProcess(find_launch())
        try:
            process.wait_ready(30)
            process.run(program(1), filter_for())
        finally:
            process.end()

    await asyncio.to_thread(check)


async def bare() -> None:
    command = [str(find_runtime().python), "-I", "-S", "-c", f"{SOURCE}print(add(2, 3))"]
    await asyncio.to_thread(subprocess.run, command, capture_output=True, check=True)


async def measure() -> tuple[list[list[str]], str]:
    sandbox = BubblewrapSandbox()
    try:
        started = time.perf_counter()
        await sandbox.ready()
        first_ms = (time.perf_counter() - started) * 1e3
        rows = [
            row(f"waiting sandbox, {tests} test{'s' if tests > 1 else ''}", await timed(check))
            for tests in (1, 4, 16)
            for check in [lambda tests=tests: sandbox.run(program(tests))]
        ]
        started = time.perf_counter()
        await asyncio.gather(*(sandbox.run(program(4)) for _ in range(BURST)))
        rate = BURST / (time.perf_counter() - started)
    finally:
        sandbox.close()
    rows.append(row("sandbox started for the check, 1 test", await timed(cold)))
    rows.append(row("no sandbox: a bare Python, 1 test", await timed(bare)))
    note = (
        f"The first use, with the self-test, took {first_ms:.0f} ms. "
        f"{BURST} checks of 4 tests that came at once ran at {rate:.0f} checks/s."
    )
    return rows, note


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, help="write the report here too")
    options = parser.parse_args()
    rows, note = asyncio.run(measure())
    command = [find_launch().command[0], "--version"]
    version = subprocess.run(command, capture_output=True, text=True, check=True)
    title = f"`python benchmarks/sandbox.py`: {conditions()}, {version.stdout.strip()}."
    table = markdown(["what", "median ms", "p95 ms", "worst ms"], rows)
    write(
        options.output, f"# What checking a program takes\n\n{title}\n\n{HOW}\n\n{table}\n\n{note}"
    )


if __name__ == "__main__":
    main()
