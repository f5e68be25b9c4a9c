"""Stop rules on recorded samples of real models: accuracy, samples and tokens beside a vote of fixed size.

    python benchmarks/stop_rules.py --data FOLDER --output docs/figures/stop_rules.md

Every rule votes in deficit waves over the same random orders of each question's samples. Peers are restated
from their code (``stop_rules_peers``); none is installed. The guarantee of ``ppr`` is held against samples
drawn with replacement, whose most probable answer is known.
"""

from __future__ import annotations

import argparse
import itertools
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from recorded import RIGHT, Recorded, load_pools
from report import conditions, markdown, percent, write
from stop_rules_peers import PEERS, Ended, ended, plurality, quadrature
from tt_compute.stopping import (
    NO_VOTE,
    OpenPprRule,
    PprRule,
    StopRule,
    Votes,
    beta_posterior,
    esc_samples,
    fewest_more,
    parse_stop_rule,
)

RULES = (
    "beta",
    "beta:0.8",
    "dirichlet",
    "esc",
    "esc:3",
    "lead",
    "sprt",
    "ppr",
    "ppr:0.05,2",
    "ppr:0.05,10",
    "agreement",
    "agreement:0.75,4",
    "certain",
)
NO_VOTES = ("HumanEval", "Game of 24")
"""Pools whose answers are programs and expressions: equal ones are seldom spelt alike, so that a vote is no way
to answer; the guarantee, which is about any answers, is tried on them too."""
DELTAS = (0.05, 0.2)
MOST_VOTES = 200
BUDGET = 40
"""What stop rules are published for; recorded are fewer samples, so that they are drawn again and again."""
EXPLANATION = """\
Saved: tokens against the vote of fixed size.
Answer of all samples: how often the answer is what all recorded samples of the question vote for, ties by their share of luck.
Every rule also stops where the leader cannot be caught within the budget, which `certain` does alone; peers as described do not.
At small budgets that end comes first for the strict rules.

As described: restated from the packages' code, none of which was installed or run.
AdaptiveConsistency computes what `beta` computes, ConSol what `lead` does.
ESC's code counts "no answer" as an answer and draws whole windows only (5 of 8 samples).
its_hub's Beta decodes all samples at once, at equal speed, votes in the order of ending and pays for what it cancels: short samples vote first.

Half a point of accuracy is within the noise of so few questions."""
Answers = tuple[int | None, ...]
Vote = Callable[[Answers, Sequence[float]], Ended]


class Came(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule came to on a pool, as means."""

    accuracy: float
    samples: float
    tokens: float
    agrees: float
    """With the vote of all samples, ties by their share of luck."""


def ours(rule: StopRule) -> Vote:
    """A vote in deficit waves."""

    def vote(answers: Answers, tokens: Sequence[float]) -> Ended:
        votes, used = Votes(), 0
        ends: list[int] = []
        places: dict[int, int] = {}
        while more := fewest_more(rule, votes, len(answers) - used):
            new = (
                NO_VOTE if one is None else places.setdefault(one, len(places))
                for one in answers[used : used + more]
            )
            votes = Votes([*votes.order, *new])
            used += more
            ends.append(used)
        return ended(answers, tokens, ends)

    return vote


def fixed(answers: Answers, tokens: Sequence[float]) -> Ended:
    return ended(answers, tokens, [len(answers)])


def play(
    questions: Sequence[Recorded],
    vote: Vote,
    seed: int,
    shuffles: int,
    budget: int | None = None,
) -> Came:
    """Of each question its samples in random orders, or ``budget`` of them with replacement."""
    rng = random.Random(seed)
    right = samples = tokens = agrees = 0.0
    for question in questions:
        lengths = question.tokens
        assert lengths is not None
        whole = plurality(question.answers)
        for _ in range(shuffles):
            places = range(len(lengths))
            order = rng.choices(places, k=budget) if budget else rng.sample(places, len(places))
            ended = vote(
                tuple(question.answers[place] for place in order),
                [lengths[place] for place in order],
            )
            right += _share(ended.leaders, (RIGHT,))
            agrees += _share(ended.leaders, whole)
            samples += ended.samples
            tokens += ended.tokens
    runs = len(questions) * shuffles
    return Came(
        accuracy=right / runs, samples=samples / runs, tokens=tokens / runs, agrees=agrees / runs
    )


def _share(leaders: Sequence[int], wanted: Sequence[int]) -> float:
    """Of the luck between ``leaders`` that falls on one of ``wanted``; without votes nobody differs."""
    if not leaders:
        return float(not wanted)
    return sum(one in wanted for one in leaders) / len(leaders)


def pool_table(
    questions: Sequence[Recorded], seed: int, shuffles: int, budget: int | None = None
) -> str:
    whole = play(questions, fixed, seed, shuffles, budget)
    n = budget or len(questions[0].answers)
    rows = [_row(f"fixed {n}", "", whole, whole)]
    for name in RULES:
        found = play(questions, ours(parse_stop_rule(name)), seed, shuffles, budget)
        rows.append(_row(f"`{name}`", "", found, whole))
    for name, peer in PEERS.items():
        found = play(questions, peer, seed, shuffles, budget)
        rows.append(_row(name, "as described", found, whole))
    header = [
        "rule",
        "",
        "accuracy, %",
        "samples",
        "tokens",
        "saved, %",
        "answer of all samples, %",
    ]
    return markdown(header, rows)


def _row(name: str, note: str, found: Came, whole: Came) -> list[object]:
    return [
        name,
        note,
        f"{100 * found.accuracy:.1f}",
        f"{found.samples:.2f}",
        f"{found.tokens:.0f}",
        f"{100 * (1 - found.tokens / whole.tokens):.1f}",
        f"{100 * found.agrees:.1f}",
    ]


# --- the guarantee -------------------------------------------------------------------------------


class Missed(msgspec.Struct, frozen=True, kw_only=True):
    """Votes that a rule of one error ended, over the questions of a pool."""

    share: float
    """That ended at another than the most probable answer, of all votes."""
    worst: float
    """The same of the question where it is most often so."""
    above: int
    """Questions where it is more often than the error allows, beyond 1 % chance."""
    settled: float
    samples: float


def guarantee(questions: Sequence[Recorded], kind: str, delta: float, runs: int) -> Missed:
    rng = random.Random(7)
    missed: list[int] = []
    settled = samples = 0
    for question in questions:
        shares = Counter(answer for answer in question.answers if answer is not None)
        if not shares:
            continue
        counts = sorted(shares.values(), reverse=True)
        rule = _ppr(kind, delta, counts)
        found = [_ppr_vote(rule, counts, rng) for _ in range(runs)]
        missed.append(sum(wrong for _, wrong, _ in found))
        settled += sum(ended for ended, _, _ in found)
        samples += sum(drawn for _, _, drawn in found)
    n = len(missed) * runs
    return Missed(
        share=sum(missed) / n,
        worst=max(missed) / runs,
        above=sum(_tail(runs, delta, count) < 0.01 for count in missed),
        settled=settled / n,
        samples=samples / n,
    )


def _ppr(kind: str, delta: float, counts: Sequence[int]) -> PprRule | OpenPprRule:
    if kind == "open":
        return OpenPprRule(delta)
    if kind == "K = answers":
        return PprRule(delta, max(2, len(counts)))
    return PprRule(delta, max(2, math.ceil(sum(counts) / counts[0])))


def _ppr_vote(
    rule: PprRule | OpenPprRule, shares: Sequence[int], rng: random.Random
) -> tuple[bool, bool, int]:
    """(settled, at an answer that is not among the most probable, samples)."""
    votes = [0] * len(shares)
    for drawn, answer in enumerate(rng.choices(range(len(shares)), shares, k=MOST_VOTES), 1):
        votes[answer] += 1
        if votes[answer] == max(votes) and rule.settled(votes):
            return True, shares[answer] < shares[0], drawn
    return False, False, MOST_VOTES


def _tail(n: int, p: float, count: int) -> float:
    """P(a binomial is at least ``count``)."""
    return sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(count, n + 1))


def guarantee_table(pools: dict[str, list[Recorded]], runs: int) -> str:
    rows: list[list[object]] = []
    for delta, kind in itertools.product(DELTAS, ("K = answers", "K = 1 / P(mode)", "open")):
        for name, questions in pools.items():
            found = guarantee(questions, kind, delta, runs)
            rows.append(
                [
                    delta,
                    kind,
                    name,
                    f"{100 * found.share:.2f}",
                    f"{100 * found.worst:.0f}",
                    f"{found.above} of {len(questions)}",
                    f"{100 * found.settled:.0f}",
                    f"{found.samples:.0f}",
                ]
            )
    header = [
        "delta", "rule", "pool", "mode missed, %", "at the worst question, %",
        "questions above delta", "settled, %", "samples",
    ]  # fmt: skip
    return markdown(header, rows)


# --- formulas ------------------------------------------------------------------------------------


def formulas(pools: dict[str, list[Recorded]], seed: int) -> Iterator[str]:
    worst = max(
        abs(beta_posterior(first, second) - quadrature(first, second))
        for first in range(41)
        for second in range(first + 1)
    )
    yield f"`beta` in whole numbers against the quadrature of its definition, up to 40 votes each: at most {worst:.0e} apart."
    same = sum(
        play(questions, ours(parse_stop_rule("sprt")), seed, 1)
        == play(questions, ours(parse_stop_rule("lead")), seed, 1)
        for questions in pools.values()
    )
    yield f"`sprt` with its defaults and `lead`: the same figures on {same} of {len(pools)} pools."
    rule, shares, runs = parse_stop_rule("esc"), (0.7, 0.2, 0.1), 20_000
    rng = random.Random(seed)
    drawn = 0
    for _ in range(runs):
        order = rng.choices(range(3), shares, k=40)
        drawn += next((n for n in range(5, 40, 5) if rule.settled(Votes(order[:n]))), 40)
    formula = esc_samples(shares, 5, 40)
    yield f"ESC's formula for the samples it draws, at shares {shares} and a budget of 40: {formula:.2f}, simulated {drawn / runs:.2f}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the recorded samples")
    parser.add_argument("--shuffles", type=int, default=20)
    parser.add_argument("--runs", type=int, default=40, help="votes of each question under `ppr`")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    pools = load_pools(options.data)
    voted = {name: pool for name, pool in pools.items() if not name.startswith(NO_VOTES)}
    orders = f"{options.shuffles} orders of each question's samples"
    parts = ["# Stop rules", f"{conditions()}; {orders}.", EXPLANATION]
    for name, questions in voted.items():
        n = len(questions[0].answers)
        right = round(len(questions) * play(questions, fixed, 0, 1).accuracy)
        parts += [
            f"## {name}",
            f"{len(questions)} questions, {n} samples each; fixed {n} is right on {percent(right, len(questions))}.",
            pool_table(questions, 0, options.shuffles),
        ]
    for name, questions in voted.items():
        table = pool_table(questions, 0, options.shuffles, BUDGET)
        parts += [f"## {name}, {BUDGET} samples with replacement", table]
    above = (
        f"{options.runs} votes of each question, drawn with replacement from its recorded samples, of at most "
        f"{MOST_VOTES}, with no other end than the rule's. Above delta: missed more often than delta allows, "
        "at 1 % significance."
    )
    parts += ["## What `ppr` guarantees", above, guarantee_table(pools, options.runs)]
    parts += ["## Formulas", "\n".join(f"- {line}" for line in formulas(voted, 0))]
    write(options.output, "\n\n".join(parts))


if __name__ == "__main__":
    main()
