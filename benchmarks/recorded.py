"""Recorded samples of real models, as the planner's benchmarks read them.

The files are JSON Lines. Most hold one question a line with ``samples``, ``correct`` and sometimes ``tokens``;
``reasoninggym_easy_10models.jsonl`` holds ten models' scores and answer patterns of each question.
"""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tt_compute.planning.observations import Observation
from tt_compute.prompts import estimate_tokens, to_messages
from tt_compute.stopping import StopRule, fewest_more

__all__ = [
    "Played",
    "Recorded",
    "best_of",
    "halves",
    "load_file",
    "load_gym",
    "load_gym_cells",
    "load_pools",
    "vote",
]

RIGHT = 0
_FULL_SCORE = 0.99
_CHARS_PER_TOKEN = 4


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """One question: of each sample its answer (``RIGHT``, another number, None = none), and what else is known."""

    answers: tuple[int | None, ...]
    tokens: tuple[float, ...] | None = None
    logprobs: tuple[float, ...] | None = None
    """Mean log-probability per token."""
    prompt_tokens: int | None = None
    """As the planner estimates them."""

    def observation(self) -> Observation:
        counts = Counter(answer for answer in self.answers if answer is not None)
        wrong = sorted((counts[answer] for answer in counts if answer != RIGHT), reverse=True)
        silent = sum(answer is None for answer in self.answers)
        return Observation(right=counts[RIGHT], wrong=tuple(wrong), abstained=silent)


class Played(msgspec.Struct, frozen=True, kw_only=True):
    """A strategy over questions, as means."""

    accuracy: float
    samples: float


def load_pools(folder: Path) -> dict[str, list[Recorded]]:
    """Pool -> questions with at least eight samples each."""
    files = {
        "GSM8K, Qwen2.5-0.5B": ("gsm8k_qwen05b_k16_logprob.jsonl", None),
        "MATH-500, Qwen2.5-1.5B": ("math500_qwen15b_k8_prm.jsonl", "MATH-500"),
        "MATH-100, Qwen2.5-Math": ("math100_qwen_k8_with_reward.jsonl", None),
        "HumanEval, CodeGen-16B": ("humaneval_codegen16b_k100.jsonl", None),
        "Game of 24, GPT-4": ("game24_gpt4_k100.jsonl", None),
    }
    pools: dict[str, list[Recorded]] = {}
    for name, (file, dataset) in files.items():
        lines = [line for line in _lines(folder / file) if dataset in (None, line["dataset"])]
        pools[name] = [_question(line) for line in lines]
    return pools


def load_file(path: Path) -> list[Recorded]:
    """The questions of one recording, as ``ttc record`` makes them."""
    return [_question(line) for line in _lines(path)]


def load_gym(folder: Path) -> dict[tuple[str, str], list[Recorded]]:
    """(model, kind of task) -> questions with three samples; cells that are missing are left out."""
    return {key: list(cells.values()) for key, cells in load_gym_cells(folder).items()}


def load_gym_cells(folder: Path) -> dict[tuple[str, str], dict[str, Recorded]]:
    """The same, by the question's id: for models side by side."""
    header, *lines = _lines(folder / "reasoninggym_easy_10models.jsonl")
    found: dict[tuple[str, str], dict[str, Recorded]] = defaultdict(dict)
    for line in lines:
        kind = line["id"].partition("/")[0]
        for place, model in enumerate(header["_models"]):
            scores, pattern, chars = (line[key][place] for key in ("s", "g", "c"))
            if scores is None or len(scores) < 3 or None in scores:
                continue
            found[model, kind][line["id"]] = Recorded(
                answers=_pattern(scores, pattern),
                tokens=tuple(max(1.0, count / _CHARS_PER_TOKEN) for count in chars),
                prompt_tokens=estimate_tokens(to_messages("x" * line["qc"])),
            )
    return dict(found)


def halves(questions: Sequence[Recorded], seed: int) -> tuple[list[Recorded], list[Recorded]]:
    shuffled = random.Random(seed).sample(list(questions), len(questions))
    return shuffled[: len(shuffled) // 2], shuffled[len(shuffled) // 2 :]


def vote(
    questions: Sequence[Recorded], rule: StopRule, budget: int, seed: int, shuffles: int
) -> Played:
    """A vote in deficit waves over samples in a shuffled order; ties by their share of luck."""
    rng = random.Random(seed)
    right = drawn = 0.0
    for question in questions:
        for _ in range(shuffles):
            order = rng.sample(question.answers, len(question.answers))
            votes: Counter[int] = Counter()
            used = 0
            while more := fewest_more(rule, list(votes.values()), budget - used):
                votes.update(one for one in order[used : used + more] if one is not None)
                used += more
            most = max(votes.values(), default=0)
            leaders = [answer for answer, count in votes.items() if count == most]
            right += leaders.count(RIGHT) / len(leaders) if leaders else 0
            drawn += used
    runs = len(questions) * shuffles
    return Played(accuracy=right / runs, samples=drawn / runs)


def best_of(questions: Sequence[Recorded], budget: int, seed: int, shuffles: int) -> Played:
    """Draw one by one until a sample is right."""
    rng = random.Random(seed)
    right = drawn = 0
    for question in questions:
        for _ in range(shuffles):
            order = rng.sample(question.answers, len(question.answers))[:budget]
            found = order.index(RIGHT) + 1 if RIGHT in order else None
            right += found is not None
            drawn += found or budget
    runs = len(questions) * shuffles
    return Played(accuracy=right / runs, samples=drawn / runs)


def _lines(path: Path) -> Iterator[Any]:
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def _question(line: Any) -> Recorded:
    names: dict[object, int] = {}
    answers: list[int | None] = []
    for sample, right in zip(line["samples"], line["correct"], strict=True):
        if right:
            answers.append(RIGHT)
        elif sample is None:
            answers.append(None)
        else:
            answers.append(names.setdefault(sample, len(names) + 1))
    logprobs = tuple(line["logprob"]) if "logprob" in line else None
    return Recorded(
        answers=tuple(answers),
        tokens=_tokens(line),
        logprobs=logprobs,
        prompt_tokens=estimate_tokens(to_messages(line["question"]))
        if "question" in line
        else None,
    )


def _tokens(line: Any) -> tuple[float, ...] | None:
    """Real ones where they were recorded, else by the length of the text."""
    if isinstance(line.get("tokens"), list):
        return tuple(map(float, line["tokens"]))
    if "out_chars" not in line:
        return None
    return tuple(max(1.0, chars / _CHARS_PER_TOKEN) for chars in line["out_chars"])


def _pattern(scores: Sequence[float], pattern: str) -> tuple[int | None, ...]:
    return tuple(
        RIGHT if score >= _FULL_SCORE else None if mark == "-" else int(mark) + 1
        for score, mark in zip(scores, pattern, strict=True)
    )
