"""What our layer costs when the model costs nothing: import, a plan, a solve with mock samples.

    python benchmarks/overhead.py --output docs/figures/overhead.md

Peers in the same run: an empty interpreter beside the import; and beside the solve a bare asyncio loop
that makes, parses and counts as many answers with the same extractor, without planner, strategy,
dispatcher, ledger or store.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import tt_compute as tt
from report import conditions, markdown, write
from tt_compute.options import SolveOptions
from tt_compute.prompts import to_messages
from tt_compute.verify.tasks import get_task

QUESTION = "What is 6 times 7?"
ROUNDS = 7
RUNS = 200
HOW = (
    f"Microseconds. Imports: 15 processes each. Others: {ROUNDS} rounds, each the median of {RUNS} calls, "
    "on the mock deployment."
)


def quartiles(seconds: list[float]) -> tuple[str, str]:
    """Median and interquartile range in microseconds."""
    low, middle, high = statistics.quantiles(seconds, n=4)
    return f"{middle * 1e6:,.0f}", f"{low * 1e6:,.0f}-{high * 1e6:,.0f}"


def interpreter(code: str) -> float:
    """Seconds of a whole process."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - started


def import_rows() -> list[list[str]]:
    bare: list[float] = []
    ours: list[float] = []
    client: list[float] = []
    for _ in range(15):
        bare.append(interpreter("pass"))
        ours.append(interpreter("import tt_compute"))
        client.append(interpreter("import tt_compute; tt_compute.Client"))
    base = statistics.median(bare)
    extra = [took - base for took in ours]
    with_client = [took - base for took in client]
    return [
        ["`import tt_compute`, over an empty interpreter", *quartiles(extra)],
        ["`tt_compute.Client`, over an empty interpreter", *quartiles(with_client)],
    ]


async def timed(work: Callable[[], Awaitable[object]]) -> list[float]:
    """Seconds per call: the median of each round of runs."""
    rounds: list[float] = []
    for _ in range(ROUNDS):
        took: list[float] = []
        for _ in range(RUNS):
            started = time.perf_counter()
            await work()
            took.append(time.perf_counter() - started)
        rounds.append(statistics.median(took))
    return rounds


async def bare(samples: int) -> str:
    """The same answers with nothing around them."""
    task = get_task("math", to_messages(QUESTION))
    votes: Counter[str] = Counter()
    for _ in range(samples):
        await asyncio.sleep(0)
        answer = task.extract("The answer is 42.", truncated=False)
        if answer is not None:
            votes[answer.key] += 1
    return votes.most_common(1)[0][0]


async def solve_rows(data: Path) -> list[list[str]]:
    rows: list[list[str]] = []
    cases: tuple[tuple[str, SolveOptions, int], ...] = (
        ("single", {"strategy": "single"}, 1),
        ("majority of 16", {"strategy": "majority"}, 10),
    )
    for enabled in (False, True):
        environ = {"TTC_DATA_DIR": str(data)}
        config = tt.Config.from_mapping(
            {"deployments": ["mock"], "store": {"enabled": enabled}}, environ=environ
        )
        async with tt.AsyncClient(config) as client:
            for name, options, _ in cases:
                await client.solve(QUESTION, **options)

                async def run(chosen: SolveOptions = options) -> object:
                    return await client.solve(QUESTION, **chosen)

                kept = "receipt kept" if enabled else "no store"
                rows.append([f"solve, {name}, {kept}", *quartiles(await timed(run))])
            rows.append(
                [
                    "plan (choice and all candidates)",
                    *quartiles(await timed(lambda: client.plan(QUESTION))),
                ]
            )
    for name, _, samples in cases:
        took = await timed(partial(bare, samples))
        rows.append([f"bare loop, {samples} answers ({name})", *quartiles(took)])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, help="write the report here too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = [*import_rows(), *asyncio.run(solve_rows(Path(folder)))]
    report = "\n\n".join(
        (
            "# What our layer costs",
            f"`python benchmarks/overhead.py`: {conditions()}.",
            HOW,
            markdown(["what", "median us", "quartiles us"], rows),
        )
    )
    write(options.output, report)


if __name__ == "__main__":
    main()
