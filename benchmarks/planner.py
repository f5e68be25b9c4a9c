"""How long the planner takes to decide, over fleets of synthetic deployments.

    python benchmarks/planner.py --output docs/figures/planner.md

Whether decisions are right is shown elsewhere: ``planner_forms.py`` (closed forms against simulation),
``planner_replay.py`` and ``planner_regret.py`` (recorded samples of real models), ``planner_live.py`` (this
machine), ``published_rates.py`` (published speeds).

``decide`` is ``Plan.elapsed_us``, from request to choice with the tables of the kind of request made.
``quiet`` is the same where the present state of every deployment is known and nothing stands in the way, ``busy``
where of every ten deployments one is left alone after failures, one has few requests left, one is cold and one
has other requests under way.
``whole call`` is all of ``Planner.plan``, which also writes out every candidate; ``first call`` makes
the tables too. Medians over prompts of many lengths; times in microseconds. ``memory`` is what a planner
holds once its tables are made.

Where of the models no more than success rates and lengths are known, votes and cascades are unknown, and panels are
weighed in their place.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from report import conditions, markdown, write
from stopwatch import Stopwatch
from tt_compute.conditions import Allowance, Conditions
from tt_compute.planning.estimates import Estimates
from tt_compute.planning.planner import Planner, PlanRequest
from tt_compute.planning.types import Objective
from tt_compute.profiles.schema import (
    Ability,
    DeploymentProfile,
    DeploymentSpec,
    Efficiency,
    Fact,
    HardwareProfile,
    Limits,
    Memory,
    ModelFile,
    ModelProfile,
    Parameters,
    Power,
    Price,
    PricePerMtok,
    Speed,
    Ttft,
)
from tt_compute.types import Capabilities

SIZES = (10, 100, 1000)
REPEATS = 60
MODELS = 12
OBJECTIVES = {
    "best quality": Objective(),
    "quality 0.7, 20 s, $0.002": Objective(quality=0.7, max_latency_s=20, max_cost_usd=0.002),
    "cheapest at quality 0.7": Objective(quality=0.7, prefer="cost"),
    "quickest": Objective(prefer="latency"),
    "impossible": Objective(quality=0.7, max_latency_s=1e-4),
}


def fact(value: float) -> Fact:
    return Fact(value=value)


def model(number: int, rng: random.Random) -> ModelProfile:
    parameters = rng.choice((1e9, 3e9, 8e9, 32e9, 70e9))
    mean = rng.uniform(80, 600)
    return ModelProfile(
        id=f"model-{number}",
        parameters=Parameters(total=fact(parameters)),
        layers=32,
        attention_heads=32,
        kv_heads=8,
        head_dim=128,
        max_context_tokens=131072,
        weights=(
            ModelFile(
                format="safetensors", file="w", bytes=int(2 * parameters), sha256="", dtype="bf16"
            ),
        ),
        abilities={
            "math": Ability(
                success_rate=fact(rng.uniform(0.2, 0.95)),
                concentration=fact(rng.uniform(0.4, 3)),
                wrong_agreement=fact(rng.uniform(0.2, 0.6)),
                abstain_rate=fact(rng.uniform(0.0, 0.05)),
                completion_tokens_mean=fact(mean),
                completion_tokens_p95=fact(mean * rng.uniform(1.3, 2.5)),
            )
        },
    )


def local(number: int, of: ModelProfile, rng: random.Random) -> DeploymentSpec:
    hardware = HardwareProfile(
        id=f"gpu-{number}",
        device="gpu",
        memory=Memory(bandwidth_bytes_per_s=fact(rng.uniform(3e11, 8e12))),
        peak_flops={"bf16": fact(rng.uniform(1e14, 2e15))},
        power=Power(idle_w=fact(80), peak_w=fact(700)),
        usd_per_hour=fact(rng.uniform(0, 6)),
        efficiency=Efficiency(
            mbu=fact(0.6), mfu_prefill=fact(0.4), mfu_decode=fact(0.1), step_overhead_s=fact(1e-3)
        ),
    )
    deployment = DeploymentProfile(
        id=f"local/{number}", backend="torch", model=of.id, hardware=hardware.id
    )
    return DeploymentSpec(deployment=deployment, model=of, hardware=hardware)


def service(number: int, of: ModelProfile, rng: random.Random) -> DeploymentSpec:
    hardware = HardwareProfile(id=f"fleet-{number}", device="asic", local=False)
    deployment = DeploymentProfile(
        id=f"service/{number}",
        backend="openai",
        model=of.id,
        hardware=hardware.id,
        speed=Speed(
            ttft_s=Ttft(p50=rng.uniform(0.1, 0.8)),
            decode_tokens_per_s=fact(rng.uniform(40, 2000)),
        ),
        price=Price(
            usd_per_mtok=PricePerMtok(
                input=fact(rng.uniform(0.05, 3)), output=fact(rng.uniform(0.1, 15))
            )
        ),
        limits=Limits(max_concurrency=rng.choice((4, 16, 64))),
    )
    return DeploymentSpec(deployment=deployment, model=of, hardware=hardware)


def without_votes(of: ModelProfile, rng: random.Random) -> ModelProfile:
    """The same model, of which nobody knows how its samples agree; all are about equally good, so that panels pay."""
    ability = msgspec.structs.replace(
        of.abilities["math"],
        success_rate=fact(rng.uniform(0.8, 0.95)),
        concentration=Fact(value=None),
        wrong_agreement=Fact(value=None),
    )
    return msgspec.structs.replace(of, abilities={"math": ability})


def fleet(size: int, *, votes: bool) -> list[DeploymentSpec]:
    rng = random.Random(size)
    models = [model(number, rng) for number in range(MODELS)]
    if not votes:
        models = [without_votes(one, rng) for one in models]
    return [
        (local if number % 2 else service)(number, rng.choice(models), rng)
        for number in range(size)
    ]


def planner(specs: list[DeploymentSpec]) -> Planner:
    able = Capabilities(native_n=True, prefix_sharing=True)
    return Planner(
        specs, dict.fromkeys((spec.id for spec in specs), able), {}, Estimates(), Stopwatch()
    )


def states(specs: list[DeploymentSpec]) -> dict[str, dict[str, Conditions]]:
    """Name of a state of the fleet -> deployment -> its own."""
    requests = Allowance(axis="requests", amount=1000, window_s=60, left=1000)
    tokens = Allowance(axis="tokens", amount=1e6, window_s=60, left=1e6)
    few = msgspec.structs.replace(requests, left=2, frees_from_s=20, frees_until_s=40)
    quiet, busy = {}, {}
    for number, spec in enumerate(specs):
        state = Conditions(wait_s=0.0, allowances=(), patience_s=60.0, live_rows=0, queued_rows=0)
        if spec.hardware.local:
            state = msgspec.structs.replace(state, loaded=True)
        else:
            state = msgspec.structs.replace(state, allowances=(requests, tokens))
        troubles: dict[int, dict[str, object]] = {
            2: {"retry_in_s": 4.0},
            4: {"allowances": (few, tokens)},
            5: {"loaded": False, "load_s": 8.0},
            7: {"live_rows": 9},
        }
        quiet[spec.id] = state
        busy[spec.id] = msgspec.structs.replace(state, **troubles.get(number % 10, {}))
    return {"unknown": {}, "quiet": quiet, "busy": busy}


def timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e6


def memory_mib(specs: list[DeploymentSpec], request: PlanRequest) -> float:
    tracemalloc.start()
    kept = planner(specs)
    kept.plan(request, Objective())
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return size / 2**20


def rows(size: int, *, has_verifier: bool, votes: bool = True) -> Iterator[list[str]]:
    specs = fleet(size, votes=votes)
    request = PlanRequest(task="math", input_tokens=300, has_verifier=has_verifier)
    one = planner(specs)
    first = timed(lambda: one.plan(request, Objective()))
    held = memory_mib(specs, request)
    rng = random.Random(1)
    known = states(specs)
    for name, objective in OBJECTIVES.items():
        decide: dict[str, list[float]] = {state: [] for state in known}
        whole: list[float] = []
        candidates = 0
        for _ in range(max(5, REPEATS * 10 // size)):
            request = PlanRequest(
                task="math", input_tokens=rng.randint(20, 8000), has_verifier=has_verifier
            )
            start = time.perf_counter()
            plan = one.plan(request, objective)
            whole.append((time.perf_counter() - start) * 1e6)
            candidates = len(plan.candidates)
            decide["unknown"].append(plan.elapsed_us)
            for state in ("quiet", "busy"):
                plan = one.plan(request, objective, conditions=known[state])
                decide[state].append(plan.elapsed_us)
        yield [
            str(size),
            "yes" if has_verifier else "no",
            "whole" if votes else "success rates",
            name,
            str(candidates),
            f"{statistics.median(decide['unknown']):,.0f}",
            f"{max(decide['unknown']):,.0f}",
            f"{statistics.median(decide['quiet']):,.0f}",
            f"{statistics.median(decide['busy']):,.0f}",
            f"{statistics.median(whole):,.0f}",
            f"{first:,.0f}",
            f"{held:.1f}",
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    header = [
        "deployments", "verifier", "abilities", "objective", "candidates", "decide, us", "slowest", "quiet", "busy",
        "whole call, us", "first call, us", "memory, MiB",
    ]  # fmt: skip
    lines = [
        line
        for size in SIZES
        for has_verifier, votes in ((False, True), (False, False), (True, True))
        for line in rows(size, has_verifier=has_verifier, votes=votes)
    ]
    text = f"# Decision time\n\n`python benchmarks/planner.py`: {conditions()}.\n\n{markdown(header, lines)}"
    write(options.output, text)


if __name__ == "__main__":
    main()
