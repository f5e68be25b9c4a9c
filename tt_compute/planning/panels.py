"""What a panel comes to: how often its deployments agree, how often they are then right, and what that takes.

Of a question each member is right or wrong. On a share ``TOGETHER`` of the questions they agree on the order of
difficulty, so that what one member gets right every better one does, too; on the rest they have nothing to do with
each other. A wrong answer is the question's one popular mistake, or one of the member's own. So, given the kind of
question, members are independent of each other, and all courses of the vote are added up.
"""

from __future__ import annotations

import math
import random
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from tt_compute.planning.types import Prediction
from tt_compute.stopping import fewest_to_agree

__all__ = [
    "MOST_MEMBERS",
    "SAME_MISTAKE",
    "TOGETHER",
    "Course",
    "Played",
    "agreement_confidence",
    "courses",
    "of_all",
    "play",
    "predict_panel",
    "quantiles",
    "seconds",
    "share_asked",
]

TOGETHER = 0.56
"""Covariance of two models' successes over that of comonotone ones: the median of 903 pairs of models on GSM8K, the
middle half 0.48 to 0.63 (``benchmarks/panels.py``)."""
SAME_MISTAKE = 0.5
"""P(two models give the same answer | both gave a wrong one): the median of the same pairs, the middle half 0.36 to
0.64."""
MOST_MEMBERS = 7
"""Of larger panels there are too many courses."""
_POPULAR = math.sqrt(SAME_MISTAKE)
"""P(a wrong answer is the popular one)."""
_TRIALS = 1000
_NORMAL_P95 = 1.6449
_Said = Literal["right", "popular", "own"]


class Course(NamedTuple):
    """One way in which a panel's vote may go."""

    chance: float
    asked: tuple[int, ...]
    """How many were asked at once, batch by batch."""
    right: bool


class Played(NamedTuple):
    """One run that was drawn at random."""

    asked: tuple[int, ...]
    """As in ``Course``."""
    slowness: tuple[float, ...]
    """Of each member that was asked: how its time compares with its median, in standard deviations of the logarithm."""


class _World(NamedTuple):
    """Questions of one kind."""

    chance: float
    rates: tuple[float, ...]
    """P(right) of each member."""


def predict_panel(singles: Sequence[Prediction], agree: int) -> Prediction:
    """What a panel is expected to do.

    The latency of a batch is that of its slowest member, each lognormal through its median and 95th percentile.

    Args:
        singles: Of a lone sample of each member, in the order in which they are asked.
        agree: Equal answers that end the vote.

    Returns:
        What follows from what is known of all members; None in it for the rest.
    """
    rates = [one.quality for one in singles if one.quality is not None]
    if len(rates) < len(singles) or len(singles) > MOST_MEMBERS:
        return Prediction()
    found = list(courses(rates, agree))
    asked = share_asked(found, len(singles))
    p50, p95 = _latency(singles, found)
    return Prediction(
        quality=sum(course.chance for course in found if course.right),
        samples_mean=sum(asked),
        latency_p50_s=p50,
        latency_p95_s=p95,
        cost_usd=of_all(asked, [one.cost_usd for one in singles]),
        energy_j=of_all(asked, [one.energy_j for one in singles]),
    )


def share_asked(found: Sequence[Course], members: int) -> list[float]:
    """Of each member, P(it is asked)."""
    return [
        sum(course.chance for course in found if sum(course.asked) > place)
        for place in range(members)
    ]


def agreement_confidence(rates: Sequence[float], groups: Sequence[Sequence[int]]) -> float | None:
    """P(the first group's answer is right), given who agreed with whom, by Bayes over whose answer is right, or none.

    Args:
        rates: Of each member P(its answer is right).
        groups: Members that gave the same answer, by their place in ``rates``; who was not asked, or had no
            answer, is in none and says nothing.

    Returns:
        None when nobody answered, or nobody could have answered so.
    """
    cases = [0.0] * (len(groups) + 1)
    for world in _worlds(rates):
        for place in range(len(cases)):
            wrong = [members for at, members in enumerate(groups) if at != place]
            chance = world.chance * _mistakes([len(members) for members in wrong])
            chance *= math.prod(1 - world.rates[member] for members in wrong for member in members)
            if place < len(groups):
                chance *= math.prod(world.rates[member] for member in groups[place])
            cases[place] += chance
    return cases[0] / sum(cases) if groups and sum(cases) > 0 else None


def courses(rates: Sequence[float], agree: int) -> Iterator[Course]:
    """Every way in which the vote may go, and its chance; together 1.

    Args:
        rates: Of each member P(its answer is right).
        agree: Equal answers that end the vote.
    """
    for world in _worlds(rates):
        if world.chance:
            yield from _play(world, agree, (), (), world.chance)


def _worlds(rates: Sequence[float]) -> Iterator[_World]:
    """Kinds of question: those that have nothing to do with each other, and each step of difficulty."""
    yield _World(1 - TOGETHER, tuple(rates))
    below = 0.0
    for edge in sorted({*rates, 1.0}):
        yield _World(TOGETHER * (edge - below), tuple(float(rate >= edge) for rate in rates))
        below = edge


def _play(
    world: _World, agree: int, said: tuple[_Said, ...], asked: tuple[int, ...], chance: float
) -> Iterator[Course]:
    wanted = fewest_to_agree(_votes(said), agree, len(world.rates) - len(said))
    if not wanted:
        yield Course(chance, asked, _leads(said))
        return
    for batch, share in _batches(world.rates[len(said) : len(said) + wanted]):
        if share:
            yield from _play(world, agree, (*said, *batch), (*asked, wanted), chance * share)


def _batches(rates: Sequence[float]) -> Iterator[tuple[tuple[_Said, ...], float]]:
    """What members may say who are asked at once."""
    if not rates:
        yield (), 1.0
        return
    right, *rest = rates
    chances: dict[_Said, float] = {
        "right": right,
        "popular": (1 - right) * _POPULAR,
        "own": (1 - right) * (1 - _POPULAR),
    }
    for batch, share in _batches(rest):
        for one, chance in chances.items():
            yield (one, *batch), share * chance


def _mistakes(sizes: Sequence[int]) -> float:
    """P(wrong answers fall into groups of these sizes), of which only that of the popular mistake has several."""
    total = sum(sizes)
    alone = sum(size == 1 for size in sizes)
    own = (1 - _POPULAR) ** total if alone == len(sizes) else 0.0
    return own + sum(
        _POPULAR**size * (1 - _POPULAR) ** (total - size)
        for size in sizes
        if alone - (size == 1) == len(sizes) - 1
    )


def _votes(said: Sequence[_Said]) -> list[int]:
    counts = Counter(said)
    return [counts["right"], counts["popular"], *([1] * counts["own"])]


def _leads(said: Sequence[_Said]) -> bool:
    """Whether the right answer wins: of equal votes those of the member asked last do."""
    counts = Counter(said)
    sizes = {"right": counts["right"], "popular": counts["popular"], "own": min(1, counts["own"])}
    most = max(sizes.values())
    leaders = {answer for answer, size in sizes.items() if size == most}
    last = next((one for one in reversed(said) if one in leaders), None)
    return last == "right"


def of_all(counts: Sequence[float], each: Sequence[float | None]) -> float | None:
    """What so many samples of each member take together; None where that of one is unknown."""
    known = [value for value in each if value is not None]
    if len(known) < len(each):
        return None
    return sum(count * value for count, value in zip(counts, known, strict=True))


def play(found: Sequence[Course]) -> list[Played]:
    """Runs at random, from a fixed seed: the same for every length of the prompt."""
    rng = random.Random(0)  # noqa: S311 - figures, not secrets
    drawn = rng.choices(found, [course.chance for course in found], k=_TRIALS)
    return [
        Played(one.asked, tuple(rng.gauss(0, 1) for _ in range(sum(one.asked)))) for one in drawn
    ]


def seconds(runs: Sequence[Played], pairs: Sequence[tuple[float, float]]) -> list[float]:
    """Of each run; batches follow each other, and each takes as long as its slowest member.

    Args:
        runs: Drawn.
        pairs: Of each member's sample the median and the 95th percentile; it is lognormal through both.
    """
    logs = [_log_time(*pair) for pair in pairs]
    times: list[float] = []
    for run in runs:
        total, start = 0.0, 0
        for number in run.asked:
            members = range(start, start + number)
            total += max(_time(logs[member], run.slowness[member]) for member in members)
            start += number
        times.append(total)
    return times


def quantiles(times: Sequence[float]) -> tuple[float, float]:
    """Median and 95th percentile."""
    ordered = sorted(times)
    return statistics.median(ordered), ordered[round(0.95 * len(ordered)) - 1]


def _latency(
    singles: Sequence[Prediction], found: Sequence[Course]
) -> tuple[float | None, float | None]:
    pairs = [
        (one.latency_p50_s, one.latency_p95_s)
        for one in singles
        if one.latency_p50_s is not None and one.latency_p95_s is not None
    ]
    if len(pairs) < len(singles):
        return None, None
    return quantiles(seconds(play(found), pairs))


def _log_time(p50: float, p95: float) -> tuple[float, float]:
    """(median, standard deviation of the logarithm)."""
    return p50, math.log(p95 / p50) / _NORMAL_P95 if 0 < p50 < p95 else 0.0


def _time(log_time: tuple[float, float], slowness: float) -> float:
    p50, deviation = log_time
    return p50 * math.exp(deviation * slowness) if deviation else p50
