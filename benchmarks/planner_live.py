"""Do predictions come true on this machine, with the embedded model, after it was calibrated and has learned?

    python benchmarks/planner_live.py --output docs/figures/planner_live.md

``ttc calibrate`` measures the machine; a first round of judged requests teaches lengths and abilities; then the
planner plans and runs ``--requests`` more of each kind of task, one at a time, every answer judged. Each plan is
made before its run, so that what is compared is what a user would have been told. The uncalibrated column is
what a client without calibration and without past runs predicts for the same requests. The machine is priced at
a dollar a second, so that the predicted cost is the predicted mean latency.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

import tt_compute as tt
from embedded import DEPLOYMENT, is_right
from questions import Question, questions
from report import conditions, markdown, percent, write
from tt_compute.calibrated import read_calibrated
from tt_compute.options import SolveOptions
from tt_compute.planning.types import Candidate, Prediction
from tt_compute.verify.tasks import MathProcess

SETS = ("times tables", "word problems", "capitals", "multiple choice")
TRAIN_SEED, TEST_SEED = 11, 12
BUDGET = 8


def options(question: Question) -> SolveOptions:
    objective = tt.Objective(max_samples=BUDGET)
    return {"task": question.task, "objective": objective, "deployment": DEPLOYMENT}


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    set: str
    task: str
    strategy: str
    before: Prediction
    """Uncalibrated."""
    predicted: Prediction
    latency_s: float
    samples: int
    cost_usd: float | None
    correct: bool


PRICED = f"{{id: {DEPLOYMENT}, override: {{price: {{usd_per_hour: 3600}}}}}}"


def environment(folder: Path) -> Mapping[str, str]:
    return {**os.environ, "TTC_DATA_DIR": str(folder / "data")}


def calibrate(folder: Path) -> None:
    line = [sys.executable, "-m", "tt_compute", "calibrate", "--config", str(folder / "ttc.yaml")]
    subprocess.run(line, check=True, env=environment(folder), stdout=subprocess.DEVNULL)
    assert DEPLOYMENT in read_calibrated(folder).deployments


async def teach(client: tt.AsyncClient, count: int, process: MathProcess) -> None:
    for name in SETS:
        for question in questions(name, count, TRAIN_SEED):
            result = await client.solve(question.text, **options(question))
            await client.feedback(result.id, correct=await is_right(result, question, process))


async def measure(
    client: tt.AsyncClient,
    plain: tt.AsyncClient,
    name: str,
    question: Question,
    process: MathProcess,
) -> Ran:
    before = (await plain.plan(question.text, **options(question))).chosen
    result = await client.solve(question.text, **options(question))
    chosen = result.plan.chosen
    assert before is not None
    assert chosen is not None
    return Ran(
        set=name,
        task=question.task,
        strategy=described(chosen),
        before=before.predicted,
        predicted=chosen.predicted,
        latency_s=result.receipt.latency_s,
        samples=result.receipt.samples_drawn,
        cost_usd=result.receipt.cost_usd,
        correct=await is_right(result, question, process),
    )


def described(chosen: Candidate) -> str:
    ahead = "" if chosen.ahead == 1 else f", ahead from {chosen.ahead:.0%}"
    return f"{chosen.strategy} of {chosen.max_samples}{ahead}"


async def run(folder: Path, train: int, requests: int) -> list[Ran]:
    process = MathProcess()
    (folder / "plain").mkdir()
    bare = folder / "plain" / "ttc.yaml"
    bare.write_text(f"deployments: [{PRICED}]\nstore: {{enabled: false}}\n", encoding="utf-8")
    rows: list[Ran] = []
    async with (
        tt.AsyncClient(folder / "ttc.yaml", environ=environment(folder)) as client,
        tt.AsyncClient(bare) as plain,
    ):
        await client.warm(DEPLOYMENT)
        await teach(client, train, process)
        for name in SETS:
            rows += [
                await measure(client, plain, name, question, process)
                for question in questions(name, requests, TEST_SEED)
            ]
    process.close()
    return rows


def table(rows: Sequence[Ran]) -> str:
    groups = {
        f"{task} (by kind of task)": [r for r in rows if r.task == task]
        for task in dict.fromkeys(r.task for r in rows)
    }
    groups |= {name: [r for r in rows if r.set == name] for name in SETS}
    groups["all"] = list(rows)
    lines: list[list[str]] = []
    for name, group in groups.items():
        lines.append([name, *figures(group)])
    header = (
        "questions", "n", "chosen", "accuracy predicted", "actual (95 %)", "samples predicted", "actual",
        "latency predicted, s", "actual", "ratio", "uncalibrated", "over p50", "over p95",
    )  # fmt: skip
    return markdown(header, lines)


def figures(group: Sequence[Ran]) -> list[str]:
    took = statistics.fmean(row.latency_s for row in group)
    told = mean([row.predicted.cost_usd for row in group])
    before = mean([row.before.cost_usd for row in group])
    return [
        str(len(group)),
        ", ".join(sorted({row.strategy for row in group})),
        f"{100 * mean([row.predicted.quality for row in group]):.0f} %",
        percent(sum(row.correct for row in group), len(group)),
        f"{mean([row.predicted.samples_mean for row in group]):.2f}",
        f"{statistics.fmean(row.samples for row in group):.2f}",
        f"{told:.2f}",
        f"{took:.2f}",
        f"{took / told:.2f}",
        f"{before:.2f}",
        over(group, [row.predicted.latency_p50_s for row in group]),
        over(group, [row.predicted.latency_p95_s for row in group]),
    ]


def over(group: Sequence[Ran], limits: Sequence[float | None]) -> str:
    longer = sum(
        limit is not None and row.latency_s > limit
        for row, limit in zip(group, limits, strict=True)
    )
    return f"{100 * longer / len(group):.0f} %"


def mean(values: Sequence[float | None]) -> float:
    return statistics.fmean(value for value in values if value is not None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=int, default=25, help="judged requests per set before")
    parser.add_argument("--requests", type=int, default=100, help="per set")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "ttc.yaml"
        file.write_text(f"deployments: [{PRICED}]\n", encoding="utf-8")
        calibrate(folder)
        rows = asyncio.run(run(folder, given.train, given.requests))
    text = "\n\n".join(
        (
            "# Predictions on this machine",
            f"`python benchmarks/planner_live.py --train {given.train} --requests {given.requests}`: {conditions()}.",
            table(rows),
        )
    )
    write(given.output, text)


if __name__ == "__main__":
    main()
