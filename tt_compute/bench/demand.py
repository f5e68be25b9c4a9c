"""What a benchmark would ask of a deployment, and what that would cost."""

from __future__ import annotations

import msgspec

from tt_compute.bench.measure import LATE_NEW_TOKENS, prefill_lengths
from tt_compute.bench.report import BenchSettings
from tt_compute.profiles.schema import DeploymentSpec

__all__ = ["Demand", "cost_usd", "demand"]

_TOKENS_PER_MTOK = 1e6


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
    price = spec.deployment.price.usd_per_mtok
    if price is None or price.input.value is None or price.output.value is None:
        return None
    usd = wanted.input_tokens * price.input.value + wanted.output_tokens * price.output.value
    return usd / _TOKENS_PER_MTOK
