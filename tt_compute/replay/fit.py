"""What recorded samples tell of a model's ability, as a profile that plans can rest on."""

from __future__ import annotations

import json
import math
import re
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from tt_compute.errors import UsageError
from tt_compute.profiles.schema import Ability, Fact, ModelProfile, TaskKind
from tt_compute.replay.answers import Question
from tt_compute.replay.recording import Recording

__all__ = ["concentration", "fit_ability", "model_name", "profile_text", "wrong_agreement"]

_LEAST, _MOST = -1.0, 3.0
_POINTS = 81
"""Concentrations that are tried: 0.1 to 1000, on a logarithmic scale."""
_SUFFIX = "-fitted"
_FOREIGN = re.compile(r"[^A-Za-z0-9._:@/+-]+")
_ID_CHARS = 128 - len(_SUFFIX)
"""An id has at most 128."""
_HEAD = """\
# Fitted by `ttc replay --fit`: a model profile, for a folder of `profiles:`. A deployment takes it by
# `override: {{model: {id}}}`.
"""


async def fit_ability(questions: Sequence[Question], *, source: str, as_of: str) -> Ability:
    """The ability that would make what was recorded likeliest.

    Args:
        questions: What was recorded.
        source: Where the numbers come from.
        as_of: ISO date.
    """

    def fact(value: float | None) -> Fact:
        if value is None:
            return Fact()
        return Fact(value=float(f"{value:.4g}"), source=source, as_of=as_of, status="measured")

    counts = [(sum(question.right), len(question.right)) for question in questions]
    mean = statistics.fmean(right / n for right, n in counts)
    silent = [
        statistics.fmean(answer is None for answer in question.answers) for question in questions
    ]
    wrong = [await _wrong(question) for question in questions]
    several = any(n > 1 for _, n in counts)
    tokens = [count for question in questions for count in question.recording.tokens or ()]
    known = all(question.recording.tokens for question in questions)
    return Ability(
        success_rate=fact(mean),
        concentration=fact(concentration(counts, mean) if several else None),
        wrong_agreement=fact(wrong_agreement(wrong)),
        abstain_rate=fact(statistics.fmean(silent)),
        completion_tokens_mean=fact(max(1.0, statistics.fmean(tokens)) if known else None),
        completion_tokens_p95=fact(_p95(tokens) if known else None),
    )


def concentration(counts: Sequence[tuple[int, int]], mean: float) -> float:
    """Maximum-likelihood c of Beta(mean c, (1 - mean) c) under the beta-binomial.

    Args:
        counts: (right samples, samples) of each question.
        mean: Success rate.
    """
    mean = min(max(mean, 1e-3), 1 - 1e-3)

    def log_likelihood(c: float) -> float:
        a, b = mean * c, (1 - mean) * c
        return sum(
            math.lgamma(a + right)
            + math.lgamma(b + n - right)
            - math.lgamma(a + b + n)
            + math.lgamma(a + b)
            - math.lgamma(a)
            - math.lgamma(b)
            for right, n in counts
        )

    step = (_MOST - _LEAST) / (_POINTS - 1)
    return max((10 ** (_LEAST + step * place) for place in range(_POINTS)), key=log_likelihood)


def wrong_agreement(wrong: Sequence[Sequence[int]]) -> float | None:
    """Share of the popular wrong answer: the root of P(two wrong answers of a question agree).

    Args:
        wrong: Of each question how many samples gave each wrong answer.

    Returns:
        None where no question has two wrong answers.
    """
    same = sum(count * (count - 1) for counts in wrong for count in counts)
    pairs = sum(sum(counts) * (sum(counts) - 1) for counts in wrong)
    return math.sqrt(same / pairs) if pairs else None


def model_name(recordings: Sequence[Recording], file: Path) -> str:
    """The one model that was recorded.

    Raises:
        UsageError: There are several, or none is named.
    """
    names = sorted({recording.model for recording in recordings})
    if len(names) > 1 or not names[0]:
        raise UsageError(
            f"{file}: an ability is of one model, and the file names {', '.join(map(repr, names))}",
            hint="keep the lines of one model, and its name in `model`",
        )
    return names[0]


def profile_text(name: str, task: TaskKind, ability: Ability, base: ModelProfile | None) -> str:
    """A model profile with the ability, as YAML.

    Args:
        name: What the recorded model is called.
        task: The kind of task.
        ability: Of it.
        base: The profile whose other facts it keeps; None = there are none.
    """
    name = f"{_id(name) if base is None else base.id}{_SUFFIX}"
    lines = [_HEAD.format(id=json.dumps(name)) + "kind: model", f"id: {json.dumps(name)}"]
    lines += [] if base is None else _other_facts(base)
    lines += ["abilities:", f"  {task}:", *_ability_lines(ability)]
    others = {} if base is None else base.abilities
    for kind, other in others.items():
        if kind != task:
            lines += [f"  {kind}:", *_ability_lines(other)]
    return "\n".join(lines) + "\n"


def _id(name: str) -> str:
    """As an id of a profile has to be; models are called all sorts of things, such as ``GPT-4 (2023)``."""
    plain = _FOREIGN.sub("-", name).strip("-._:@/+")
    return plain[:_ID_CHARS] or "model"


def _other_facts(base: ModelProfile) -> Iterator[str]:
    for field in msgspec.structs.fields(ModelProfile):
        value = getattr(base, field.name)
        if field.name not in ("id", "kind", "abilities") and value != field.default:
            # JSON is YAML.
            yield f"{field.name}: {json.dumps(msgspec.to_builtins(value))}"


def _ability_lines(ability: Ability) -> Iterator[str]:
    for field in msgspec.structs.fields(Ability):
        fact: Fact = getattr(ability, field.name)
        if fact.value is not None:
            yield f"    {field.name}: {_fact(fact)}"


def _fact(fact: Fact) -> str:
    stated = {"source": fact.source, "as_of": fact.as_of, "status": fact.status}
    rest = ", ".join(f"{key}: {json.dumps(value)}" for key, value in stated.items() if value)
    return f"{{value: {json.dumps(fact.value)}, {rest}}}"


def _p95(tokens: Sequence[int]) -> float:
    """Never below the mean, as a profile wants it."""
    ordered = sorted(tokens)
    found = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    return max(1.0, float(found), statistics.fmean(tokens))


async def _wrong(question: Question) -> list[int]:
    """How many samples gave each wrong answer."""
    counts = Counter(
        [
            await _place(question, place)
            for place, right in enumerate(question.right)
            if not right and question.answers[place] is not None
        ]
    )
    return list(counts.values())


async def _place(question: Question, place: int) -> int:
    """Of the first sample whose answer is the same."""
    own = question.answers[place]
    assert own is not None
    for other in range(place):
        answer = question.answers[other]
        if answer is not None and await question.task.equivalent(answer, own):
            return other
    return place
