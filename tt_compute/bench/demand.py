"""What a benchmark would ask of a deployment, and what that would cost."""

from __future__ import annotations

import msgspec

from tt_compute.bench.measure import LATE_NEW_TOKENS, prefill_lengths
from tt_compute.bench.report import BenchSettings
from tt_compute.dispatch import spend
from tt_compute.profiles.schema import DeploymentSpec
from tt_compute.types import Usage

__all__ = ["Demand", "cost_usd", "demand"]


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """At most; samples may end early, and a service may bill a prompt once for all samples of it."""

    samples: int
    input_tokens: int
    output_tokens: int


def demand(spec: DeploymentSpec, settings: BenchSettings) -> Demand:
    """Everything that measuring ``spec`` would draw, its warm-up included."""
    rounds = settings.rounds
    full = rounds * sum(settings.waves) + settings.waves[0]
    late = 2 * rounds
    pairs = rounds + 1
    return Demand(
        samples=full + late + 2 * pairs,
        input_tokens=(full + late) * settings.prompt_tokens
        + pairs * sum(prefill_lengths(spec.max_context_tokens)),
        output_tokens=full * settings.new_tokens + late * LATE_NEW_TOKENS + 2 * pairs,
    )


def cost_usd(spec: DeploymentSpec, wanted: Demand) -> float | None:
    """At the deployment's price by the token; None where it has none, or not all of it is known."""
    if spec.deployment.price.usd_per_mtok is None:
        return None
    usage = Usage(input_tokens=wanted.input_tokens, output_tokens=wanted.output_tokens)
    return spend.cost_usd(spec, usage)
