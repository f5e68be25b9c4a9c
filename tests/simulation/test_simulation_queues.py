"""Against queueing theory: waits that closed forms know, within the error of sampling at a fixed seed."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from tt_compute.planning.types import Objective
from tt_compute.profiles.schema import DeploymentSpec, Limits
from tt_compute.simulation.report import Report

Make = Callable[..., DeploymentSpec]
Simulate = Callable[..., Report]

ALONE = Objective(max_samples=1)


@pytest.mark.parametrize("load", [0.3, 0.7, 0.85])
def test_one_row_of_equal_requests_waits_as_in_m_d_1(
    stated: Make, simulate: Simulate, load: float
) -> None:
    """Pollaczek-Khinchine with constant service of s: E[wait] = load s / (2 (1 - load))."""
    report = simulate(stated(), rate=load, requests=150_000, objective=ALONE)
    wait = load / (2 * (1 - load))
    assert report.latency_s.mean == pytest.approx(1.0 + wait, rel=0.03)
    assert report.fleet[0].utilisation == pytest.approx(load, rel=0.02)
    assert report.fleet[0].busy == pytest.approx(load, rel=0.02)


def test_one_row_at_a_service_waits_as_in_m_g_1(service: Make, simulate: Simulate) -> None:
    """E[wait] = rate E[s^2] / (2 (1 - load)); s = 0.2 + (L - 1) / 100, L log-normal of mean 100, p95 200."""
    one = service(limits=Limits(max_concurrency=1))
    load = 0.6
    mean = 0.2 + 0.99
    spread = 1.6449 - math.sqrt(1.6449**2 - 2 * math.log(2))
    square = mean**2 + (math.exp(spread**2) - 1)
    rate = load / mean
    report = simulate(one, rate=rate, requests=150_000, objective=ALONE)
    assert report.latency_s.mean == pytest.approx(mean + rate * square / (2 * (1 - load)), rel=0.03)


@pytest.mark.parametrize("p95", [100.0, 200.0])
def test_rows_that_share_a_fixed_rate_wait_as_in_processor_sharing(
    stated: Make, simulate: Simulate, p95: float
) -> None:
    """E[time] = E[s] / (1 - load), whatever the distribution of the work s."""
    shared = stated(tokens=100, p95=p95, ttft_s=1e-9, curve={"1": 100, "256": 100})
    load = 0.7
    report = simulate(shared, rate=load / 0.99, requests=150_000, objective=ALONE)
    assert report.latency_s.mean == pytest.approx(0.99 / (1 - load), rel=0.04)


def test_copies_wait_less_than_one_that_is_as_fast(stated: Make, simulate: Simulate) -> None:
    """Two servers of one queue each, joined at the shorter: between M/D/2 and two separate M/D/1."""
    alone = simulate(stated(), rate=0.7, requests=50_000, objective=ALONE)
    two = simulate(stated(), rate=1.4, requests=50_000, objective=ALONE, replicas={"own": 2})
    assert alone.latency_s.mean is not None
    assert two.latency_s.mean is not None
    assert 1.0 < two.latency_s.mean < alone.latency_s.mean
    assert two.fleet[0].utilisation == pytest.approx(0.7, rel=0.02)


def test_a_rate_limit_lets_its_window_through_and_then_its_rate(
    service: Make, simulate: Simulate
) -> None:
    """60 a minute: of 100 at once 60 begin at once, and then one each second."""
    limited = service(limits=Limits(requests_per_minute=60), tokens=21, p95=21, ttft_s=0.8)
    report = simulate(limited, rate=1e6, requests=100, objective=ALONE)
    assert report.latency_s.p50 == pytest.approx(1.0, rel=0.01)
    assert report.workload.duration_s == pytest.approx(41.0, rel=0.01)


def test_a_limit_of_tokens_counts_prompt_and_completion(service: Make, simulate: Simulate) -> None:
    """6000 a minute and 300 for each: 20 at once, then one in 3 s."""
    limited = service(limits=Limits(tokens_per_minute=6000), tokens=100, p95=100, ttft_s=0.01)
    report = simulate(limited, rate=1e6, requests=30, objective=ALONE)
    assert report.workload.duration_s == pytest.approx(30 + 1.0, rel=0.01)


def test_an_engine_of_ones_own_keeps_rate_limits_too(stated: Make, simulate: Simulate) -> None:
    report = simulate(
        stated(limits=Limits(requests_per_minute=30)), rate=1e6, requests=60, objective=ALONE
    )
    assert report.workload.duration_s == pytest.approx(61.0, abs=1.1)
    assert report.saturation.binds == "limits.requests_per_minute"
