"""Does the length of a prompt tell how hard its question is? For ``confidence.py``.

Abilities are learned from one half of the questions, with the lengths of their prompts and without, and the
success rates that they give the other half's questions are held against the samples.
"""

from __future__ import annotations

import math
import random
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence

import msgspec

from confidence_scores import bootstrapped
from recorded import RIGHT, Recorded
from report import markdown
from tt_compute.planning.ability import ability_of
from tt_compute.planning.estimates import Estimates
from tt_compute.planning.observations import Observation
from tt_compute.planning.similarity import length_band
from tt_compute.profiles.schema import ModelProfile

__all__ = ["length_table"]

_MOST_TAUGHT = 250
"""As many as count in full in a store."""
_MOST_QUESTIONS = 700
_EDGE = 1e-6


def length_table(pools: Mapping[str, Sequence[Recorded]], splits: int, resamples: int) -> str:
    rows: list[list[object]] = []
    for name, questions in pools.items():
        number = min(len(questions), _MOST_QUESTIONS)
        picked = random.Random(3).sample(questions, number)
        pairs = _losses(picked, splits)
        gain = bootstrapped([(with_it - without, 1) for without, with_it in pairs], resamples)
        means = [f"{statistics.fmean(side):.3f}" for side in zip(*pairs, strict=True)]
        rows.append([name, number, *means, gain])
    header = ["questions", "number", "loss without lengths", "with them", "less"]
    return markdown(header, rows)


def _losses(questions: Sequence[Recorded], splits: int) -> list[tuple[float, float]]:
    """Of each question the loss of its predicted success rate, (without, with) lengths."""
    found: dict[int, list[tuple[float, float]]] = defaultdict(list)
    places = list(range(len(questions)))
    for split in range(splits):
        shuffled = random.Random(split).sample(places, len(places))
        middle = len(places) // 2
        for teachers, judges in (
            (shuffled[:middle], shuffled[middle:]),
            (shuffled[middle:], shuffled[:middle]),
        ):
            seen = tuple(_observed(questions[at]) for at in teachers[:_MOST_TAUGHT])
            estimates = Estimates(observations={("m", "math"): seen})
            rates: dict[int | None, float] = {}
            for at in judges:
                band = length_band(questions[at].prompt_tokens or 1)
                for tokens in (None, band):
                    if tokens not in rates:
                        rates[tokens] = _rate(estimates, tokens)
                found[at].append(
                    (_loss(questions[at], rates[None]), _loss(questions[at], rates[band]))
                )
    return [
        (statistics.fmean(one for one, _ in of), statistics.fmean(one for _, one in of))
        for of in found.values()
    ]


def _observed(question: Recorded) -> Observation:
    return msgspec.structs.replace(question.observation(), prompt_tokens=question.prompt_tokens)


def _rate(estimates: Estimates, prompt_tokens: int | None) -> float:
    mean = ability_of(ModelProfile(id="m"), "math", estimates, prompt_tokens).mean
    assert mean is not None
    return mean


def _loss(question: Recorded, rate: float) -> float:
    share = question.answers.count(RIGHT) / len(question.answers)
    right, wrong = max(rate, _EDGE), max(1 - rate, _EDGE)
    return -share * math.log(right) - (1 - share) * math.log(wrong)
