"""What a run of a strategy takes, before any deployment is looked at: quality, samples, decode steps.

Quality and samples are exact (``planning.votes``, or the closed forms below); how the work of a run spreads over
decode steps, and how it differs from run to run, comes from simulated trials (``planning.trials``). ``Load``
counts the steps by how many rows are alive in them, so that a deployment's step times turn it into seconds.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, TypeVar

import msgspec

from tt_compute.planning.ability import TaskAbility
from tt_compute.planning.lengths import Lengths
from tt_compute.planning.trials import Trial, contest_trials, vote_trials
from tt_compute.planning.votes import hold_vote
from tt_compute.stopping import parse_stop_rule
from tt_compute.types import Reliability

__all__ = [
    "P50",
    "P95",
    "Judged",
    "Load",
    "RunShape",
    "best_of_n_run",
    "load_of",
    "majority_run",
    "near",
    "scaled",
    "single_run",
    "whole_run",
]

T = TypeVar("T")

P50 = 0.5
P95 = 0.95
_NEAR = 0.025
"""A quantile is the mean of the trials whose levels lie so close to it."""
_EXACT = Reliability()


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """Work of a run, as a mean or at a quantile of its duration."""

    waves: float
    """First tokens that were waited for, one after the other."""
    samples: float
    steps: tuple[tuple[int, float], ...]
    """(rows alive, decode steps with so many), without the first token of each wave: that one is prefill's."""


class RunShape(msgspec.Struct, frozen=True, kw_only=True):
    """A strategy with its budget and wave on one (model, task kind); None is unknown."""

    quality: float | None
    samples_mean: float | None
    widest: int | None = None
    """Most samples that are ever in flight at once."""
    tokens_mean: float | None = None
    """Completion tokens of all samples together, cancelled ones up to where they were cancelled."""
    mean: Load | None = None
    p50: Load | None = None
    p95: Load | None = None
    """None when the spread of lengths is unknown."""


@lru_cache(maxsize=4096)
def single_run(ability: TaskAbility, lengths: Lengths | None) -> RunShape:
    """One sample; its quality is the success rate."""
    if lengths is None:
        return RunShape(quality=ability.mean, samples_mean=1.0, widest=1)
    return RunShape(
        quality=ability.mean,
        samples_mean=1.0,
        widest=1,
        tokens_mean=lengths.mean_cut,
        mean=_alone(lengths.mean_cut),
        p50=_alone(lengths.quantile(P50)),
        p95=None if lengths.p95 is None else _alone(lengths.quantile(P95)),
    )


def _alone(tokens: float) -> Load:
    # The first token is no step of its own, and a median below it, of very short answers, is none the less.
    return Load(waves=1, samples=1, steps=((1, max(0.0, tokens - 1)),))


@lru_cache(maxsize=4096)
def majority_run(
    ability: TaskAbility,
    lengths: Lengths | None,
    rule: str | None,
    budget: int,
    wave: int,
    *,
    ahead: float = 1.0,
) -> RunShape:
    """A vote in deficit waves, and ahead of them; all unknown unless the ability is known in full.

    What is drawn ahead of need follows from the trials, so that without ``lengths`` it is unknown, too.
    """
    questions, abstain = ability.questions, ability.abstain_share
    if questions is None or abstain is None:
        return RunShape(quality=None, samples_mean=None)
    vote = hold_vote(questions, abstain, rule, budget)
    if lengths is None:
        known = vote.samples_mean if ahead == 1 else None
        return RunShape(quality=vote.accuracy, samples_mean=known, widest=wave)
    stop = None if rule is None else parse_stop_rule(rule)
    trials = vote_trials(
        questions, abstain, lengths, rule=stop, budget=budget, wave=wave, ahead=ahead
    )
    needless = statistics.fmean(trial.samples - trial.needed for trial in trials)
    samples = min(vote.samples_mean + needless, budget)
    return _shape(vote.accuracy, samples, wave, trials, lengths)


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
    kinds = [Judged.of(rate, share, reliability) for rate, share in ability.questions.rates()]

    def moment(accepted: int, refused: int) -> float:
        return sum(
            kind.share * kind.accepted**accepted * (1 - kind.accepted) ** refused for kind in kinds
        )

    refused = math.fsum(moment(0, count) for count in range(1, budget - wave + 1))
    quality = math.fsum(kind.share * kind.quality(budget) for kind in kinds)
    trials = None
    if lengths is not None:
        chances = [(kind.accepted, kind.share) for kind in kinds]
        trials = contest_trials(chances, lengths, budget, wave)
    return _shape(quality, wave + refused, wave, trials, lengths)


@lru_cache(maxsize=4096)
def whole_run(lengths: Lengths | None, budget: int, wave: int) -> RunShape:
    """All samples of a budget, whatever they say; what comes of them is unknown."""
    trials = None if lengths is None else contest_trials([(0.0, 1.0)], lengths, budget, wave)
    return _shape(None, budget, wave, trials, lengths)


class Judged(NamedTuple):
    """Questions of one success rate before a verifier."""

    share: float
    accepted: float
    """P(one sample is accepted)."""
    right_if_accepted: float
    right_if_refused: float

    @classmethod
    def of(cls, rate: float, share: float, reliability: Reliability) -> Judged:
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


def _shape(
    quality: float | None,
    samples: float,
    wave: int,
    trials: Sequence[Trial] | None,
    lengths: Lengths | None,
) -> RunShape:
    if trials is None or lengths is None:
        return RunShape(quality=quality, samples_mean=samples, widest=wave)
    mean = load_of(trials)
    # The trials' own number of samples is off by chance; the exact one is known.
    scale = samples / mean.samples
    tokens = sum(rows * steps for trial in trials for rows, steps in trial.rows) / len(trials)
    return RunShape(
        quality=quality,
        samples_mean=samples,
        widest=max(rows for trial in trials for rows, _ in trial.rows),
        tokens_mean=tokens * scale,
        mean=scaled(mean, scale),
        p50=load_of(near(trials, P50)),
        p95=None if lengths.p95 is None else load_of(near(trials, P95)),
    )


def scaled(load: Load, scale: float) -> Load:
    """A multiple of a run's work."""
    return Load(
        waves=load.waves * scale,
        samples=load.samples * scale,
        steps=tuple((rows, count * scale) for rows, count in load.steps),
    )


def near(runs: Sequence[T], level: float) -> Sequence[T]:
    """Those about ``level`` of the way through runs that are in the order of their length."""
    low, high = (round(len(runs) * at) for at in (level - _NEAR, level + _NEAR))
    return runs[low : max(high, low + 1)]


def load_of(trials: Sequence[Trial]) -> Load:
    """The mean of some trials."""
    steps: dict[int, float] = defaultdict(float)
    for trial in trials:
        # Every wave's first token is prefill's; it is left out of all steps alike.
        share = 1 - trial.waves / trial.tokens
        for rows, count in trial.rows:
            steps[rows] += share * count
    n = len(trials)
    return Load(
        waves=sum(trial.waves for trial in trials) / n,
        samples=sum(trial.samples for trial in trials) / n,
        steps=tuple((rows, count / n) for rows, count in sorted(steps.items())),
    )
