"""Measures what a model can do on the seeded questions, as the numbers that its profile states.

    python benchmarks/abilities.py --deployment local/smollm2-135m-openvino

Draws 16 samples of each question the way a vote draws them, and one greedy sample; prints for each task
kind the success rate, how it spreads over the questions (concentration of a Beta, by maximum likelihood),
how wrong answers agree, how many samples hold no answer, and how long samples are. The questions' seed
differs from the one that ``benchmarks/embedded.py`` is scored on.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import msgspec

import tt_compute as tt
from questions import SETS, Question, questions
from tt_compute.prompts import to_messages
from tt_compute.replay.fit import concentration, wrong_agreement
from tt_compute.verify.specs import get_verifier
from tt_compute.verify.tasks import MathProcess, get_task

TRAIN_SEED = 1
COLUMNS = (
    "questions",
    "n",
    "greedy",
    "success rate",
    "any of 16",
    "concentration",
    "wrong agreement",
    "abstain rate",
    "tokens mean",
    "tokens p95",
)
SAMPLES = 16


class Drawn(msgspec.Struct, frozen=True, kw_only=True):
    """One question's samples."""

    set: str
    task: str
    text: str
    gold: str
    greedy_correct: bool
    correct: tuple[bool, ...]
    answers: tuple[str | None, ...]
    tokens: tuple[int, ...]


async def draw(
    client: tt.AsyncClient, deployment: str, name: str, question: Question, process: MathProcess
) -> Drawn:
    """Sample one question and judge every sample."""
    task = get_task(question.task, to_messages(question.text), math_process=process)
    verifier = get_verifier(f"exact={question.gold}", task)
    varied = tt.SamplingParams(temperature=0.8, top_p=0.95, max_tokens=256, seed=TRAIN_SEED)
    greedy = tt.SamplingParams(temperature=0.0, max_tokens=256)
    samples = [
        *await client.generate(question.text, deployment=deployment, sampling=greedy),
        *await client.generate(question.text, deployment=deployment, sampling=varied, n=SAMPLES),
    ]
    correct: list[bool] = []
    answers: list[str | None] = []
    for sample in samples:
        assert isinstance(sample, tt.Sample), sample
        answer = task.extract(sample.text, truncated=sample.finish_reason == "length")
        judgement = await verifier.judge(to_messages(question.text), sample.text, answer)
        correct.append(judgement.score >= verifier.accepts_at)
        answers.append(None if answer is None else answer.key)
    return Drawn(
        set=name,
        task=question.task,
        text=question.text,
        gold=question.gold,
        greedy_correct=correct[0],
        correct=tuple(correct[1:]),
        answers=tuple(answers[1:]),
        tokens=tuple(sample.usage.output_tokens for sample in samples[1:]),
    )


def agreement(rows: Sequence[Drawn]) -> float:
    """Share of the popular wrong answer."""
    wrong = [
        Counter(
            answer
            for answer, right in zip(row.answers, row.correct, strict=True)
            if answer is not None and not right
        )
        for row in rows
    ]
    return wrong_agreement([list(counts.values()) for counts in wrong]) or 0.0


def table(rows: Sequence[Drawn]) -> list[str]:
    """Markdown rows: each set, then each task kind over its sets."""
    groups: dict[str, list[Drawn]] = defaultdict(list)
    for row in rows:
        groups[row.set].append(row)
        groups[f"**{row.task}**"].append(row)
    lines = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    for name, group in groups.items():
        correct = [right for row in group for right in row.correct]
        mean = sum(correct) / len(correct)
        counts = [(sum(row.correct), len(row.correct)) for row in group]
        tokens = sorted(count for row in group for count in row.tokens)
        abstained = sum(answer is None for row in group for answer in row.answers)
        lines.append(
            f"| {name} | {len(group)} | {sum(row.greedy_correct for row in group) / len(group):.2f} "
            f"| {mean:.3f} | {sum(any(row.correct) for row in group) / len(group):.2f} "
            f"| {concentration(counts, mean):.2f} "
            f"| {agreement(group):.2f} | {abstained / len(correct):.3f} "
            f"| {sum(tokens) / len(tokens):.0f} | {tokens[int(0.95 * len(tokens))]} |"
        )
    return lines


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deployment", default="local/smollm2-135m-openvino")
    parser.add_argument("--questions", type=int, default=50, help="per set")
    parser.add_argument("--seed", type=int, default=TRAIN_SEED)
    parser.add_argument(
        "--samples", type=Path, help="keep every sample's answer in this JSONL file"
    )
    options = parser.parse_args()
    process = MathProcess()
    async with tt.AsyncClient() as client:
        rows = [
            await draw(client, options.deployment, name, question, process)
            for name in SETS
            for question in questions(name, options.questions, options.seed)
        ]
    process.close()
    if options.samples is not None:
        text = "".join(json.dumps(msgspec.to_builtins(row)) + "\n" for row in rows)
        options.samples.write_text(text, encoding="utf-8")
    print(*table(rows), sep="\n")


if __name__ == "__main__":
    asyncio.run(main())
