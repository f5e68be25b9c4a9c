"""What every strategy gains on the embedded model, with the same samples allowed, live.

    python benchmarks/embedded_strategies.py --solved solved.jsonl --output docs/figures/embedded_strategies.md

What has been solved is kept in the file after ``--solved``, a line each, so that a run goes on where it was cut off.

Each strategy that a model of 135 million parameters can take part in solves the same seeded questions with at most
eight samples, as planned, through ``AsyncClient.solve``. The peer of each is the plain vote. What the model says as a
judge or an aggregator is counted with its samples. Nothing here is timed.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import statistics
from collections.abc import Sequence
from pathlib import Path

import msgspec

import tt_compute as tt
from embedded import is_right
from questions import SETS, Question, questions
from report import conditions, markdown, percent, write
from tt_compute.errors import BackendError, VerifierError
from tt_compute.options import SolveOptions
from tt_compute.verify.math_process import MathProcess

DEPLOYMENT = "local/smollm2-135m-onnxruntime"
SEED = 21
BUDGET = 8
RESAMPLES = 4000
PEER = "majority"
STRATEGIES: dict[str, SolveOptions] = {
    "single, greedy": {"strategy": "single"},
    PEER: {"strategy": "majority", "stop": "certain"},
    "majority, logprob": {"weight": "logprob"},
    "deepconf, warmup=4": {"strategy": tt.DeepConf(warmup=4, window=16)},
    "mbr": {"strategy": "mbr"},
    "usc": {"strategy": "usc"},
    "beam": {"strategy": "beam"},
    "dvts": {"strategy": "dvts"},
    "revise": {"strategy": "revise"},
    "refine": {"strategy": "refine"},
    "mixture:1,7": {"strategy": "mixture:1,7"},
}
EXPLANATION = """\
SmolLM2-135M-Instruct by ONNX Runtime, at most eight samples of each question, the same questions and seed for every strategy.
Gain: accuracy less that of the plain vote, in points, with a 95 % interval (bootstrap over questions, which are paired).
The budget is the plan's, which gives votes two samples of multiple choice, where it expects no more of eight.
No answer: runs that ended without one, such as those whose judge named no sample; they count as wrong.
`listwise` and `knockout` ask the model to choose as `usc` does, the latter seven times as often; they are left out.
`budget_forcing` wants a model that shows its thinking, and `tree_of_thought` functions of yours; neither is here. `best_of_n` with an exact verifier stands on [another page](embedded_samples.md)."""


class Solved(msgspec.Struct, frozen=True, kw_only=True):
    """One question under one strategy."""

    set: str
    strategy: str
    question: str
    correct: bool
    answered: bool
    samples: int
    tokens: int


async def solve(
    client: tt.AsyncClient, name: str, strategy: str, question: Question, process: MathProcess
) -> Solved:
    options: SolveOptions = {
        **STRATEGIES[strategy],
        "task": question.task,
        "seed": SEED,
        "objective": tt.Objective(max_samples=BUDGET),
        "deployment": DEPLOYMENT,
        "max_tokens": 256,
    }
    try:
        result = await client.solve(question.text, **options)
        correct = await is_right(result, question, process)
    except (VerifierError, BackendError) as error:
        if not isinstance(error.partial, tt.Result):
            raise
        result, correct = error.partial, False
    return Solved(
        set=name,
        strategy=strategy,
        question=question.text,
        correct=correct,
        answered=result.answer is not None,
        samples=result.receipt.samples_drawn,
        tokens=result.receipt.output_tokens,
    )


class Solutions:
    """What has been solved, in a file that is added to."""

    def __init__(self, file: Path) -> None:
        self._file = file
        lines = file.read_bytes().splitlines() if file.exists() else []
        rows = [msgspec.json.decode(line, type=Solved) for line in lines]
        self._rows = {(row.set, row.strategy, row.question): row for row in rows}

    def get(self, name: str, strategy: str, question: Question) -> Solved | None:
        return self._rows.get((name, strategy, question.text))

    def add(self, row: Solved) -> None:
        self._rows[row.set, row.strategy, row.question] = row
        with self._file.open("ab") as lines:
            lines.write(msgspec.json.encode(row) + b"\n")


async def run(names: Sequence[str], count: int, solutions: Solutions) -> list[Solved]:
    process = MathProcess()
    rows: list[Solved] = []
    try:
        async with tt.AsyncClient(tt.Config.from_mapping({"store": {"enabled": False}})) as client:
            for name, strategy in itertools.product(names, STRATEGIES):
                for question in questions(name, count, SEED):
                    row = solutions.get(name, strategy, question)
                    if row is None:
                        row = await solve(client, name, strategy, question, process)
                        solutions.add(row)
                    rows.append(row)
                print(name, strategy, sum(row.correct for row in rows[-count:]), flush=True)
    finally:
        process.close()
    return rows


def gain(mine: Sequence[Solved], peer: Sequence[Solved]) -> str:
    differences = [100 * (a.correct - b.correct) for a, b in zip(mine, peer, strict=True)]
    rng = random.Random(SEED)
    means = sorted(
        statistics.fmean(rng.choices(differences, k=len(differences))) for _ in range(RESAMPLES)
    )
    low, high = means[round(0.025 * RESAMPLES)], means[round(0.975 * RESAMPLES) - 1]
    return f"{statistics.fmean(differences):+.0f} ({low:+.0f} to {high:+.0f})"


def table(rows: Sequence[Solved], name: str) -> str:
    by = {
        strategy: [row for row in rows if (row.set, row.strategy) == (name, strategy)]
        for strategy in STRATEGIES
    }
    lines = [
        [
            f"`{strategy}`",
            percent(sum(row.correct for row in mine), len(mine)),
            "" if strategy == PEER else gain(mine, by[PEER]),
            sum(not row.answered for row in mine),
            f"{statistics.fmean(row.samples for row in mine):.1f}",
            f"{statistics.fmean(row.tokens for row in mine):.0f}",
        ]
        for strategy, mine in by.items()
    ]
    header = ("strategy", "accuracy (95 %)", "gain", "no answer", "samples", "tokens")
    return f"## {name.capitalize()}\n\n{markdown(header, lines)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=40)
    parser.add_argument("--sets", nargs="+", choices=tuple(SETS), default=["capitals"])
    parser.add_argument("--solved", type=Path, default=Path("embedded_strategies.jsonl"))
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    rows = asyncio.run(run(given.sets, given.questions, Solutions(given.solved)))
    sets = " ".join(f'"{name}"' for name in given.sets)
    command = (
        f"python benchmarks/embedded_strategies.py --questions {given.questions} --sets {sets}"
    )
    parts = (
        "# Every strategy on the embedded model",
        f"`{command}`: {conditions('onnxruntime')}.",
        EXPLANATION,
        *(table(rows, name) for name in given.sets),
    )
    write(given.output, "\n\n".join(parts))


if __name__ == "__main__":
    main()
