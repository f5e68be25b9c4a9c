"""What does it bring that plans weigh panels by themselves? On recorded answers of 25 models.

    python benchmarks/panel_menu.py --data FOLDER --output docs/figures/panel_menu.md

Fleets of five models at random, each a service at its price; every model decodes 100 tokens/s, since no speed was
recorded. Success rates and lengths are learned on one half of the questions of GSM8K, of which there is one greedy
answer of each model; the plan's choice is then paid for with what the models said on the other half. Prices are those of
litellm 1.109.1's table; lengths are characters / 4.

Where how a model's samples agree is unknown, the peers are the plans without panels: one sample of one model. Where it
is known, votes and cascades are weighed, too; as one answer of each model does not tell, it is put in, the same for all
models, and how often a panel would be the better choice is counted by prediction alone.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from report import conditions, markdown, write
from stopwatch import Stopwatch
from tt_compute.planning.choice import QUALITY_SLACK
from tt_compute.planning.estimates import Estimates
from tt_compute.planning.panels import predict_panel
from tt_compute.planning.planner import Planner, PlanRequest
from tt_compute.planning.types import Candidate, Objective, Prediction
from tt_compute.profiles.schema import (
    Ability,
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

FILE = "zeroeval_gsm_44models.jsonl"
USD_PER_MTOK = {
    "Llama-3.1-405B-Instruct-Turbo": (1.0, 3.0), "Meta-Llama-3-70B-Instruct": (1.0, 1.0),
    "Meta-Llama-3-8B-Instruct": (0.15, 0.15), "Meta-Llama-3.1-70B-Instruct": (0.4, 0.4),
    "Meta-Llama-3.1-8B-Instruct": (0.03, 0.05), "Mistral-Large-2": (2.0, 6.0),
    "Mistral-Nemo-Instruct-2407": (0.04, 0.12), "Mixtral-8x7B-Instruct-v0.1": (0.45, 0.7),
    "Phi-3.5-mini-instruct": (0.13, 0.52), "Qwen2-72B-Instruct": (0.9, 0.9), "Qwen2-7B-Instruct": (0.2, 0.2),
    "claude-3-5-haiku-20241022": (0.8, 4.0), "claude-3-5-sonnet-20241022": (3.0, 15.0),
    "claude-3-haiku-20240307": (0.25, 1.25), "claude-3-opus-20240229": (15.0, 75.0),
    "claude-3-sonnet-20240229": (3.0, 15.0), "command-r": (0.15, 0.6), "command-r-plus": (2.5, 10.0),
    "deepseek-chat": (0.28, 0.42), "gemma-2-27b-it@together": (0.8, 0.8), "gemma-2-9b-it": (0.2, 0.2),
    "gpt-3.5-turbo-0125": (0.5, 1.5), "gpt-4o-2024-05-13": (5.0, 15.0), "gpt-4o-2024-08-06": (2.5, 10.0),
    "gpt-4o-mini-2024-07-18": (0.15, 0.6),
}  # fmt: skip
"""(input, output)."""
INPUT_TOKENS = 128
TOKENS_PER_S = 100.0
SIZE = 5
SEED = 1
CONCENTRATIONS = (0.2, 0.6, 1.5)
AGREEMENT = 0.4
_PLAYED = (
    f"Fleets of {SIZE} of {len(USD_PER_MTOK)} models, GSM8K, success rates learned on one half of the questions, choices "
    "played on the other. Without panels a plan chooses one sample of one model. Gains are means over the decisions for a "
    "panel."
)
_BESIDE = (
    "Where votes and cascades are predicted, too: of all decisions those for which one of the ten panels would be the "
    f"better choice, by prediction. All models have the same concentration, and {AGREEMENT:g} of the wrong answers agree."
)
REQUEST = PlanRequest(task="math", input_tokens=INPUT_TOKENS)


class Said(NamedTuple):
    answer: str
    right: bool
    tokens: float


Question = Mapping[str, Said]


def load(folder: Path) -> list[Question]:
    lines = (folder / FILE).read_text(encoding="utf-8").splitlines()
    header, *rest = map(json.loads, lines)
    places = {name: header["_models"].index(name) for name in USD_PER_MTOK}
    return [{name: said(line, place) for name, place in places.items()} for line in rest]


def said(line: Any, place: int) -> Said:
    return Said(line["a"][place] or "", line["ok"][place] == "1", max(1.0, line["c"][place] / 4))


def service(model: str, learn: Sequence[Question], concentration: float | None) -> DeploymentSpec:
    tokens = sorted(question[model].tokens for question in learn)
    mean = statistics.fmean(tokens)
    ability = Ability(
        success_rate=Fact(value=statistics.fmean(question[model].right for question in learn)),
        concentration=Fact(value=concentration),
        wrong_agreement=Fact(value=None if concentration is None else AGREEMENT),
        abstain_rate=Fact(value=0.0),
        completion_tokens_mean=Fact(value=mean),
        completion_tokens_p95=Fact(value=max(mean, tokens[int(0.95 * len(tokens))])),
    )
    into, out = USD_PER_MTOK[model]
    price = PricePerMtok(input=Fact(value=into), output=Fact(value=out))
    deployment = DeploymentProfile(
        id=model,
        backend="openai",
        model=model,
        hardware="fleet",
        speed=Speed(ttft_s=Ttft(p50=0.4), decode_tokens_per_s=Fact(value=TOKENS_PER_S)),
        price=Price(usd_per_mtok=price),
    )
    return DeploymentSpec(
        deployment=deployment,
        model=ModelProfile(id=model, abilities={"math": ability}),
        hardware=HardwareProfile(id="fleet", device="asic", local=False),
    )


def planner(
    fleet: Sequence[str], learn: Sequence[Question], concentration: float | None
) -> Planner:
    specs = [service(model, learn, concentration) for model in fleet]
    return Planner(specs, {}, {}, Estimates(), Stopwatch())


def usd(model: str, question: Question) -> float:
    into, out = USD_PER_MTOK[model]
    return (INPUT_TOKENS * into + question[model].tokens * out) / 1e6


def came(chosen: Candidate, judge: Sequence[Question]) -> tuple[float, float]:
    """(accuracy, mean cost) of one sample, or of a panel of three."""
    right = cost = 0.0
    models = [one.deployment for one in chosen.members] or [chosen.deployment]
    for question in judge:
        first, last = question[models[0]], question[models[-1]]
        agreed = len(models) > 1 and first.answer == question[models[1]].answer != ""
        asked = models[:2] if agreed else models
        right += first.right if agreed else last.right
        cost += sum(usd(model, question) for model in asked)
    return right / len(judge), cost / len(judge)


def objectives(singles: Mapping[str, Prediction], most: int) -> dict[str, Objective]:
    """By what the most accurate model reaches, and costs."""
    best = max(singles.values(), key=lambda one: one.quality or 0)
    assert best.quality is not None
    assert best.cost_usd is not None
    found = {"best quality": Objective(max_samples=most)}
    for points in (3, 1, 0):
        name = (
            f"cheapest, {points} points below the best model"
            if points
            else "cheapest as good as the best model"
        )
        found[name] = Objective(
            quality=best.quality - points / 100, prefer="cost", max_samples=most
        )
    for share in (0.1, 0.25, 0.5, 1.0):
        found[f"best for {share:g} of the best model's cost"] = Objective(
            max_cost_usd=share * best.cost_usd, max_samples=most
        )
    return found


def singles_of(one: Planner) -> dict[str, Prediction]:
    plan = one.plan(REQUEST, Objective())
    return {c.deployment: c.predicted for c in plan.candidates if c.strategy == "single"}


class Played(NamedTuple):
    panel: bool
    points: float
    cost: float
    predicted: float
    """Points by which the prediction is above what came."""


def played(questions: Sequence[Question], fleets: int) -> list[list[object]]:
    rng = random.Random(SEED)
    found: dict[str, list[Played | None]] = defaultdict(list)
    for _ in range(fleets):
        fleet = rng.sample(sorted(USD_PER_MTOK), SIZE)
        shuffled = rng.sample(list(questions), len(questions))
        learn, judge = shuffled[: len(shuffled) // 2], shuffled[len(shuffled) // 2 :]
        one = planner(fleet, learn, None)
        for name, objective in objectives(singles_of(one), 16).items():
            mine = one.plan(REQUEST, objective, strict=True).chosen
            alone = PlanRequest(task="math", input_tokens=INPUT_TOKENS, strategy="single")
            other = one.plan(alone, objective, strict=True).chosen
            if mine is None or other is None:
                continue
            (quality, cost), (before, paid) = came(mine, judge), came(other, judge)
            assert mine.predicted.quality is not None
            off = 100 * (mine.predicted.quality - quality)
            found[name].append(
                Played(bool(mine.members), 100 * (quality - before), cost / paid, off)
            )
    return [row(name, [one for one in group if one]) for name, group in found.items()]


def row(name: str, group: Sequence[Played]) -> list[object]:
    with_panel = [one for one in group if one.panel]
    if not with_panel:
        return [name, len(group), "0 %", "-", "-", "-"]
    return [
        name,
        len(group),
        f"{100 * len(with_panel) / len(group):.0f} %",
        f"{statistics.fmean(one.points for one in with_panel):+.1f}",
        f"{statistics.median(one.cost for one in with_panel):.2f}",
        f"{statistics.fmean(one.predicted for one in with_panel):+.1f}",
    ]


def beside_votes(questions: Sequence[Question], fleets: int, most: int) -> list[list[object]]:
    """Of all decisions those in which one of all threes would be chosen, by prediction, beside votes and cascades."""
    rows: list[list[object]] = []
    for concentration in CONCENTRATIONS:
        rng = random.Random(SEED)
        taken: list[bool] = []
        for _ in range(fleets):
            fleet = rng.sample(sorted(USD_PER_MTOK), SIZE)
            one = planner(fleet, questions, concentration)
            singles = singles_of(one)
            order = sorted(singles.values(), key=lambda single: single.quality or 0)
            threes = [predict_panel(three, 2) for three in itertools.combinations(order, 3)]
            for objective in objectives(singles, most).values():
                plan = one.plan(REQUEST, objective)
                others = [c.predicted for c in plan.candidates if c.feasible]
                best = choice([*others, *filter(lambda p: fits(p, objective), threes)], objective)
                taken.append(any(best is three for three in threes))
        rows.append([most, concentration, len(taken), f"{100 * statistics.fmean(taken):.0f} %"])
    return rows


def fits(one: Prediction, objective: Objective) -> bool:
    enough = objective.quality is None or (one.quality or 0) >= objective.quality
    return enough and (
        objective.max_cost_usd is None or (one.cost_usd or 0) <= objective.max_cost_usd
    )


def choice(able: Sequence[Prediction], objective: Objective) -> Prediction | None:
    """As a plan chooses."""
    known = [one for one in able if one.quality is not None and one.cost_usd is not None]
    if objective.prefer == "quality" and known:
        most = max(one.quality or 0 for one in known)
        known = [one for one in known if (one.quality or 0) >= most - QUALITY_SLACK]
    return min(known, key=lambda one: one.cost_usd or 0, default=None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--fleets", type=int, default=60)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    questions = load(given.data)
    header = (
        "objective", "decisions", "a panel is chosen", "points gained by it", "cost over that without panels, median",
        "predicted less real quality, points",
    )  # fmt: skip
    beside = [line for most in (3, 8) for line in beside_votes(questions, given.fleets // 3, most)]
    text = "\n\n".join(
        (
            "# Panels that plans choose",
            f"`python benchmarks/panel_menu.py --data FOLDER`: {conditions()}.",
            _PLAYED,
            markdown(header, played(questions, given.fleets)),
            _BESIDE,
            markdown(
                ("max_samples", "concentration", "decisions", "a panel would be chosen"), beside
            ),
        )
    )
    write(given.output, text)


if __name__ == "__main__":
    main()
