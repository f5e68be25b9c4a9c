"""Deployments with round facts, and a way to play workloads on them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tt_compute.profiles.schema import (
    Ability,
    DeploymentProfile,
    DeploymentSpec,
    Efficiency,
    Fact,
    HardwareProfile,
    Limits,
    Memory,
    ModelProfile,
    Parameters,
    Placement,
    Power,
    Price,
    PricePerMtok,
    Speed,
    Ttft,
)
from tt_compute.simulation.report import Report
from tt_compute.simulation.routes import Asked
from tt_compute.simulation.simulation import Simulation
from tt_compute.simulation.workload import Kind, Workload, poisson

UNLIMITED = Limits()


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


def model_of(*, tokens: float, p95: float, success_rate: float | None = 0.6) -> ModelProfile:
    ability = Ability(
        success_rate=fact(success_rate),
        concentration=fact(2),
        wrong_agreement=fact(0.4),
        abstain_rate=fact(0.04),
        completion_tokens_mean=fact(tokens),
        completion_tokens_p95=fact(p95),
    )
    return ModelProfile(
        id="m",
        parameters=Parameters(total=fact(8e9)),
        layers=32,
        attention_heads=32,
        kv_heads=8,
        head_dim=128,
        hidden_size=4096,
        max_context_tokens=8192,
        abilities={"math": ability},
    )


Make = Callable[..., DeploymentSpec]


@pytest.fixture
def stated() -> Make:
    """An engine of one's own of stated speed, by default for one row; ``curve`` is tokens/s by rows."""

    def make(
        name: str = "own",
        *,
        tokens: float = 91.0,
        p95: float = 91.0,
        ttft_s: float = 0.1,
        curve: Mapping[str, float] | None = None,
        success_rate: float | None = 0.6,
        usd_per_hour: float = 0.0,
        limits: Limits = UNLIMITED,
    ) -> DeploymentSpec:
        by_wave = {rows: fact(rate) for rows, rate in (curve or {}).items()}
        deployment = DeploymentProfile(
            id=name,
            backend="openai",
            model="m",
            hardware="h",
            limits=limits,
            price=Price(usd_per_hour=fact(usd_per_hour)),
            speed=Speed(
                ttft_s=Ttft(p50=ttft_s),
                decode_tokens_per_s=fact(None if curve else 100),
                decode_tokens_per_s_by_wave=by_wave,
            ),
        )
        hardware = HardwareProfile(
            id="h", device="gpu", power=Power(idle_w=fact(100), peak_w=fact(700))
        )
        model = model_of(tokens=tokens, p95=p95, success_rate=success_rate)
        return DeploymentSpec(deployment=deployment, model=model, hardware=hardware)

    return make


@pytest.fixture
def gpu() -> Make:
    """Llama-3.1-8B on a large GPU of one's own; its speed is the roofline's."""

    def make(*, memory: float | None = 8e10, max_sequences: int | None = None) -> DeploymentSpec:
        hardware = HardwareProfile(
            id="h100",
            device="gpu",
            memory=Memory(bytes=fact(memory), bandwidth_bytes_per_s=fact(3.2e12)),
            peak_flops={"bf16": fact(1e15)},
            power=Power(idle_w=fact(100), peak_w=fact(700)),
            usd_per_hour=fact(3.6),
            efficiency=Efficiency(
                mbu=fact(0.5),
                mfu_prefill=fact(0.4),
                mfu_decode=fact(0.2),
                step_overhead_s=fact(0.001),
            ),
        )
        deployment = DeploymentProfile(
            id="gpu",
            backend="openai",
            model="m",
            hardware="h100",
            placement=Placement(weights_dtype="bf16", max_sequences=max_sequences),
        )
        model = model_of(tokens=100, p95=200)
        return DeploymentSpec(deployment=deployment, model=model, hardware=hardware)

    return make


@pytest.fixture
def service() -> Make:
    """Priced by the token; its time to first token does not vary unless ``ttft_p95_s`` says so."""

    def make(
        name: str = "service",
        *,
        tokens: float = 100.0,
        p95: float = 200.0,
        ttft_s: float = 0.2,
        ttft_p95_s: float | None = None,
        tokens_per_s: float | None = 100.0,
        usd_per_mtok: float | None = 1.0,
        success_rate: float | None = 0.6,
        limits: Limits = UNLIMITED,
    ) -> DeploymentSpec:
        p95_s = ttft_s if ttft_p95_s is None else ttft_p95_s
        price = PricePerMtok(input=fact(usd_per_mtok), output=fact(usd_per_mtok))
        deployment = DeploymentProfile(
            id=name,
            backend="openai",
            model="m",
            hardware="fleet",
            limits=limits,
            price=Price(usd_per_mtok=price),
            speed=Speed(ttft_s=Ttft(p50=ttft_s, p95=p95_s), decode_tokens_per_s=fact(tokens_per_s)),
        )
        hardware = HardwareProfile(id="fleet", device="asic", local=False)
        model = model_of(tokens=tokens, p95=p95, success_rate=success_rate)
        return DeploymentSpec(deployment=deployment, model=model, hardware=hardware)

    return make


@pytest.fixture
def simulation() -> Callable[..., Simulation]:
    """A simulation of requests with prompts of 200 tokens at a rate, or of a workload."""

    def make(
        *specs: DeploymentSpec,
        rate: float = 1.0,
        requests: int = 1000,
        workload: Workload | None = None,
        replicas: Mapping[str, int] | None = None,
        seed: int = 1,
        **asked: Any,
    ) -> Simulation:
        if workload is None:
            kind = Kind("math", 200, None)
            workload = poisson(kind, rate_per_s=rate, requests=requests, seed=seed)
        wanted = Asked(seed=seed, **asked)
        return Simulation(workload, specs, replicas or {}, wanted, TickingClock())

    return make


@pytest.fixture
def simulate(simulation: Callable[..., Simulation]) -> Callable[..., Report]:
    """The report of ``simulation``."""

    def run(*specs: DeploymentSpec, **arguments: Any) -> Report:
        return simulation(*specs, **arguments).run()

    return run
