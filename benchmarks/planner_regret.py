"""How far is the planner's choice from the best choice in hindsight, on recorded samples of six models?

    python benchmarks/planner_regret.py --data FOLDER --output docs/figures/planner_regret.md

Each model of the reasoning-gym recordings is a service; each of the eleven kinds of task is planned apart. Abilities
and lengths are learned on half of the questions; the choice (model, strategy, stop rule, budget, how far ahead it
draws, and of a cascade the second model) is then paid for with what the other half's samples really came to, over
every order of the three that are recorded of each question. Prices are those of litellm 1.109.1's table, lengths are characters / 4,
and every model decodes 100 tokens/s, since no speed was recorded. The best in hindsight knows the other half.
"""

from __future__ import annotations

import argparse
import itertools
import math
import random
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from recorded import RIGHT, Recorded, load_gym_cells
from report import conditions, markdown, write
from stopwatch import Stopwatch
from tt_compute.planning.estimates import Estimates, LengthEvidence
from tt_compute.planning.planner import Planner, PlanRequest
from tt_compute.planning.types import Candidate, Objective
from tt_compute.profiles.schema import (
    DeploymentProfile,
    DeploymentSpec,
    Fact,
    HardwareProfile,
    ModelProfile,
    Price,
    PricePerMtok,
    Speed,
    Ttft,
)
from tt_compute.stopping import decided, fewest_more, gate_of, parse_stop_rule, worth_drawing

USD_PER_MTOK = {
    "anthropic_claude-3.5-sonnet": (3.0, 15.0),
    "anthropic_claude-sonnet-4": (3.0, 15.0),
    "google_gemma-3-27b-it": (0.08, 0.16),
    "meta-llama_llama-3.3-70b-instruct": (0.23, 0.40),
    "meta-llama_llama-4-maverick": (0.20, 0.80),
    "mistralai_mistral-small-3.1-24b-instruct": (0.351, 0.555),
}
"""(input, output); models that hide their reasoning are left out, since their lengths are not recorded."""
TOKENS_PER_S = 100.0
INPUT_TOKENS = 100
BUDGET = 3
OBJECTIVES = {
    "cheapest at quality q": [Objective(quality=q, prefer="cost", max_samples=BUDGET) for q in (0.3, 0.5, 0.7)],
    "best under cost c": [Objective(max_cost_usd=c, max_samples=BUDGET) for c in (1e-4, 5e-4, 5e-3)],
    "best under latency t": [Objective(max_latency_s=t, max_samples=BUDGET) for t in (3, 6, 15)],
}  # fmt: skip
Choice = tuple[object, ...]
"""What tells one candidate from another."""
Judged = Mapping[str, Sequence[Recorded]]
"""Model -> the same questions in the same order."""


class Came(msgspec.Struct, frozen=True, kw_only=True):
    """What a choice came to on the judged half."""

    quality: float
    cost_usd: float
    latency_p95_s: float


def service(model: str) -> DeploymentSpec:
    into, out = USD_PER_MTOK[model]
    price = PricePerMtok(input=Fact(value=into), output=Fact(value=out))
    return DeploymentSpec(
        deployment=DeploymentProfile(
            id=model,
            backend="openai",
            model=model,
            hardware="fleet",
            speed=Speed(
                ttft_s=Ttft(p50=0.0, p95=0.0), decode_tokens_per_s=Fact(value=TOKENS_PER_S)
            ),
            price=Price(usd_per_mtok=price),
        ),
        model=ModelProfile(id=model),
        hardware=HardwareProfile(id="fleet", device="asic", local=False),
    )


def planner(trained: Mapping[str, Sequence[Recorded]]) -> Planner:
    lengths: dict[tuple[str, str], tuple[LengthEvidence, ...]] = {}
    for model, questions in trained.items():
        tokens = sorted(count for question in questions for count in question.tokens or ())
        p95 = tokens[math.ceil(0.95 * len(tokens)) - 1]
        lengths[model, "math"] = (
            LengthEvidence(n=len(tokens), mean=statistics.fmean(tokens), p95=p95),
        )
    observations = {
        (model, "math"): tuple(question.observation() for question in questions)
        for model, questions in trained.items()
    }
    specs = [service(model) for model in trained]
    estimates = Estimates(observations=observations, lengths=lengths)
    return Planner(specs, {}, {}, estimates, Stopwatch())


def choice_of(one: Candidate) -> Choice:
    then = None if one.then is None else (one.then.deployment, one.then.max_samples)
    return one.deployment, one.strategy, one.stop_rule, one.max_samples, one.wave, one.ahead, then


def came(judged: Judged, one: Candidate) -> Came:
    """What it comes to, over every order of each question's samples."""
    runs = [
        _run(one, {model: questions[place] for model, questions in judged.items()}, order)
        for place in range(len(judged[one.deployment]))
        for order in itertools.permutations(range(BUDGET))
    ]
    latencies = sorted(run.steps / TOKENS_PER_S for run in runs)
    return Came(
        quality=statistics.fmean(run.right for run in runs),
        cost_usd=statistics.fmean(run.cost_usd for run in runs),
        latency_p95_s=latencies[math.ceil(0.95 * len(runs)) - 1],
    )


class _Ran(NamedTuple):
    right: float
    cost_usd: float
    steps: float


def _run(one: Candidate, question: Mapping[str, Recorded], order: Sequence[int]) -> _Ran:
    first = _hold(question[one.deployment], order, one)
    cost_usd = _paid(one.deployment, first)
    if one.then is None or first.settled:
        return _Ran(first.luck, cost_usd, first.steps)
    assert one.then.max_samples == 1, "with three samples in all the second model has one"
    second = question[one.then.deployment]
    assert second.tokens is not None
    place = order[0]
    asked = _Held(
        samples=1,
        tokens=second.tokens[place],
        steps=second.tokens[place],
        luck=float(second.answers[place] == RIGHT),
        settled=True,
    )
    paid = cost_usd + _paid(one.then.deployment, asked)
    return _Ran(asked.luck, paid, first.steps + asked.steps)


class _Held(NamedTuple):
    """What became of one model's samples."""

    samples: int
    tokens: float
    steps: float
    luck: float
    """P(right), where luck decides between equal votes."""
    settled: bool


def _paid(model: str, held: _Held) -> float:
    into, out = USD_PER_MTOK[model]
    return (held.tokens * out + held.samples * INPUT_TOKENS * into) / 1e6


def _hold(question: Recorded, order: Sequence[int], one: Candidate) -> _Held:
    """The first deployment's part: one sample, or a vote of at most its budget."""
    assert question.tokens is not None
    answers = [question.answers[place] for place in order]
    tokens = [question.tokens[place] for place in order]
    if one.strategy == "single":
        return _Held(1, tokens[0], tokens[0], float(answers[0] == RIGHT), settled=True)
    rule = one.stop_rule if one.then is None else gate_of(one.stop_rule or "beta")
    assert rule is not None
    return _Vote(answers, tokens, rule, one.first_samples, one.ahead).hold()


class _Vote:
    """As the strategy ``majority`` holds it, told in tokens."""

    def __init__(
        self,
        answers: Sequence[int | None],
        tokens: Sequence[float],
        rule: str,
        budget: int,
        ahead: float,
    ) -> None:
        self._answers = answers
        self._tokens = tokens
        self._rule = parse_stop_rule(rule)
        self._budget = budget
        self._ahead = ahead
        self._starts: list[float] = []
        self._votes: dict[int, int] = {}
        self._counted = 0

    def hold(self) -> _Held:
        now = 0.0
        while not self._over():
            self._draw(now)
            now = min(end for end in self._ends() if end > now)
            while self._counted < len(self._starts) and self._ends()[self._counted] <= now:
                if self._over():
                    break
                answer = self._answers[self._counted]
                self._counted += 1
                if answer is not None:
                    self._votes[answer] = self._votes.get(answer, 0) + 1
        leaders = [one for one, votes in self._votes.items() if votes == max(self._votes.values())]
        return _Held(
            samples=len(self._starts),
            tokens=sum(
                min(end, now) - start for start, end in zip(self._starts, self._ends(), strict=True)
            ),
            steps=now,
            luck=leaders.count(RIGHT) / len(leaders) if leaders else 0.0,
            settled=self._rule.settled(list(self._votes.values())),
        )

    def _ends(self) -> list[float]:
        return [start + length for start, length in zip(self._starts, self._tokens, strict=False)]

    def _over(self) -> bool:
        left = self._budget - self._counted
        return left == 0 or decided(self._rule, list(self._votes.values()), left)

    def _draw(self, now: float) -> None:
        ended = [self._answers[place] for place, end in enumerate(self._ends()) if end <= now]
        known = Counter(answer for answer in ended if answer is not None)
        live = len(self._starts) - len(ended)
        silent = ended.count(None)
        wanted = 0
        if self._ahead < 1:
            counts = [*known.values()]
            wanted = (
                worth_drawing(self._rule.name, counts, silent, self._budget, self._ahead) - live
            )
        if wanted <= 0 and not live:
            left = self._budget - self._counted
            wanted = fewest_more(self._rule, list(self._votes.values()), left)
        self._starts += [now] * min(wanted, self._budget - len(self._starts))


def fits(found: Came, objective: Objective) -> bool:
    return all(
        limit is None or value <= limit
        for value, limit in (
            (found.cost_usd, objective.max_cost_usd),
            (found.latency_p95_s, objective.max_latency_s),
            (-found.quality, None if objective.quality is None else -objective.quality),
        )
    )


def regrets(trained: Judged, judged: Judged) -> Iterator[tuple[str, str, float, bool]]:
    """(objective, policy, regret, met): of quality in points; of cost as a share of the least that reaches q."""
    one = planner(trained)
    menu = one.plan(request(None), Objective(max_samples=BUDGET)).candidates
    found = {choice_of(candidate): came(judged, candidate) for candidate in menu}
    picks = policies(one, trained, menu)
    for name, objectives in OBJECTIVES.items():
        for objective in objectives:
            able = [one for one in found.values() if fits(one, objective)]
            if not able:
                continue
            for policy, pick in picks.items():
                mine = found[choice_of(pick(objective))]
                if objective.quality is not None:
                    least = min(one.cost_usd for one in able)
                    yield name, policy, 100 * (mine.cost_usd / least - 1), fits(mine, objective)
                else:
                    most = max(one.quality for one in able)
                    yield name, policy, 100 * (most - mine.quality), fits(mine, objective)


def request(strategy: str | None) -> PlanRequest:
    return PlanRequest(task="math", input_tokens=INPUT_TOKENS, strategy=strategy)


def policies(
    one: Planner, trained: Judged, menu: Sequence[Candidate]
) -> dict[str, Callable[[Objective], Candidate]]:
    rate = {
        model: statistics.fmean(q.answers[0] == RIGHT for q in questions)
        for model, questions in trained.items()
    }
    strongest = max(rate, key=rate.__getitem__)
    cheapest = min(trained, key=lambda model: USD_PER_MTOK[model][1])
    alone = {
        candidate.deployment: candidate for candidate in menu if candidate.strategy == "single"
    }
    votes = {
        candidate.deployment: candidate
        for candidate in menu
        if (candidate.strategy, candidate.stop_rule) == ("majority", "beta")
        and (candidate.max_samples, candidate.ahead) == (BUDGET, 1)
    }

    def chosen(objective: Objective, strategy: str | None) -> Candidate:
        found = one.plan(request(strategy), objective).chosen
        assert found is not None
        return found

    return {
        "planner": lambda objective: chosen(objective, None),
        "router without sampling": lambda objective: chosen(objective, "single"),
        "always the strongest, one sample": lambda _: alone[strongest],
        f"always {BUDGET} votes of the cheapest": lambda _: votes[cheapest],
    }


def everything(data: Path, splits: int) -> Iterator[tuple[str, str, float, bool]]:
    gym = load_gym_cells(data)
    for kind in sorted({kind for _, kind in gym}):
        cells = {model: gym[model, kind] for model in USD_PER_MTOK}
        first, *others = cells.values()
        shared = sorted(name for name in first if all(name in other for other in others))
        for split in range(splits):
            order = random.Random(f"{split} {kind}").sample(shared, len(shared))
            middle = len(order) // 2
            trained, judged = (
                {model: [found[name] for name in names] for model, found in cells.items()}
                for names in (order[:middle], order[middle:])
            )
            yield from regrets(trained, judged)


def shown(values: Sequence[float], mean: Callable[[Sequence[float]], float]) -> str:
    return f"{mean(values):.1f}" if values else "-"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the recorded samples")
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    found: dict[tuple[str, str], list[tuple[float, bool]]] = {}
    for name, policy, regret, met in everything(options.data, options.splits):
        found.setdefault((name, policy), []).append((regret, met))
    rows: list[list[str]] = []
    for (name, policy), group in found.items():
        kept_regrets = [regret for regret, kept in group if kept]
        rows.append(
            [
                name,
                policy,
                f"{100 * len(kept_regrets) / len(group):.0f} %",
                shown(kept_regrets, statistics.fmean),
                shown(kept_regrets, statistics.median),
            ]
        )
    header = ["objective", "policy", "met it", "regret where met, mean", "median"]
    text = (
        f"# Regret\n\n{conditions()}\n\nRegret: quality lost against the best choice in hindsight, in points; "
        "for the cheapest at a quality, what was paid over the least that reaches it, in %.\n\n"
        f"{markdown(header, rows)}"
    )
    write(options.output, text)


if __name__ == "__main__":
    main()
