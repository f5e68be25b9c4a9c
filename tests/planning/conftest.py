"""Profiles for the planner's tests: Llama-3.1-8B on an H100, and a service, with round facts."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from tt_compute.profiles.schema import (
    Ability,
    DeploymentProfile,
    DeploymentSpec,
    Efficiency,
    Fact,
    HardwareProfile,
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


class TickingClock:
    """Every look at it is a millisecond later."""

    def __init__(self) -> None:
        self._ticks = itertools.count()

    def now(self) -> float:
        return next(self._ticks) / 1000

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError


def fact(value: float | None) -> Fact:
    return Fact(value=value)


@pytest.fixture
def clock() -> TickingClock:
    return TickingClock()


@pytest.fixture
def ability() -> Ability:
    return Ability(
        success_rate=fact(0.6),
        concentration=fact(2),
        wrong_agreement=fact(0.4),
        abstain_rate=fact(0.04),
        completion_tokens_mean=fact(100),
        completion_tokens_p95=fact(200),
    )


@pytest.fixture
def model(ability: Ability) -> ModelProfile:
    return ModelProfile(
        id="llama-3.1-8b",
        parameters=Parameters(total=fact(8e9)),
        layers=32,
        attention_heads=32,
        kv_heads=8,
        head_dim=128,
        max_context_tokens=8192,
        weights=(
            ModelFile(format="safetensors", file="w", bytes=16 * 10**9, sha256="0", dtype="bf16"),
        ),
        abilities={"math": ability},
    )


@pytest.fixture
def gpu() -> HardwareProfile:
    return HardwareProfile(
        id="h100",
        device="gpu",
        memory=Memory(bandwidth_bytes_per_s=fact(3.2e12)),
        peak_flops={"bf16": fact(1e15)},
        power=Power(idle_w=fact(100), peak_w=fact(700)),
        efficiency=Efficiency(
            mbu=fact(0.5), mfu_prefill=fact(0.4), mfu_decode=fact(0.2), step_overhead_s=fact(0.001)
        ),
    )


@pytest.fixture
def local(model: ModelProfile, gpu: HardwareProfile) -> DeploymentSpec:
    """On one's own GPU; its speed is the roofline's."""
    deployment = DeploymentProfile(
        id="local",
        backend="torch",
        model=model.id,
        hardware=gpu.id,
        price=Price(usd_per_hour=fact(0)),
    )
    return DeploymentSpec(deployment=deployment, model=model, hardware=gpu)


@pytest.fixture
def service(model: ModelProfile) -> DeploymentSpec:
    """Priced by the token; its speed is published."""
    hardware = HardwareProfile(id="fleet", device="asic", local=False)
    deployment = DeploymentProfile(
        id="service",
        backend="openai",
        model=model.id,
        hardware=hardware.id,
        speed=Speed(ttft_s=Ttft(p50=0.3), decode_tokens_per_s=fact(500)),
        price=Price(
            usd_per_mtok=PricePerMtok(input=fact(1), cached_input=fact(0.5), output=fact(4))
        ),
    )
    return DeploymentSpec(deployment=deployment, model=model, hardware=hardware)


@pytest.fixture
def make_service() -> Callable[..., DeploymentSpec]:
    """A service from its id, speed, price and success rate; None = unknown."""

    def make(
        name: str,
        *,
        tokens_per_s: float | None = 100.0,
        usd_per_mtok: float | None = 1.0,
        success_rate: float | None = 0.6,
    ) -> DeploymentSpec:
        ability = Ability(
            success_rate=fact(success_rate),
            concentration=fact(2),
            wrong_agreement=fact(0.4),
            abstain_rate=fact(0.02),
            completion_tokens_mean=fact(100),
            completion_tokens_p95=fact(150),
        )
        of = ModelProfile(
            id=f"model of {name}", max_context_tokens=8192, abilities={"math": ability}
        )
        hardware = HardwareProfile(id="fleet", device="asic", local=False)
        price = PricePerMtok(input=fact(usd_per_mtok), output=fact(usd_per_mtok))
        deployment = DeploymentProfile(
            id=name,
            backend="openai",
            model=of.id,
            hardware=hardware.id,
            speed=Speed(ttft_s=Ttft(p50=0.2), decode_tokens_per_s=fact(tokens_per_s)),
            price=Price(usd_per_mtok=price),
        )
        return DeploymentSpec(deployment=deployment, model=of, hardware=hardware)

    return make


@pytest.fixture
def fleet(make_service: Callable[..., DeploymentSpec]) -> list[DeploymentSpec]:
    """Small and cheap, middling, large and dear; and one of which only the price is known."""
    return [
        make_service("small", tokens_per_s=400.0, usd_per_mtok=0.1, success_rate=0.35),
        make_service("middle", tokens_per_s=150.0, usd_per_mtok=0.6, success_rate=0.62),
        make_service("large", tokens_per_s=60.0, usd_per_mtok=5.0, success_rate=0.86),
        make_service("blind", tokens_per_s=None, usd_per_mtok=0.2, success_rate=None),
    ]
