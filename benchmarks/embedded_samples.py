"""200 questions x 32 samples of the embedded model, recorded with log-probabilities: what each strategy makes of them.

    python benchmarks/embedded_samples.py --data FOLDER --output docs/figures/embedded_samples.md

What is not in FOLDER yet is recorded by ``ttc record``, which goes on where it was interrupted: about 6,400 samples,
a quarter of an hour on two quiet cores. Every strategy then runs on the same samples, in virtual time, beside the
peers' rules.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from questions import questions
from report import conditions, markdown, write
from strategies_votes import table
from tt_compute.replay.answers import (
    Equality,
    Question,
    VerifierSpec,
    read_questions,
)
from tt_compute.replay.play import Policy
from tt_compute.replay.recording import load_recordings
from tt_compute.reporting import wilson
from tt_compute.verify.math_process import MathProcess
from votes import EXPLANATION as GAIN
from votes import SPLITS, Pool, Replayed, rows_of

DEPLOYMENT = "local/smollm2-135m-openvino"
SAMPLES = 32
SEED = 11
EACH = 50
SETS: Mapping[str, tuple[str, ...]] = {
    "math": ("times tables", "word problems"),
    "open": ("capitals",),
    "choice": ("multiple choice",),
}
BUDGETS = (8, 16, SAMPLES)
SHUFFLES = 10
EQUAL: Mapping[str, Equality] = {"math": "math", "open": "exact", "choice": "exact"}
EXPLANATION = """\
SmolLM2-135M-Instruct in 8-bit weights, temperature 0.8, OpenVINO. Every rule runs on the same 32 samples of each question, in the same 10 orders.
Ours run the strategies themselves (`ttc replay`); peers are restated from their packages' code.
`logprob` weighs votes by their mean log-probability; best-of-n has the right answer for a verifier, which is the most that any verifier could bring.
The interval is Wilson's over the questions. Waves: samples that follow one upon the other."""


WEIGHTS = f"""\
## What log-probabilities are worth in a vote

{GAIN.format(splits=SPLITS)}"""


class _Asked(msgspec.Struct, frozen=True, kw_only=True):
    question_id: str
    question: str
    gold: str


def write_questions(folder: Path, kind: str) -> Path:
    """The questions of one kind, as ``ttc record`` reads them."""
    asked = [
        _Asked(question_id=f"{name} {number}", question=one.text, gold=one.gold)
        for name in SETS[kind]
        for number, one in enumerate(questions(name, EACH, SEED))
    ]
    file = folder / f"embedded_{kind}_questions.jsonl"
    file.write_bytes(msgspec.json.Encoder().encode_lines(asked))
    return file


def record(folder: Path, kind: str) -> Path:
    """The samples of one kind; what is there already is kept."""
    file = folder / f"embedded_{kind}_k{SAMPLES}.jsonl"
    line = [
        sys.executable, "-m", "tt_compute", "record", str(file), "--resume",
        "--questions", str(write_questions(folder, kind)),
        "--deployment", DEPLOYMENT, "--samples", str(SAMPLES), "--task", kind,
        "--logprobs", "--concurrency", "2", "--max-tokens", "256",
    ]  # fmt: skip
    subprocess.run(line, check=True, stdout=subprocess.DEVNULL)
    return file


def further() -> Iterator[tuple[str, Policy]]:
    for budget in (8, 16):
        yield (
            f"fixed {budget}",
            Policy(strategy="majority", stop_rule=None, budget=budget, wave=budget),
        )
    for weight in ("logprob", "logprob:0.5"):
        yield (
            f"`--weight {weight}`, all {SAMPLES}",
            Policy(
                strategy="majority", stop_rule=None, budget=SAMPLES, wave=SAMPLES, weight=weight
            ),
        )
    verifier = VerifierSpec()
    for wave in (1, 8):
        yield (
            f"best-of-{SAMPLES}, exact verifier, {wave} at once",
            Policy(
                strategy="best_of_n", stop_rule=None, budget=SAMPLES, wave=wave, verifier=verifier
            ),
        )


def summary(sets: Mapping[str, list[Question]]) -> str:
    """How sure the model is of right and of wrong samples."""
    rows: list[list[object]] = []
    for name, asked in sets.items():
        right = [flag for one in asked for flag in one.right]
        logprobs = [value for one in asked for value in one.recording.logprob or ()]
        by: dict[bool, list[float]] = {True: [], False: []}
        for flag, value in zip(right, logprobs, strict=True):
            by[flag].append(value)
        found = wilson(sum(right), len(right))
        rows.append(
            [
                name,
                len(asked),
                f"{100 * found.share:.1f} %",
                *(f"{sum(values) / len(values):.3f}" for values in by.values() if values),
                f"{100 * above(by[True], by[False]):.0f} %",
            ]
        )
    header = (
        "questions", "n", "right samples", "mean logprob of right ones", "of wrong ones",
        "a right one has the higher (AUC)",
    )  # fmt: skip
    return markdown(header, rows)


def above(first: list[float], second: list[float]) -> float:
    """P(a value of the first list exceeds one of the second), equal ones half."""
    ordered = sorted((*((value, 1) for value in first), *((value, 0) for value in second)))
    ranks: dict[float, list[int]] = {}
    for place, (value, _) in enumerate(ordered, 1):
        ranks.setdefault(value, []).append(place)
    mean = {value: sum(places) / len(places) for value, places in ranks.items()}
    total = sum(mean[value] for value in first)
    return (total - len(first) * (len(first) + 1) / 2) / (len(first) * len(second))


async def worth(kind: str, file: Path, asked: list[Question]) -> str:
    """What weights of log-probabilities bring against the plain vote of the same samples."""
    pool = Pool(name=kind, file=file.name, weight="logprob", equality=EQUAL[kind])
    rows: list[list[object]] = []
    for budget in BUDGETS:
        rows += await rows_of(Replayed(pool, asked, budget, SHUFFLES), pool, budget)
    header = ("samples", "votes weigh by", "accuracy, %", "gain, points (95 %)")
    return f"### Weights: {' and '.join(SETS[kind])}, {len(asked)} questions\n\n{markdown(header, rows)}"


async def report(files: Mapping[str, Path]) -> str:
    process = MathProcess()
    sets: dict[str, list[Question]] = {}
    tables: list[str] = []
    weights: list[str] = []
    try:
        for kind, file in files.items():
            asked, warnings = await read_questions(load_recordings(file), EQUAL[kind], process)
            assert not warnings, warnings
            for name in SETS[kind]:
                mine = [
                    one for one in asked if str(one.recording.question_id).startswith(f"{name} ")
                ]
                sets[name] = mine
                tables.append(await table(name.capitalize(), mine, dict(further())))
            weights.append(await worth(kind, file, asked))
    finally:
        process.close()
    return "\n\n".join(
        (
            "# 6,400 samples of the embedded model",
            f"`python benchmarks/embedded_samples.py --data FOLDER`: {conditions('math-verify')}.",
            EXPLANATION,
            summary(sets),
            *tables,
            WEIGHTS,
            *weights,
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    given.data.mkdir(parents=True, exist_ok=True)
    files = {kind: record(given.data, kind) for kind in SETS}
    write(given.output, asyncio.run(report(files)))


if __name__ == "__main__":
    main()
