"""Closed forms against plain simulation: accuracy and expected samples over a grid of abilities.

    python benchmarks/planner_forms.py --output docs/figures/planner_forms.md

Simulated questions have a success rate from a Beta density, one popular wrong answer, wrong answers of their
own and samples without one; the stop rule is asked after every sample, as the definition says, and never the
planner's code. Targets: half a point of accuracy, 2 % of samples; ``noise`` is two standard errors of the
simulation.
"""

from __future__ import annotations

import argparse
import itertools
import math
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec

from report import conditions, markdown, write
from tt_compute.planning.ability import TaskAbility
from tt_compute.planning.questions import Questions
from tt_compute.planning.runs import best_of_n_run, majority_run
from tt_compute.stopping import decided, parse_stop_rule
from tt_compute.types import Reliability

ABILITIES = list(itertools.product((0.1, 0.3, 0.6, 0.9), (0.5, 2.0, 20.0)))
"""(mean, concentration)."""
AGREEMENT, ABSTAIN = 0.4, 0.1
FALLIBLE = Reliability(true_positive_rate=0.9, false_positive_rate=0.2)


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    what: str
    accuracy: tuple[float, float]
    """(predicted, simulated)."""
    samples: tuple[float, float]
    runs: int

    @property
    def points(self) -> float:
        return 100 * abs(self.accuracy[0] - self.accuracy[1])

    @property
    def samples_percent(self) -> float:
        return 100 * abs(self.samples[0] / self.samples[1] - 1)

    @property
    def noise_points(self) -> float:
        p = self.accuracy[1]
        return 200 * math.sqrt(p * (1 - p) / self.runs)


def one_vote(p: float, rule: str, budget: int, rng: random.Random) -> tuple[float, int]:
    stop = parse_stop_rule(rule)
    votes: Counter[object] = Counter()
    drawn = 0
    while drawn < budget and not decided(stop, list(votes.values()), budget - drawn):
        drawn += 1
        if rng.random() < p:
            votes["right"] += 1
        elif rng.random() >= ABSTAIN:
            votes["popular" if rng.random() < AGREEMENT else drawn] += 1
    most = max(votes.values(), default=0)
    leaders = [answer for answer, count in votes.items() if count == most]
    return (leaders.count("right") / len(leaders) if leaders else 0.0), drawn


def one_contest(
    p: float, reliability: Reliability, budget: int, rng: random.Random
) -> tuple[float, int]:
    first = None
    for drawn in range(1, budget + 1):
        right = rng.random() < p
        rate = reliability.true_positive_rate if right else reliability.false_positive_rate
        first = right if first is None else first
        if rng.random() < rate:
            return float(right), drawn
    return float(bool(first)), budget


def compared(runs: int) -> Iterator[Compared]:
    for (mean, concentration), budget in itertools.product(ABILITIES, (4, 16)):
        rng = random.Random(f"{mean} {concentration} {budget}")
        ability = TaskAbility(
            mean=mean,
            questions=Questions.stated(mean, concentration, AGREEMENT),
            abstain_share=ABSTAIN,
        )
        of = f"of {budget}, mean {mean}, concentration {concentration}"

        def rate(rng: random.Random = rng, m: float = mean, c: float = concentration) -> float:
            return rng.betavariate(m * c, (1 - m) * c)

        ends = [one_vote(rate(), "beta", budget, rng) for _ in range(runs)]
        yield _compared(f"majority {of}", majority_run(ability, None, "beta", budget, budget), ends)
        for name, reliability in (("exact", Reliability()), ("fallible", FALLIBLE)):
            ends = [one_contest(rate(), reliability, budget, rng) for _ in range(runs)]
            shape = best_of_n_run(ability, None, budget, 1, reliability)
            yield _compared(f"best_of_n {of}, {name} verifier", shape, ends)


def _compared(what: str, shape: object, ends: list[tuple[float, int]]) -> Compared:
    quality, samples = getattr(shape, "quality", None), getattr(shape, "samples_mean", None)
    assert isinstance(quality, float)
    assert isinstance(samples, float)
    return Compared(
        what=what,
        accuracy=(quality, sum(right for right, _ in ends) / len(ends)),
        samples=(samples, sum(drawn for _, drawn in ends) / len(ends)),
        runs=len(ends),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100_000, help="simulated questions each")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    found = sorted(compared(options.runs), key=lambda one: -one.points)
    rows = [
        [
            one.what,
            *(f"{100 * value:.2f}" for value in one.accuracy),
            f"{one.points:.2f}",
            f"{one.noise_points:.2f}",
            *(f"{value:.3f}" for value in one.samples),
            f"{one.samples_percent:.2f}",
        ]
        for one in found
    ]
    header = [
        "", "accuracy predicted, %", "simulated", "off, points", "noise", "samples predicted",
        "simulated", "off, %",
    ]  # fmt: skip
    worst = f"Worst: {found[0].points:.2f} points, {max(one.samples_percent for one in found):.2f} % of samples."
    title = f"# Closed forms against simulation\n\n{conditions()}; {options.runs:,} questions each"
    write(options.output, f"{title}\n\n{worst}\n\n{markdown(header, rows)}")


if __name__ == "__main__":
    main()
