"""What the planner's strategies gain on the embedded model, and whether its predictions come true.

    python benchmarks/embedded.py --output docs/figures/embedded.md

Solves seeded questions (``questions.py``) with one greedy sample, one sampled sample, a majority vote of
at most 16 under the stop rule ``beta``, and best of at most 16 with an exact verifier; every run goes
through ``AsyncClient.solve``, on the real model. Prints accuracy with 95 % intervals, samples drawn, and
predicted against actual samples and latency. Accuracy and samples come from all questions, several in work
at once; latency from the first few of each set, solved once more one at a time.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
from collections.abc import Sequence
from pathlib import Path

import anyio
import msgspec

import tt_compute as tt
from questions import SETS, Question, questions
from report import conditions, markdown, percent, write
from tt_compute.options import SolveOptions
from tt_compute.planning.types import Prediction
from tt_compute.prompts import to_messages
from tt_compute.verify.specs import get_verifier
from tt_compute.verify.tasks import MathProcess, get_task

DEPLOYMENT = "local/smollm2-135m-openvino"
TEST_SEED = 0
BUDGET = 16
STRATEGIES: dict[str, SolveOptions] = {
    "single, greedy": {"strategy": "single"},
    "single, sampled": {"strategy": "single", "temperature": 0.8},
    "majority": {"strategy": "majority"},
    "best_of_n, exact verifier": {"strategy": "best_of_n"},
}


class Solved(msgspec.Struct, frozen=True, kw_only=True):
    """One question under one strategy."""

    set: str
    strategy: str
    correct: bool
    samples: int
    cancelled: int
    latency_s: float
    predicted: tt.Plan


async def solve(
    client: tt.AsyncClient, name: str, strategy: str, question: Question, process: MathProcess
) -> Solved:
    options: SolveOptions = {
        **STRATEGIES[strategy],
        "task": question.task,
        "seed": TEST_SEED,
        "objective": tt.Objective(max_samples=BUDGET),
        "deployment": DEPLOYMENT,
    }
    if strategy.startswith("best_of_n"):
        options["verifier"] = f"exact={question.gold}"
    result = await client.solve(question.text, **options)
    return Solved(
        set=name,
        strategy=strategy,
        correct=await is_right(result, question, process),
        samples=result.receipt.samples_drawn,
        cancelled=result.receipt.samples_cancelled,
        latency_s=result.receipt.latency_s,
        predicted=result.plan,
    )


async def is_right(result: tt.Result, question: Question, process: MathProcess) -> bool:
    """Judge the answer that was given, by the question's own task."""
    messages = to_messages(question.text)
    task = get_task(question.task, messages, math_process=process)
    judge = get_verifier(f"exact={question.gold}", task)
    answer = task.extract(result.text, truncated=False)
    return (await judge.judge(messages, result.text, answer)).score >= judge.accepts_at


def accuracy_table(rows: Sequence[Solved]) -> str:
    lines: list[list[object]] = []
    for name in (*SETS, "all"):
        line: list[object] = [name]
        for strategy in STRATEGIES:
            group = pick(rows, name, strategy)
            line.append(percent(sum(row.correct for row in group), len(group)))
        lines.append(line)
    return markdown(["questions", *STRATEGIES], lines)


def samples_table(rows: Sequence[Solved]) -> str:
    lines: list[list[object]] = []
    for name, strategy, group in groups(rows):
        predicted = predictions(group)
        lines.append(
            [
                name,
                strategy,
                mean([one.quality for one in predicted]),
                mean([float(row.correct) for row in group]),
                mean([one.samples_mean for one in predicted]),
                mean([row.samples for row in group]),
                mean([row.cancelled for row in group]),
            ]
        )
    header = ("questions", "strategy", "quality predicted", "actual", "samples predicted", "actual")
    return markdown((*header, "of these cancelled"), lines)


def latency_table(rows: Sequence[Solved]) -> str:
    lines: list[list[object]] = []
    for name, strategy, group in groups(rows):
        predicted = predictions(group)
        took = [row.latency_s for row in group]
        limits = [one.latency_p95_s for one in predicted]
        over = [
            seconds > limit
            for seconds, limit in zip(took, limits, strict=True)
            if limit is not None
        ]
        lines.append(
            [
                name,
                strategy,
                len(group),
                mean([one.latency_p50_s for one in predicted]),
                f"{statistics.median(took):.2f} ({min(took):.2f}-{max(took):.2f})",
                mean(limits),
                f"{sum(over)} of {len(over)}",
            ]
        )
    header = ("questions", "strategy", "n", "p50 predicted, s", "median actual, s (range)")
    return markdown((*header, "p95 predicted, s", "took longer"), lines)


def groups(rows: Sequence[Solved]) -> list[tuple[str, str, list[Solved]]]:
    return [
        (name, strategy, pick(rows, name, strategy))
        for name in (*SETS, "all")
        for strategy in STRATEGIES
    ]


def predictions(group: Sequence[Solved]) -> list[Prediction]:
    return [row.predicted.chosen.predicted for row in group if row.predicted.chosen is not None]


def pick(rows: Sequence[Solved], name: str, strategy: str) -> list[Solved]:
    return [row for row in rows if row.strategy == strategy and name in (row.set, "all")]


def mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{statistics.fmean(known):.2f}" if len(known) == len(values) else "unknown"


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=50, help="per set")
    parser.add_argument("--timed", type=int, default=10, help="per set, for latency")
    parser.add_argument("--concurrency", type=int, default=4)
    parser.add_argument("--output", type=Path, help="write the report here too")
    options = parser.parse_args()
    process = MathProcess()
    config = tt.Config.from_mapping({"deployments": [DEPLOYMENT], "store": {"enabled": False}})
    async with tt.AsyncClient(config) as client:
        await client.warm(DEPLOYMENT)
        timed = await solve_all(client, options.timed, 1, process)
        rows = await solve_all(client, options.questions, options.concurrency, process)
    process.close()
    report = "\n\n".join(
        (
            "# The embedded model: what each strategy gains",
            f"`python benchmarks/embedded.py --questions {options.questions}`: {conditions()}.",
            f"Accuracy, 95 % intervals; budget {BUDGET}, seed {TEST_SEED}.",
            accuracy_table(rows),
            "Predicted beside actual. The store was off, so nothing was learned on the way.",
            samples_table(rows),
            "Latency, one request at a time, model loaded.",
            latency_table(timed),
        )
    )
    write(options.output, report)


async def solve_all(
    client: tt.AsyncClient, count: int, concurrency: int, process: MathProcess
) -> list[Solved]:
    rows: list[Solved] = []
    slots = anyio.Semaphore(concurrency)

    async def work(name: str, strategy: str, question: Question) -> None:
        async with slots:
            rows.append(await solve(client, name, strategy, question, process))

    async with anyio.create_task_group() as group:
        for name in SETS:
            for question in questions(name, count, TEST_SEED):
                for strategy in STRATEGIES:
                    group.start_soon(work, name, strategy, question)
    return rows


if __name__ == "__main__":
    asyncio.run(main())
