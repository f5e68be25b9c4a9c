"""How far is the planner's choice from the best choice in hindsight, on recorded samples of six models?

    python benchmarks/planner_regret.py --data FOLDER --output docs/figures/planner_regret.md

Each model of the reasoning-gym recordings is a service; each of the eleven kinds of task is planned apart. Abilities
and lengths are learned on half of the questions; the choice (model, strategy, budget) is then paid for with what the
other half's samples really came to. Prices are those of litellm 1.109.1's table, lengths are characters / 4,
and every model decodes 100 tokens/s, since no speed was recorded. The best in hindsight knows the other half.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from recorded import Recorded, halves, load_gym
from report import conditions, markdown, write
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
from tt_compute.stopping import fewest_more, parse_stop_rule

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
RULE = parse_stop_rule("beta")
OBJECTIVES = {
    "cheapest at quality q": [Objective(quality=q, prefer="cost", max_samples=BUDGET) for q in (0.3, 0.5, 0.7)],
    "best under cost c": [Objective(max_cost_usd=c, max_samples=BUDGET) for c in (1e-4, 5e-4, 5e-3)],
    "best under latency t": [Objective(max_latency_s=t, max_samples=BUDGET) for t in (3, 6, 15)],
}  # fmt: skip
Choice = tuple[str, str]
"""Model, and "single" or "majority"."""


class Came(msgspec.Struct, frozen=True, kw_only=True):
    """What a choice came to on the judged half."""

    quality: float
    cost_usd: float
    latency_p95_s: float


class Clock:
    def now(self) -> float:
        return time.perf_counter()

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError


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
    return Planner(specs, {}, {}, estimates, Clock())


def came(questions: Sequence[Recorded], model: str, strategy: str) -> Came:
    into, out = USD_PER_MTOK[model]
    right = tokens = 0.0
    sent = 0
    latencies: list[float] = []
    for question in questions:
        assert question.tokens is not None
        used, steps, luck = 1, question.tokens[0], float(question.answers[0] == 0)
        if strategy == "majority":
            used, steps, luck = _vote(question.answers, question.tokens)
        right += luck
        tokens += sum(question.tokens[:used])
        sent += used
        latencies.append(steps / TOKENS_PER_S)
    n = len(questions)
    latencies.sort()
    return Came(
        quality=right / n,
        cost_usd=(tokens * out + sent * INPUT_TOKENS * into) / n / 1e6,
        latency_p95_s=latencies[math.ceil(0.95 * n) - 1],
    )


def _vote(answers: Sequence[int | None], tokens: Sequence[float]) -> tuple[int, float, float]:
    """(samples, decode steps, share of luck) of a vote of at most ``BUDGET`` in deficit waves."""
    votes: dict[int, int] = {}
    used, steps = 0, 0.0
    while more := fewest_more(RULE, list(votes.values()), BUDGET - used):
        for answer in answers[used : used + more]:
            if answer is not None:
                votes[answer] = votes.get(answer, 0) + 1
        steps += max(tokens[used : used + more])
        used += more
    leaders = [answer for answer in votes if votes[answer] == max(votes.values())]
    return used, steps, leaders.count(0) / len(leaders) if leaders else 0.0


def choose(one: Planner, objective: Objective, strategy: str | None) -> Choice:
    request = PlanRequest(task="math", input_tokens=INPUT_TOKENS, strategy=strategy)
    chosen: Candidate | None = one.plan(request, objective).chosen
    assert chosen is not None
    return chosen.deployment, chosen.strategy


def fits(found: Came, objective: Objective) -> bool:
    return all(
        limit is None or value <= limit
        for value, limit in (
            (found.cost_usd, objective.max_cost_usd),
            (found.latency_p95_s, objective.max_latency_s),
            (-found.quality, None if objective.quality is None else -objective.quality),
        )
    )


def regrets(
    trained: Mapping[str, Sequence[Recorded]], judged: Mapping[str, Sequence[Recorded]]
) -> Iterator[tuple[str, str, float, bool]]:
    """(objective, policy, regret, met): of quality in points; of cost as a share of the least that reaches q."""
    one = planner(trained)
    found = {
        (model, strategy): came(questions, model, strategy)
        for model, questions in judged.items()
        for strategy in ("single", "majority")
    }
    rate = {
        model: statistics.fmean(q.answers[0] == 0 for q in questions)
        for model, questions in trained.items()
    }
    cheapest = min(trained, key=lambda model: USD_PER_MTOK[model][1])
    policies: dict[str, Callable[[Objective], Choice]] = {
        "planner": lambda objective: choose(one, objective, None),
        "router without sampling": lambda objective: choose(one, objective, "single"),
        "always the strongest, one sample": lambda _: (max(rate, key=rate.__getitem__), "single"),
        f"always {BUDGET} votes of the cheapest": lambda _: (cheapest, "majority"),
    }
    for name, objectives in OBJECTIVES.items():
        for objective in objectives:
            able = [one for one in found.values() if fits(one, objective)]
            if not able:
                continue
            for policy, pick in policies.items():
                mine = found[pick(objective)]
                if objective.quality is not None:
                    least = min(one.cost_usd for one in able)
                    yield name, policy, 100 * (mine.cost_usd / least - 1), fits(mine, objective)
                else:
                    most = max(one.quality for one in able)
                    yield name, policy, 100 * (most - mine.quality), fits(mine, objective)


def everything(data: Path, splits: int) -> Iterator[tuple[str, str, float, bool]]:
    gym = load_gym(data)
    for kind in sorted({kind for _, kind in gym}):
        for split in range(splits):
            parts = {model: halves(gym[model, kind], split) for model in USD_PER_MTOK}
            trained = {model: part[0] for model, part in parts.items()}
            judged = {model: part[1] for model, part in parts.items()}
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
