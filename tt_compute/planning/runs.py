"""What a run of a strategy takes, before any deployment is looked at: samples, waves, decode steps.

A run is a row of waves. The last one of a vote takes as long as its longest sample, that of best-of-n as
long as the first sample that is accepted. The others take one sample's mean length, because a strategy draws
what it sees it needs while the rest of a wave still runs. ``Load`` counts the decode steps by how wide the
wave is that takes them, so that a deployment's step times turn it into seconds; that steps become shorter
as the samples of a wave end is left out.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

import msgspec

from tt_compute.planning.ability import TaskAbility
from tt_compute.planning.lengths import Lengths
from tt_compute.planning.questions import Moments
from tt_compute.planning.votes import hold_vote
from tt_compute.types import Reliability

__all__ = ["Load", "RunShape", "best_of_n_run", "majority_run", "single_run"]

_P50 = 0.5
_P95 = 0.95
_SPREAD = 20
"""Loads that stand for the runs with one number of waves."""
_RARE = 1e-4
"""Numbers of waves that fewer runs come to are left out."""
_HALVINGS = 20
_EXACT = Reliability()


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """Work of a run, as a mean or at a quantile of its duration."""

    waves: float
    samples: float
    steps: tuple[tuple[int, float], ...]
    """(wave width, decode steps at it), without the first token of each wave: that one is prefill's."""


class RunShape(msgspec.Struct, frozen=True, kw_only=True):
    """A strategy with its budget and wave on one (model, task kind); None is unknown."""

    quality: float | None
    samples_mean: float | None
    widest: int | None = None
    """Most samples that are ever in flight at once."""
    tokens_mean: float | None = None
    """Completion tokens of all samples together, cancelled ones counted in full."""
    mean: Load | None = None
    p50: Load | None = None
    p95: Load | None = None
    """None when the spread of lengths is unknown."""


class _Wave(msgspec.Struct, frozen=True, kw_only=True):
    """The n-th wave of a run."""

    reached: float
    """Probability that the run comes to it."""
    widths: tuple[tuple[int, float], ...]
    """(samples in it, probability that it is reached and this wide)."""
    accepted: tuple[float, ...] | None = None
    """Of best-of-n: weight of its ends with 0, 1, 2 ... accepted samples. None = a vote, all are waited for."""


def single_run(ability: TaskAbility, lengths: Lengths | None) -> RunShape:
    """One sample; its quality is the success rate."""
    waves = (_Wave(reached=1.0, widths=((1, 1.0),)),)
    return _shape(ability.mean, 1.0, waves, lengths)


@lru_cache(maxsize=4096)
def majority_run(
    ability: TaskAbility, lengths: Lengths | None, rule: str | None, budget: int, wave: int
) -> RunShape:
    """A vote in deficit waves; all unknown unless the ability is known in full."""
    if ability.questions is None or ability.abstain_share is None:
        return RunShape(quality=None, samples_mean=None)
    vote = hold_vote(ability.questions, ability.abstain_share, rule, budget, wave)
    waves = tuple(_Wave(reached=wave.reached, widths=wave.widths) for wave in vote.waves)
    return _shape(vote.accuracy, vote.samples_mean, waves, lengths)


@lru_cache(maxsize=4096)
def best_of_n_run(
    ability: TaskAbility,
    lengths: Lengths | None,
    budget: int,
    wave: int,
    reliability: Reliability = _EXACT,
) -> RunShape:
    """Draw until a verifier accepts, ``wave`` at once.

    A verifier that accepts right samples at the rate t and wrong ones at the rate f accepts any with
    probability a = p t + (1 - p) f. When i samples were refused, i + ``wave`` have been drawn, so that

        E[samples] = wave + sum over i = 1 .. n - wave of E[(1 - a)^i];

    an accepted sample is right with probability p t / a, and when all were refused the first of them stands,
    right with probability p (1 - t) / (1 - a):

        quality = E[(1 - (1 - a)^n) p t / a + (1 - a)^n p (1 - t) / (1 - a)].

    With t = 1 and f = 0 that is pass@n.
    """
    if ability.questions is None:
        return RunShape(quality=None, samples_mean=None)
    kinds = [_Judged.of(rate, share, reliability) for rate, share in ability.questions.rates()]

    def moment(accepted: int, refused: int) -> float:
        return sum(
            kind.share * kind.accepted**accepted * (1 - kind.accepted) ** refused for kind in kinds
        )

    refused = math.fsum(moment(0, count) for count in range(1, budget - wave + 1))
    waves = tuple(
        _contest_wave(moment, begun, min(wave, budget - begun), last=begun + wave >= budget)
        for begun in range(0, budget, wave)
    )
    quality = math.fsum(kind.share * kind.quality(budget) for kind in kinds)
    return _shape(quality, wave + refused, waves, lengths)


class _Judged(NamedTuple):
    """Questions of one success rate before a verifier."""

    share: float
    accepted: float
    """P(one sample is accepted)."""
    right_if_accepted: float
    right_if_refused: float

    @classmethod
    def of(cls, rate: float, share: float, reliability: Reliability) -> _Judged:
        right = rate * reliability.true_positive_rate
        accepted = right + (1 - rate) * reliability.false_positive_rate
        missed = rate - right
        return cls(
            share,
            accepted,
            right / accepted if accepted else 0.0,
            missed / (1 - accepted) if accepted < 1 else 0.0,
        )

    def quality(self, budget: int) -> float:
        refused = (1 - self.accepted) ** budget
        return (1 - refused) * self.right_if_accepted + refused * self.right_if_refused


def _contest_wave(moment: Moments, begun: int, width: int, *, last: bool) -> _Wave:
    """The wave that starts after ``begun`` samples were refused."""
    accepted = [
        math.comb(width, count) * moment(count, begun + width - count) for count in range(width + 1)
    ]
    if not last:
        accepted[0] = 0.0
    reached = moment(0, begun)
    return _Wave(reached=reached, widths=((width, reached),), accepted=tuple(accepted))


def _shape(
    quality: float | None, samples: float, waves: Sequence[_Wave], lengths: Lengths | None
) -> RunShape:
    widest = max(width for wave in waves for width, _ in wave.widths)
    if lengths is None:
        return RunShape(quality=quality, samples_mean=samples, widest=widest)
    p50, p95 = _quantiles((_P50, _P95), waves, lengths)
    return RunShape(
        quality=quality,
        samples_mean=samples,
        widest=widest,
        tokens_mean=samples * lengths.mean_cut,
        mean=_mean_load(waves, samples, lengths),
        p50=p50,
        p95=None if lengths.p95 is None else p95,
    )


def _mean_load(waves: Sequence[_Wave], samples: float, lengths: Lengths) -> Load:
    steps: dict[int, float] = defaultdict(float)
    one = lengths.mean_cut
    for wave, after in zip(waves, [*(wave.reached for wave in waves[1:]), 0.0], strict=True):
        last = 1 - after / wave.reached if wave.reached else 0.0
        for width, share in wave.widths:
            steps[width] += share * (one + last * (_mean_end(wave, width, lengths) - one) - 1)
    return Load(
        waves=math.fsum(wave.reached for wave in waves),
        samples=samples,
        steps=tuple(sorted(steps.items())),
    )


def _quantiles(levels: Sequence[float], waves: Sequence[_Wave], lengths: Lengths) -> list[Load]:
    """Loads of the runs that are longer than these rising shares of all runs, by their decode steps.

    The runs with each number of waves are stood for by loads at evenly spread levels of their lengths;
    all of them in one line make the distribution, so that a higher level is never a shorter run.
    """
    ended = [1 - wave.reached for wave in waves[1:]] + [1.0]
    cells: list[tuple[float, float, int, int]] = []
    for count, (below, until) in enumerate(zip([0.0, *ended], ended, strict=False), start=1):
        if until - below > _RARE:
            for place in range(_SPREAD):
                total = _steps(_load_of(count, (place + 0.5) / _SPREAD, waves, lengths))
                cells.append((total, (until - below) / _SPREAD, count, place))
    cells.sort()
    shares = list(accumulate(share for _, share, _, _ in cells))
    loads: list[Load] = []
    for level in levels:
        found = bisect_left(shares, level * shares[-1])
        _, share, count, place = cells[found]
        inside = 1 - (shares[found] - level * shares[-1]) / share
        loads.append(_load_of(count, (place + inside) / _SPREAD, waves, lengths))
    # Two levels may fall into neighbouring cells of different numbers of waves, which overlap a little.
    return list(accumulate(loads, _longer))


def _longer(first: Load, second: Load) -> Load:
    return first if _steps(first) > _steps(second) else second


def _steps(load: Load) -> float:
    return math.fsum(steps for _, steps in load.steps)


def _load_of(count: int, within: float, waves: Sequence[_Wave], lengths: Lengths) -> Load:
    """Load of the runs with ``count`` waves, at a level of their lengths.

    A sum of j independent lengths lies by a factor sqrt(j) closer to its mean than one of them.
    """
    steps: dict[int, float] = defaultdict(float)
    samples = 0.0
    for number, wave in enumerate(waves[:count], start=1):
        for width, share in wave.widths:
            if number == count:
                mean = _mean_end(wave, width, lengths)
                end = _end_at(within, wave, width, lengths)
            else:
                mean, end = lengths.mean_cut, lengths.quantile(within)
            tokens = mean + (end - mean) / math.sqrt(count)
            steps[width] += share / wave.reached * (tokens - 1)
            samples += share / wave.reached * width
    return Load(waves=count, samples=samples, steps=tuple(sorted(steps.items())))


def _mean_end(wave: _Wave, width: int, lengths: Lengths) -> float:
    """Expected tokens until a wave ends the run that ends in it."""
    if wave.accepted is None:
        return lengths.mean_of_longest(width)
    ends = math.fsum(wave.accepted)
    if ends == 0:
        return lengths.mean_of_longest(width)
    nobody, *some = wave.accepted
    total = nobody * lengths.mean_of_longest(width)
    for count, weight in enumerate(some, start=1):
        total += weight * lengths.mean_of_shortest(count)
    return total / ends


def _end_at(level: float, wave: _Wave, width: int, lengths: Lengths) -> float:
    """Tokens within which a share ``level`` of the runs that end in this wave have ended."""
    if wave.accepted is None:
        return lengths.quantile_of_longest(width, level)
    nobody, *some = wave.accepted
    ends = math.fsum(wave.accepted)
    if ends == 0 or level >= (ends - nobody) / ends:
        return lengths.quantile_of_longest(width, level)
    # Of k accepted samples none has ended by the length's level x with probability (1 - x)^k.
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        ended = math.fsum(
            weight * (1 - (1 - middle) ** count) for count, weight in enumerate(some, start=1)
        )
        low, high = (low, middle) if ended >= level * ends else (middle, high)
    return lengths.quantile((low + high) / 2)
