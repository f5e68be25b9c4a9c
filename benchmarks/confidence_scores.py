"""How good stated probabilities were, with intervals over questions, for ``confidence.py``."""

from __future__ import annotations

import itertools
import math
import random
import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import msgspec

__all__ = ["Scores", "Told", "bootstrapped", "intervals"]

T = TypeVar("T")

_PARTS = 10
_EDGE = 1e-6


class Told(NamedTuple):
    """What was said of an answer."""

    question: int
    confidence: float
    right: bool


class Scores(msgspec.Struct, frozen=True, kw_only=True):
    """Over all answers."""

    loss: float
    brier: float
    ece: float
    auc: float

    @classmethod
    def of(cls, told: Sequence[Told]) -> Scores:
        return cls(
            loss=statistics.fmean(map(loss, told)),
            brier=statistics.fmean((one.confidence - one.right) ** 2 for one in told),
            ece=calibration_error(told),
            auc=ranking(told),
        )

    def shown(self) -> list[str]:
        return [f"{value:.3f}" for value in (self.loss, self.brier, self.ece, self.auc)]


def loss(one: Told) -> float:
    given = one.confidence if one.right else 1 - one.confidence
    return -math.log(max(given, _EDGE))


def calibration_error(told: Sequence[Told]) -> float:
    """Mean distance of confidence and accuracy over parts of equal size."""
    ranked = sorted(told, key=lambda one: one.confidence)
    cuts = [round(place * len(ranked) / _PARTS) for place in range(_PARTS + 1)]
    distances = 0.0
    for low, high in itertools.pairwise(cuts):
        distances += abs(math.fsum(one.confidence - one.right for one in ranked[low:high]))
    return distances / len(ranked)


def ranking(told: Sequence[Told]) -> float:
    """P(a right answer has the higher confidence of a right and a wrong one), equal ones half."""
    groups: dict[float, list[int]] = defaultdict(lambda: [0, 0])
    for one in told:
        groups[one.confidence][one.right] += 1
    below = pairs = 0.0
    for _, (wrong, right) in sorted(groups.items()):
        pairs += right * (below + wrong / 2)
        below += wrong
    rights = sum(one.right for one in told)
    return pairs / (rights * (len(told) - rights)) if 0 < rights < len(told) else math.nan


def intervals(told: Sequence[Told], plain: Sequence[Told], resamples: int) -> list[str]:
    """Differences of loss and of ECE, with what 95 % of resampled questions give."""
    pairs: dict[int, list[tuple[Told, Told]]] = defaultdict(list)
    for one, other in zip(told, plain, strict=True):
        pairs[one.question].append((one, other))
    of_each = list(pairs.values())
    losses = [(sum(loss(one) - loss(other) for one, other in of), len(of)) for of in of_each]
    found = [bootstrapped(losses, resamples)]
    # Sorting all answers anew takes longer by far, and its interval is wide in any case.
    found.append(_shown(of_each, _ece_gain, max(1, resamples // 10)))
    return found


def bootstrapped(sums: Sequence[tuple[float, int]], resamples: int) -> str:
    """Mean of (sum, number) of each question, with what 95 % of resampled questions give."""
    return _shown(sums, _mean, resamples)


def _mean(sums: Sequence[tuple[float, int]]) -> float:
    return math.fsum(one for one, _ in sums) / sum(count for _, count in sums)


def _ece_gain(questions: Sequence[Sequence[tuple[Told, Told]]]) -> float:
    told = [one for of in questions for one, _ in of]
    plain = [other for of in questions for _, other in of]
    return calibration_error(told) - calibration_error(plain)


def _shown(questions: Sequence[T], figure: Callable[[Sequence[T]], float], resamples: int) -> str:
    rng = random.Random(2)
    drawn = sorted(figure(rng.choices(questions, k=len(questions))) for _ in range(resamples))
    low, high = drawn[int(0.025 * resamples)], drawn[-1 - int(0.025 * resamples)]
    return f"{figure(questions):+.3f} ({low:+.3f} to {high:+.3f})"
