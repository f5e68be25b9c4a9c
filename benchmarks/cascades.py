"""Do predictions of cascades come true on recorded samples of ten models, and what do cascades save?

    python benchmarks/cascades.py --data FOLDER --output docs/figures/cascades.md

Abilities are learned from half of the questions of each kind of puzzle; what a cascade of two models comes to is
predicted, and counted on the other half, over every order of the recorded samples: the first model votes with 2
or 3 of its three samples, the second answers with one. Each pair of models whose better one is better by at
least five points is tried, in both roles of the halves. The peers are the models alone.

How the models' difficulties go together (``planning.escalation.TOGETHER``) is measured on the halves that are learned
from: covariance of the success rates, over that of comonotone ones.
"""

from __future__ import annotations

import argparse
import itertools
import random
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from recorded import RIGHT, Recorded, load_gym_cells
from report import conditions, markdown, write
from tt_compute.planning.ability import TaskAbility, ability_of
from tt_compute.planning.escalation import TOGETHER, by_vote
from tt_compute.planning.estimates import Estimates
from tt_compute.planning.questions import RATES, Questions
from tt_compute.profiles.schema import ModelProfile
from tt_compute.stopping import parse_stop_rule

RULE = "gate:beta:0.8"
BUDGETS = (2, 3)
LEAST_GAP = 0.05
"""Models nearer to each other make no cascade worth its name."""
SPLITS = (1, 2)
Cells = Mapping[str, Recorded]
_METHOD = (
    f"Two models: the first votes under `{RULE.removeprefix('gate:')}`, and the second answers with one sample what "
    "is not settled. Predicted from one half of the questions, counted on the other."
)


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """One cascade on one half."""

    kind: str
    first: str
    second: str
    budget: int
    predicted_accuracy: float
    predicted_share: float
    accuracy: float
    share: float
    """Of the questions that came to the second model."""
    first_alone: float
    second_alone: float
    first_learned: float
    second_learned: float
    """The models' accuracy on the half that was learned from."""


def learned(questions: Sequence[Recorded]) -> TaskAbility:
    seen = tuple(question.observation() for question in questions)
    return ability_of(ModelProfile(id="m"), "math", Estimates(observations={("m", "math"): seen}))


def rate(question: Recorded) -> float:
    return question.answers.count(RIGHT) / len(question.answers)


def mean_rate(cells: Sequence[Recorded]) -> float:
    return statistics.fmean(map(rate, cells))


def played(first: Recorded, second: Recorded, budget: int) -> tuple[float, float]:
    """(P(right), P(the second is asked)) over every order of the first model's samples."""
    rule = parse_stop_rule(RULE)
    right = asked = 0.0
    orders = list(itertools.permutations(first.answers))
    for order in orders:
        votes: Counter[int] = Counter()
        for answer in order[:budget]:
            if answer is not None:
                votes[answer] += 1
            if rule.settled(list(votes.values())):
                right += votes.most_common(1)[0][0] == RIGHT
                break
        else:
            asked += 1
            right += rate(second)
    return right / len(orders), asked / len(orders)


def tries(gym: Mapping[tuple[str, str], Cells], seed: int) -> Iterator[Tried]:
    for kind in sorted({kind for _, kind in gym}):
        models = [model for model, other in gym if other == kind]
        for one, other in itertools.permutations(models, 2):
            shared = sorted(gym[one, kind].keys() & gym[other, kind].keys())
            random.Random(f"{seed} {kind}").shuffle(shared)
            if len(shared) < 100:
                continue
            middle = len(shared) // 2
            for teach, judge in (
                (shared[:middle], shared[middle:]),
                (shared[middle:], shared[:middle]),
            ):
                yield from tried(kind, (one, other), gym, teach=teach, judge=judge)


def tried(
    kind: str,
    models: tuple[str, str],
    gym: Mapping[tuple[str, str], Cells],
    *,
    teach: Sequence[str],
    judge: Sequence[str],
) -> Iterator[Tried]:
    one, other = models
    first, second = gym[one, kind], gym[other, kind]
    weak, strong = ([cells[name] for name in teach] for cells in (first, second))
    ability, better = learned(weak), learned(strong)
    assert ability.questions is not None
    assert better.questions is not None
    if better.questions.success_rate < ability.questions.success_rate + LEAST_GAP:
        return
    for budget in BUDGETS:
        after = by_vote(ability, better.questions, RULE, budget)
        results = [played(first[name], second[name], budget) for name in judge]
        yield Tried(
            kind=kind,
            first=one,
            second=other,
            budget=budget,
            predicted_accuracy=after.kept_right + after.share * after.questions.success_rate,
            predicted_share=after.share,
            accuracy=statistics.fmean(right for right, _ in results),
            share=statistics.fmean(asked for _, asked in results),
            first_alone=mean_rate([first[name] for name in judge]),
            second_alone=mean_rate([second[name] for name in judge]),
            first_learned=mean_rate(weak),
            second_learned=mean_rate(strong),
        )


def together(gym: Mapping[tuple[str, str], Cells]) -> dict[str, float]:
    """Kind -> covariance over that of comonotone rates; "all" too."""
    sums: dict[str, list[float]] = {}
    for kind in sorted({kind for _, kind in gym}):
        own = covariances(gym, kind)
        if own[1] > 0:
            sums[kind] = own
    sums["all"] = [sum(part) for part in zip(*sums.values(), strict=True)]
    return {kind: found / most for kind, (found, most) in sums.items()}


def covariances(gym: Mapping[tuple[str, str], Cells], kind: str) -> list[float]:
    """Sums over the pairs of models: as found, and as comonotone ones have it."""
    found = most = 0.0
    models = [model for model, other in gym if other == kind]
    for one, other in itertools.combinations(models, 2):
        shared = sorted(gym[one, kind].keys() & gym[other, kind].keys())[::2]
        if len(shared) < 50:
            continue
        pairs = [(rate(gym[one, kind][name]), rate(gym[other, kind][name])) for name in shared]
        # Samples of different models are independent given the question: no bias of theirs to take off.
        found += statistics.covariance(*zip(*pairs, strict=True))
        kinds = [learned([gym[model, kind][name] for name in shared]) for model in (one, other)]
        most += comonotone(*(ability.questions for ability in kinds if ability.questions))
    return [found, most]


def comonotone(first: Questions, second: Questions) -> float:
    """Covariance of two models' rates that are laid side by side in their order."""
    ends = [
        list(itertools.accumulate(dict(questions.rates()).get(level, 0.0) for level in RATES))
        for questions in (first, second)
    ]
    at, places, product = 0.0, [0, 0], 0.0
    while places[0] < len(RATES) and places[1] < len(RATES):
        here = [ends[side][places[side]] for side in (0, 1)]
        until = min(here)
        product += max(0.0, until - at) * RATES[places[0]] * RATES[places[1]]
        at = until
        places[0 if here[0] <= until else 1] += 1
    return product - first.success_rate * second.success_rate


def errors(rows: Sequence[Tried]) -> list[object]:
    off = [100 * abs(row.predicted_accuracy - row.accuracy) for row in rows]
    halves = [100 * abs(row.second_learned - row.second_alone) for row in rows]
    shares = [100 * abs(row.predicted_share - row.share) for row in rows]
    signed = [100 * (row.predicted_accuracy - row.accuracy) for row in rows]
    return [
        len(rows),
        f"{statistics.median(off):.1f}",
        f"{statistics.quantiles(off, n=10)[-1]:.1f}",
        f"{statistics.fmean(signed):+.1f}",
        f"{statistics.median(shares):.1f}",
        f"{statistics.median(halves):.1f}",
    ]


def worth(rows: Sequence[Tried]) -> list[object]:
    return [
        f"{100 * statistics.fmean(row.first_alone for row in rows):.1f} %",
        f"{100 * statistics.fmean(row.second_alone for row in rows):.1f} %",
        f"{100 * statistics.fmean(row.accuracy for row in rows):.1f} %",
        f"{100 * statistics.fmean(row.share for row in rows):.0f} %",
        f"{100 * statistics.fmean(row.accuracy >= row.second_alone for row in rows):.0f} %",
    ]


def report(gym: Mapping[tuple[str, str], Cells], command: str) -> str:
    rows = [row for seed in SPLITS for row in tries(gym, seed)]
    kinds = sorted({row.kind for row in rows})
    groups = {"all": rows, **{kind: [row for row in rows if row.kind == kind] for kind in kinds}}
    budgets = {f"vote of {n}": [row for row in rows if row.budget == n] for n in BUDGETS}
    found = together(gym)
    return "\n\n".join(
        (
            "# Cascades on recorded samples",
            f"`{command}`: {conditions()}.",
            _METHOD,
            markdown(
                (
                    "puzzles", "cascades", "median error, points", "90th percentile", "mean (signed)",
                    "median error of the share that goes on, points", "halves differ, points",
                ),
                [[name, *errors(group)] for name, group in {**groups, **budgets}.items()],
            ),
            "What they come to, as means over all pairs:",
            markdown(
                (
                    "puzzles", "first alone", "second alone", "cascade", "questions that go on",
                    "cascades at least as accurate as the second alone",
                ),
                [[name, *worth(group)] for name, group in {**groups, **budgets}.items()],
            ),
            f"Covariance of two models' success rates over that of comonotone ones (plans take {TOGETHER}):",
            markdown(tuple(found), [[f"{value:.2f}" for value in found.values()]]),
        )
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    write(
        given.output,
        report(load_gym_cells(given.data), "python benchmarks/cascades.py --data FOLDER"),
    )


if __name__ == "__main__":
    main()
