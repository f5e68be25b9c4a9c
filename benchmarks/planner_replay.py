"""Do predictions come true on recorded samples of real models, learned on one half and judged on the other?

    python benchmarks/planner_replay.py --data FOLDER --output docs/figures/planner_replay.md

Abilities are learned from the votes and verdicts of half of the questions, with no profile before them; the
accuracy and the samples of each strategy are predicted, and the same strategy is replayed on the other half.
``halves differ`` is how far the other half's accuracy lies from the first one's own: the error of somebody
who knows the first half's result exactly. Both halves are learned from in turn, over several random splits.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from recorded import Played, Recorded, best_of, halves, load_gym, load_pools, vote
from report import conditions, markdown, write
from tt_compute.planning.ability import TaskAbility, ability_of
from tt_compute.planning.estimates import Estimates
from tt_compute.planning.runs import best_of_n_run, majority_run
from tt_compute.profiles.schema import ModelProfile
from tt_compute.stopping import parse_stop_rule

RULE = "beta"
SHUFFLES = 10
BUDGETS = (1, 2, 4, 8, 16, 64)
NO_VOTES = ("HumanEval", "Game of 24")
"""Pools whose answers are programs and expressions, which are not compared with each other."""


class Error(msgspec.Struct, frozen=True, kw_only=True):
    """One strategy on one half."""

    pool: str
    strategy: str
    predicted: Played
    actual: Played
    learned_from: Played
    """The same strategy on the half that was learned from."""


def learned(questions: Sequence[Recorded]) -> TaskAbility:
    seen = tuple(question.observation() for question in questions)
    return ability_of(ModelProfile(id="m"), "math", Estimates(observations={("m", "math"): seen}))


def strategies(pool: str, size: int) -> Iterator[tuple[str, int]]:
    for budget in BUDGETS:
        if budget > size:
            return
        if budget == 1 or not pool.startswith(NO_VOTES):
            yield ("single", 1) if budget == 1 else ("majority", budget)
        if budget > 1:
            yield "best_of_n", budget


def predicted(ability: TaskAbility, strategy: str, budget: int) -> Played:
    if strategy == "best_of_n":
        shape = best_of_n_run(ability, None, budget, 1)
    else:
        shape = majority_run(ability, None, RULE, budget, budget)
    quality = ability.mean if strategy == "single" else shape.quality
    assert quality is not None
    assert shape.samples_mean is not None
    return Played(accuracy=quality, samples=shape.samples_mean)


def played(questions: Sequence[Recorded], strategy: str, budget: int, seed: int) -> Played:
    if strategy == "best_of_n":
        return best_of(questions, budget, seed, SHUFFLES)
    if strategy == "single":
        return best_of(questions, 1, seed, SHUFFLES)
    return vote(questions, parse_stop_rule(RULE), budget, seed, SHUFFLES)


def errors(pool: str, questions: Sequence[Recorded], splits: int) -> Iterator[Error]:
    for split in range(splits):
        parts = halves(questions, split)
        for train, test in (parts, parts[::-1]):
            ability = learned(train)
            for strategy, budget in strategies(pool, len(questions[0].answers)):
                yield Error(
                    pool=pool,
                    strategy=strategy if budget == 1 else f"{strategy} of {budget}",
                    predicted=predicted(ability, strategy, budget),
                    actual=played(test, strategy, budget, split),
                    learned_from=played(train, strategy, budget, split),
                )


def row(name: str, group: Sequence[Error]) -> list[str]:
    points = [100 * abs(one.predicted.accuracy - one.actual.accuracy) for one in group]
    halves_differ = [100 * abs(one.learned_from.accuracy - one.actual.accuracy) for one in group]
    fit = [100 * abs(one.predicted.accuracy - one.learned_from.accuracy) for one in group]
    samples = [100 * abs(one.predicted.samples / one.actual.samples - 1) for one in group]
    return [
        name,
        f"{100 * statistics.fmean(one.predicted.accuracy for one in group):.1f}",
        f"{100 * statistics.fmean(one.actual.accuracy for one in group):.1f}",
        f"{statistics.median(points):.1f}",
        f"{statistics.median(halves_differ):.1f}",
        f"{statistics.median(fit):.1f}",
        f"{statistics.fmean(one.predicted.samples for one in group):.2f}",
        f"{statistics.fmean(one.actual.samples for one in group):.2f}",
        f"{statistics.median(samples):.1f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the recorded samples")
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    header = [
        "", "accuracy predicted, %", "actual", "median error, points", "halves differ",
        "against its own half", "samples predicted", "actual", "median error, %",
    ]  # fmt: skip
    found = [
        error
        for pool, questions in load_pools(options.data).items()
        for error in errors(pool, questions, options.splits)
    ]
    rows = [
        row(f"{pool}, {strategy}", [e for e in found if (e.pool, e.strategy) == (pool, strategy)])
        for pool, strategy in dict.fromkeys((error.pool, error.strategy) for error in found)
    ]
    gym = [
        error
        for (model, kind), questions in load_gym(options.data).items()
        for error in errors(f"{model}, {kind}", questions, max(1, options.splits // 5))
    ]
    rows += [
        row(f"reasoning-gym (9 models x 11 kinds), {name}", [e for e in gym if e.strategy == name])
        for name in dict.fromkeys(error.strategy for error in gym)
    ]
    rows.append(row("**all pools with 8 samples or more**", found))
    rows.append(row("**reasoning-gym, each model and kind**", gym))
    rows.append(row("**everything**", [*found, *gym]))
    text = f"# Predicted against replayed\n\n{conditions()}\n\n{markdown(header, rows)}"
    write(options.output, text)


if __name__ == "__main__":
    main()
