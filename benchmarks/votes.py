"""Votes that weigh, beside plain ones, on recorded samples of real models: accuracy, and what the weights bring.

    python benchmarks/votes.py --data FOLDER --output docs/figures/votes.md

Everything is replayed by the strategies themselves. A temperature that is tuned is tuned on one half of the
questions and scored on the other, and the halves change places.
"""

from __future__ import annotations

import argparse
import random
import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import anyio
import msgspec

from report import conditions, markdown, write
from tt_compute.replay.answers import Equality, Question, VerifierSpec, read_questions
from tt_compute.replay.play import Policy, orders_of, play_all
from tt_compute.replay.recording import load_recordings
from tt_compute.verify.math_process import MathProcess

TEMPERATURES = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 100.0)
"""At 100 only votes that would be equal are told apart."""
SPLITS = 20
RESAMPLES = 4000
REWARDS = VerifierSpec(by_reward=True, accepts_at=float("inf"))
EXPLANATION = """\
Gain: accuracy less that of the plain vote of the same samples, in points, with a 95 % interval (bootstrap over questions, which are paired).
Tuned: the temperature that was best on one half of the questions, scored on the other; both halves, {splits} random splits.
Best of all: with the temperature that is best on the questions it is scored on, which nobody knows beforehand.
Ties only: votes weigh almost alike, so that the weights decide nothing but between equal numbers of votes.
Ties of what is compared count by their share of luck."""

Rights = Mapping[str, float]
"""Question -> P(its vote is right), over its recordings and orders."""


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """Recorded samples of one model on one set of questions."""

    name: str
    file: str
    weight: str
    dataset: str | None = None
    equality: Equality = "math"


POOLS = (
    Pool(
        name="GSM8K, Qwen2.5-0.5B: weights of the model's own log-probability",
        file="gsm8k_qwen05b_k16_logprob.jsonl",
        weight="logprob",
        equality="exact",
    ),
    Pool(
        name="MATH-500, Qwen2.5-1.5B: weights of a process reward model",
        file="math500_qwen15b_k8_prm.jsonl",
        weight="verifier",
        dataset="MATH-500",
    ),
    Pool(
        name="GSM8K, Qwen2.5-1.5B: weights of a process reward model",
        file="math500_qwen15b_k8_prm.jsonl",
        weight="verifier",
        dataset="gsm8k-test",
    ),
    Pool(
        name="MATH-100, Qwen2.5-Math: weights of an outcome reward model",
        file="math100_qwen_k8_with_reward.jsonl",
        weight="verifier",
    ),
)


class Replayed:
    """The questions of a pool, and how often each policy is right on each; played once."""

    def __init__(
        self, pool: Pool, questions: Sequence[Question], budget: int, shuffles: int
    ) -> None:
        self._pool = pool
        self._questions = questions
        self._budget = budget
        # Where all samples are drawn, their order decides nothing.
        everything = budget == len(questions[0].right)
        self._shuffles = 1 if everything else shuffles
        self._orders = orders_of(questions, 0, self._shuffles)

    async def rights(self, strategy: str, weight: str | None = None) -> Rights:
        judged = strategy == "best_of_n" or (weight or "").startswith("verifier")
        policy = Policy(
            strategy=strategy,
            stop_rule=None,
            budget=self._budget,
            wave=self._budget,
            weight=weight,
            verifier=REWARDS if judged else None,
        )
        courses = await play_all(self._questions, self._orders, policy)
        found: dict[str, list[float]] = defaultdict(list)
        for place, course in enumerate(courses):
            recording = self._questions[place // self._shuffles].recording
            found[str(recording.question_id)].append(course.right)
        return {name: statistics.fmean(rights) for name, rights in found.items()}

    async def by_temperature(self) -> dict[float, Rights]:
        name = self._pool.weight
        return {t: await self.rights("majority", f"{name}:{t!r}") for t in TEMPERATURES}


def tuned(by_temperature: Mapping[float, Rights], splits: int) -> tuple[Rights, Counter[float]]:
    """Of each question P(right) under temperatures that were chosen without it, and which those were."""
    names = sorted(by_temperature[TEMPERATURES[0]])
    rng = random.Random(1)
    found: dict[str, list[float]] = defaultdict(list)
    chosen: Counter[float] = Counter()
    for _ in range(splits):
        shuffled = rng.sample(names, len(names))
        half = len(names) // 2
        for train, test in ((shuffled[:half], shuffled[half:]), (shuffled[half:], shuffled[:half])):
            best = _best(by_temperature, train)
            chosen[best] += 1
            for name in test:
                found[name].append(by_temperature[best][name])
    return {name: statistics.fmean(rights) for name, rights in found.items()}, chosen


def _best(by_temperature: Mapping[float, Rights], names: Sequence[str]) -> float:
    """The highest of equal ones: the nearest to a plain vote."""
    return max(
        by_temperature,
        key=lambda t: (round(sum(by_temperature[t][name] for name in names), 9), t),
    )


def gain(found: Rights, plain: Rights) -> str:
    """Difference of the means with its interval, in points."""
    differences = [100 * (found[name] - plain[name]) for name in sorted(plain)]
    rng = random.Random(2)
    means = sorted(
        statistics.fmean(rng.choices(differences, k=len(differences))) for _ in range(RESAMPLES)
    )
    low, high = means[round(0.025 * RESAMPLES)], means[round(0.975 * RESAMPLES) - 1]
    return f"{statistics.fmean(differences):+.1f} ({low:+.1f} to {high:+.1f})"


async def rows_of(replayed: Replayed, pool: Pool, budget: int) -> list[list[object]]:
    plain = await replayed.rights("majority")
    by_temperature = await replayed.by_temperature()
    fitted, chosen = tuned(by_temperature, SPLITS)
    usual = " ".join(f"{t:g}" for t, _ in chosen.most_common(3))
    best = _best(by_temperature, sorted(plain))
    found: list[tuple[str, Rights]] = [
        (f"`{pool.weight}`", await replayed.rights("majority", pool.weight)),
        (f"`{pool.weight}:T`, tuned (most often {usual})", fitted),
        (f"`{pool.weight}:{best:g}`, best of all", by_temperature[best]),
        (f"`{pool.weight}:100`, ties only", by_temperature[100.0]),
    ]
    if pool.weight == "verifier":
        found.append(("`best_of_n`", await replayed.rights("best_of_n")))
    rows: list[list[object]] = [[budget, "plain vote", _percent(plain), ""]]
    return rows + [[budget, name, _percent(one), gain(one, plain)] for name, one in found]


def _percent(rights: Rights) -> str:
    return f"{100 * statistics.fmean(rights.values()):.1f}"


async def pool_table(folder: Path, pool: Pool, process: MathProcess, shuffles: int) -> str:
    recordings = [
        one for one in load_recordings(folder / pool.file) if pool.dataset in (None, one.dataset)
    ]
    questions, _ = await read_questions(recordings, pool.equality, process)
    most = len(questions[0].right)
    rows: list[list[object]] = []
    for budget in (most // 2, most):
        rows += await rows_of(Replayed(pool, questions, budget, shuffles), pool, budget)
    table = markdown(["samples", "vote", "accuracy, %", "gain, points"], rows)
    names = {str(one.question_id) for one in recordings}
    several = len(recordings) // len(names)
    note = f"{len(names)} questions, {most} samples each" + (
        f", {several} recordings of each" if several > 1 else ""
    )
    return f"{note}.\n\n{table}"


async def run(folder: Path, shuffles: int) -> str:
    process = MathProcess()
    parts = [
        "# Votes that weigh",
        f"{conditions()}; {shuffles} orders where not all samples are drawn.",
    ]
    parts.append(EXPLANATION.format(splits=SPLITS))
    try:
        for pool in POOLS:
            parts += [f"## {pool.name}", await pool_table(folder, pool, process, shuffles)]
    finally:
        process.close()
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the recorded samples")
    parser.add_argument("--shuffles", type=int, default=10)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    write(options.output, anyio.run(run, options.data, options.shuffles))


if __name__ == "__main__":
    main()
