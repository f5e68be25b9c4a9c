"""Two small models that agree, and a strong one where they differ: what does it cost in accuracy?

    python benchmarks/panels.py --data FOLDER --output docs/figures/panels.md

Recorded greedy answers of 44 models to GSM8K, one each. Of all pairs of the small models the one is taken that
agrees most often, among those that make the most accurate panel on one half of the questions, within its standard
error; it is run on the other half, and the other way round. Ours is
the strategy ``panel`` itself, through the client, on mocks that say what the models said. The peers, in the same run:
the strong model alone, a vote of all three models, which asks the strong one every time, the same pair accepted
without agreement (its better model alone), and a lone model of the two that hands on at random as often.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import math
import random
import statistics
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

import tt_compute as tt
from report import conditions, markdown, write
from tt_compute.config import Config
from tt_compute.planning.panels import SAME_MISTAKE, TOGETHER, courses
from tt_compute.strategies.panel import Panel

FILE = "zeroeval_gsm_44models.jsonl"
SMALL = (
    "Meta-Llama-3-8B-Instruct",
    "Meta-Llama-3.1-8B-Instruct",
    "Phi-3.5-mini-instruct",
    "Qwen2-7B-Instruct",
    "Yi-1.5-9B-Chat",
    "gemma-2-2b-it",
    "gemma-2-9b-it",
)
"""All recorded models of at most nine billion parameters."""
STRONG = (
    "gpt-4o-2024-08-06",
    "gpt-4o-2024-05-13",
    "Meta-Llama-3.1-70B-Instruct",
    "claude-3-5-sonnet-20241022",
    "gpt-4o-mini-2024-07-18",
)
SEED = 1
PANELS = 2000
FEWEST_MISTAKES = 20
RESAMPLES = 2000
_METHOD = (
    "GSM8K, 1,319 questions, one greedy answer of each model. The pair was chosen among 21 on one half of the "
    "questions, by how often it agrees among panels that are about as accurate as the best, and run on the other, in "
    "both roles of the halves. Difference: panel less strong model alone, with the "
    "95 % interval of 2,000 bootstrap samples of questions."
)
_PREDICTED = (
    "Predictions: three of the models at random, the best one last; predicted from their accuracy on one half of the "
    "questions (`tt_compute.planning.panels`), counted on the other."
)
_PAIRS = (
    "How two models go together, median and middle half over the pairs: the covariance of their successes over that of "
    f"comonotone ones (plans take {TOGETHER}), and P(same answer | both gave a wrong one), where at least "
    f"{FEWEST_MISTAKES} questions tell (plans take {SAME_MISTAKE})."
)


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What one model answered."""

    answer: str | None
    right: bool


class Question(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    said: dict[str, Reply]


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """One question under a panel."""

    pair: tuple[str, str]
    right: bool
    agreed: bool
    strong_right: bool
    voted_right: bool
    better_right: bool
    chance: float
    """P(right) where one model of the pair answers alone, and hands on at random as often as the panel does."""


def load(folder: Path) -> list[Question]:
    """With the answers of every model that was asked everything."""
    lines = (folder / FILE).read_text(encoding="utf-8").splitlines()
    header, *rest = map(json.loads, lines)
    whole = [
        (place, name)
        for place, name in enumerate(header["_models"])
        if not any(line["ok"][place] == "?" for line in rest)
    ]
    return [
        Question(
            id=line["id"],
            said={
                name: Reply(answer=line["a"][place] or None, right=line["ok"][place] == "1")
                for place, name in whole
            },
        )
        for line in rest
    ]


def agree(question: Question, pair: Sequence[str]) -> bool:
    first, second = (question.said[name].answer for name in pair)
    return first is not None and first == second


def counted(questions: Sequence[Question], pair: Sequence[str], strong: str) -> tuple[float, float]:
    """(accuracy, share of the questions on which the pair agrees), to choose a pair by."""
    settled = [agree(question, pair) for question in questions]
    right = [
        question.said[pair[0] if done else strong].right
        for question, done in zip(questions, settled, strict=True)
    ]
    return statistics.fmean(right), statistics.fmean(settled)


def chosen(questions: Sequence[Question], strong: str) -> tuple[str, str]:
    """The pair that agrees most often, of those within one standard error of the most accurate panel."""
    found = {pair: counted(questions, pair, strong) for pair in itertools.combinations(SMALL, 2)}
    best = max(accuracy for accuracy, _ in found.values())
    error = math.sqrt(best * (1 - best) / len(questions))
    near = [pair for pair, (accuracy, _) in found.items() if accuracy >= best - error]
    return max(near, key=lambda pair: found[pair][1])


def halves(questions: Sequence[Question]) -> Iterator[tuple[list[Question], list[Question]]]:
    shuffled = random.Random(SEED).sample(list(questions), len(questions))
    middle = len(shuffled) // 2
    yield shuffled[:middle], shuffled[middle:]
    yield shuffled[middle:], shuffled[:middle]


def text(reply: Reply) -> str:
    return "I do not know." if reply.answer is None else f"The answer is {reply.answer}."


def deployments(questions: Sequence[Question]) -> list[dict[str, Any]]:
    return [
        {
            "id": name,
            "backend": "mock",
            "model": "mock",
            "hardware": "mock",
            "options": {
                "rules": [
                    {"prompt": question.id, "answers": [text(question.said[name])]}
                    for question in questions
                ]
            },
        }
        for name in SMALL + STRONG
    ]


async def run(
    client: tt.AsyncClient, questions: Sequence[Question], pair: tuple[str, str], strong: str
) -> list[Ran]:
    """The strategy itself, question by question."""
    panel = Panel((*pair, strong))
    rates = [statistics.fmean(one.said[name].right for one in questions) for name in pair]
    better = pair[rates.index(max(rates))]
    ran: list[Ran] = []
    settled = [agree(question, pair) for question in questions]
    goes_on = 1 - statistics.fmean(settled)
    for question in questions:
        result = await client.solve(question.id, strategy=panel, task="math", seed=SEED)
        asked = [sample.deployment for sample in result.samples]
        winner = next(one.deployment for one in result.samples if one.text == result.text)
        strong_right = question.said[strong].right
        ran.append(
            Ran(
                pair=pair,
                right=question.said[winner].right,
                agreed=strong not in asked,
                strong_right=strong_right,
                voted_right=question.said[pair[0] if agree(question, pair) else strong].right,
                better_right=question.said[better].right,
                chance=(1 - goes_on) * question.said[better].right + goes_on * strong_right,
            )
        )
    return ran


def bootstrap(ran: Sequence[Ran]) -> tuple[float, float]:
    rng = random.Random(SEED)
    gains = [one.right - one.strong_right for one in ran]
    means = sorted(
        100 * statistics.fmean(rng.choices(gains, k=len(gains))) for _ in range(RESAMPLES)
    )
    return means[RESAMPLES // 40], means[-RESAMPLES // 40]


def row(strong: str, ran: Sequence[Ran]) -> list[object]:
    n = len(ran)
    agreed = [one for one in ran if one.agreed]
    gain = 100 * statistics.fmean(one.right - one.strong_right for one in ran)
    low, high = bootstrap(ran)
    pairs = dict.fromkeys(" + ".join(one.pair) for one in ran)
    return [
        strong,
        "; ".join(pairs),
        share(one.right for one in ran),
        share(one.strong_right for one in ran),
        f"{gain:+.1f} ({low:+.1f} to {high:+.1f})",
        f"{100 - 100 * len(agreed) / n:.0f} %",
        share(one.right for one in agreed),
        share(one.voted_right for one in ran),
        share(one.better_right for one in ran),
        share(one.chance for one in ran),
    ]


def share(values: Iterable[float]) -> str:
    return f"{100 * statistics.fmean(values):.1f} %"


async def rows(questions: Sequence[Question], folder: Path) -> list[list[object]]:
    environ = {"TTC_DATA_DIR": str(folder), "TTC_CACHE_DIR": str(folder)}
    config = Config.from_mapping(
        {"deployments": deployments(questions), "store": {"enabled": False}}, environ=environ
    )
    found: list[list[object]] = []
    async with tt.AsyncClient(config, environ=environ) as client:
        for strong in STRONG:
            ran: list[Ran] = []
            for learn, judge in halves(questions):
                ran += await run(client, judge, chosen(learn, strong), strong)
            found.append(row(strong, ran))
    return found


def predicted_rows(questions: Sequence[Question]) -> list[list[object]]:
    """Panels of three models, the best last: predicted from one half, counted on the other."""
    rng = random.Random(SEED)
    found: list[tuple[float, float, float]] = []
    for learn, judge in halves(questions):
        rates = {name: rate(learn, name) for name in learn[0].said}
        for _ in range(PANELS // 2):
            first, second, last = sorted(rng.sample(list(rates), 3), key=lambda name: rates[name])
            ways = list(courses([rates[name] for name in (first, second, last)], 2))
            quality = sum(one.chance for one in ways if one.right)
            samples = sum(one.chance * sum(one.asked) for one in ways)
            accuracy, agreed = counted(judge, (first, second), last)
            halves_apart = abs(rate(learn, last) - rate(judge, last))
            found.append((quality - accuracy, samples - (3 - agreed), halves_apart))
    off, drawn, apart = ([abs(one[place]) for one in found] for place in range(3))
    return [
        [
            len(found),
            f"{100 * statistics.median(off):.1f}",
            f"{100 * statistics.quantiles(off, n=10)[-1]:.1f}",
            f"{100 * statistics.fmean(one[0] for one in found):+.1f}",
            f"{statistics.median(drawn):.3f}",
            f"{100 * statistics.median(apart):.1f}",
        ]
    ]


def rate(questions: Sequence[Question], name: str) -> float:
    return statistics.fmean(one.said[name].right for one in questions)


def pairs_rows(questions: Sequence[Question]) -> list[list[object]]:
    """How two models' successes, and their mistakes, go together: what predictions take, on each half and on all."""
    rows: list[list[object]] = []
    one, other = next(halves(questions))
    for name, part in (("first half", one), ("second half", other), ("all", list(questions))):
        together: list[float] = []
        same: list[float] = []
        rates = {model: rate(part, model) for model in part[0].said}
        for first, second in itertools.combinations(rates, 2):
            said = [(question.said[first], question.said[second]) for question in part]
            both = statistics.fmean(a.right and b.right for a, b in said)
            product = rates[first] * rates[second]
            together.append((both - product) / (min(rates[first], rates[second]) - product))
            wrong = [
                a.answer == b.answer
                for a, b in said
                if not a.right and not b.right and a.answer and b.answer
            ]
            if len(wrong) >= FEWEST_MISTAKES:
                same.append(statistics.fmean(wrong))
        rows.append([name, len(together), quartiles(together), len(same), quartiles(same)])
    return rows


def quartiles(values: Sequence[float]) -> str:
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.2f} ({low:.2f}-{high:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asked = load(given.data)
        found = asyncio.run(rows(asked, Path(folder)))
    header = (
        "strong model", "pair that is asked first", "panel", "strong model alone", "difference, points",
        "questions that came to the strong model", "right where the pair agrees", "vote of all three",
        "the pair's better model alone", "it, handing on at random as often",
    )  # fmt: skip
    text = "\n\n".join(
        (
            "# Panels on recorded answers",
            f"`python benchmarks/panels.py --data FOLDER`: {conditions()}.",
            _METHOD,
            markdown(header, found),
            _PREDICTED,
            markdown(
                (
                    "panels of three",
                    "median error, points",
                    "90th percentile",
                    "mean (signed)",
                    "median error of the samples asked",
                    "halves differ, points",
                ),
                predicted_rows(asked),
            ),
            _PAIRS,
            markdown(
                ("questions", "pairs", "successes go together", "pairs", "same mistake"),
                pairs_rows(asked),
            ),
        )
    )
    write(given.output, text)


if __name__ == "__main__":
    main()
