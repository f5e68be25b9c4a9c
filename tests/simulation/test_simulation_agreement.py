"""At low load a simulation and the planner's own prediction agree; above saturation the fleet gives all it can."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tt_compute.planning.types import Objective, Prediction
from tt_compute.profiles.schema import DeploymentSpec, Limits
from tt_compute.simulation.report import Report
from tt_compute.simulation.simulation import Simulation

Make = Callable[..., DeploymentSpec]
Simulate = Callable[..., Report]

RARE = 0.01
"""Requests per second, of which each takes about one."""
STRATEGIES = {"single": 0.03, "majority": 0.06, "best_of_n": 0.22}
"""How far quantiles may be apart: the planner's rest on 192 trials, and those of best-of-n differ most."""


def predicted(report: Report) -> Prediction:
    found = report.plans[0].predicted
    assert found is not None
    return found


@pytest.mark.parametrize(("strategy", "apart"), STRATEGIES.items())
def test_at_a_service_the_planners_figures_come_true(
    service: Make, simulate: Simulate, strategy: str, apart: float
) -> None:
    report = simulate(service(), rate=RARE, requests=20_000, strategy=strategy)
    expected = predicted(report)
    assert report.latency_s.p50 == pytest.approx(expected.latency_p50_s, rel=apart)
    assert report.latency_s.p95 == pytest.approx(expected.latency_p95_s, rel=apart)
    assert report.cost_usd_per_request == pytest.approx(expected.cost_usd, rel=0.03)
    assert report.samples_mean == pytest.approx(expected.samples_mean, rel=0.03)


@pytest.mark.parametrize(("strategy", "apart"), STRATEGIES.items())
def test_on_an_idle_engine_the_planners_figures_come_true(
    gpu: Make, simulate: Simulate, strategy: str, apart: float
) -> None:
    """Energy without that of idling, which a request's prediction leaves out."""
    report = simulate(gpu(), rate=RARE, requests=20_000, strategy=strategy)
    expected, energy = predicted(report), report.fleet[0].busy_energy_j
    assert energy is not None
    assert report.latency_s.p50 == pytest.approx(expected.latency_p50_s, rel=apart)
    assert report.latency_s.p95 == pytest.approx(expected.latency_p95_s, rel=apart)
    assert energy / report.served == pytest.approx(expected.energy_j, rel=0.05)
    assert report.samples_mean == pytest.approx(expected.samples_mean, rel=0.03)


def test_an_hour_is_paid_whether_anything_runs_or_not(gpu: Make, simulate: Simulate) -> None:
    """And idling takes its power: 100 W and $3.60 for each of two copies, and an hour."""
    report = simulate(gpu(), rate=1e-2, requests=200, replicas={"gpu": 2}, strategy="single")
    hours = report.workload.duration_s / 3600
    busy = report.fleet[0].busy_energy_j
    assert report.cost_usd == pytest.approx(2 * 3.6 * hours)
    assert busy is not None
    assert report.energy_j == pytest.approx(busy + 2 * 100 * 3600 * hours, rel=0.02)


SATURATED: dict[str, tuple[str, dict[str, object], str]] = {
    "rows": ("gpu", {"max_sequences": 4}, "placement.max_sequences"),
    "decode": ("stated", {"ttft_s": 0.01, "curve": {"1": 100, "8": 400, "9": 400}}, "decode"),
    "prefill": ("stated", {"ttft_s": 20, "curve": {"1": 100, "8": 400, "9": 400}}, "prefill"),
    "memory": ("gpu", {"memory": 1.7e10, "max_sequences": 256}, "hardware.memory.bytes"),
    "concurrency": ("service", {"limits": Limits(max_concurrency=5)}, "limits.max_concurrency"),
    "one row": ("stated", {}, "speed.decode_tokens_per_s_by_wave"),
}


@pytest.mark.parametrize(("make", "facts", "binds"), SATURATED.values(), ids=SATURATED)
@pytest.mark.parametrize("strategy", ["single", "majority"])
def test_above_saturation_the_fleet_gives_all_it_can(
    request: pytest.FixtureRequest,
    simulation: Callable[..., Simulation],
    make: str,
    facts: dict[str, object],
    binds: str,
    strategy: str,
) -> None:
    """It is used up, and answers at the rate at which it saturates."""
    spec: DeploymentSpec = request.getfixturevalue(make)(**facts)
    one = simulation(spec, requests=20_000, strategy=strategy)
    most = one.saturation.rate_per_s
    assert most is not None
    assert one.saturation.binds == binds
    report = one.run(1.5 * most)
    assert report.fleet[0].utilisation == pytest.approx(1.0, abs=0.04)
    assert report.throughput_per_s == pytest.approx(most, rel=0.04)
    below = one.run(0.5 * most)
    assert below.fleet[0].utilisation == pytest.approx(0.5, abs=0.04)


def test_a_fleet_sustains_what_its_members_do(
    stated: Make, service: Make, simulation: Callable[..., Simulation]
) -> None:
    """What the first one cannot take at once goes to the others that are as good."""
    limited = service("other", tokens=91, p95=91, ttft_s=0.1, limits=Limits(max_concurrency=2))
    one = simulation(stated(), limited, requests=20_000, objective=Objective(max_samples=1))
    assert one.saturation.rate_per_s == pytest.approx(3.0, rel=0.01)
    report = one.run(4.0)
    assert report.throughput_per_s == pytest.approx(3.0, rel=0.02)
    assert [entry.utilisation for entry in report.fleet] == pytest.approx([1.0, 1.0], abs=0.02)


def test_without_a_known_limit_there_is_no_known_end(service: Make, simulate: Simulate) -> None:
    report = simulate(service())
    assert report.saturation.rate_per_s is None
    assert "no limit" in str(report.saturation.reason)
    assert report.fleet[0].utilisation is None


def test_what_binds_is_what_to_raise_first(
    service: Make, simulation: Callable[..., Simulation]
) -> None:
    """Of two limits the tighter one; loosened, the other binds at a higher rate."""
    tight = Limits(max_concurrency=1, requests_per_minute=60)
    loose = Limits(max_concurrency=1000, requests_per_minute=60)
    alone = Objective(max_samples=1)
    first = simulation(service(limits=tight), objective=alone).saturation
    second = simulation(service(limits=loose), objective=alone).saturation
    assert first.binds == "limits.max_concurrency"
    assert second.binds == "limits.requests_per_minute"
    assert (first.rate_per_s or 0) < (second.rate_per_s or 0) == pytest.approx(1.0)
