"""What a simulation keeps to: every request comes to one end, equal seeds to equal figures."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tt_compute.errors import InvalidRequestError
from tt_compute.planning.types import Objective
from tt_compute.profiles.schema import DeploymentSpec, Limits
from tt_compute.simulation.report import Report
from tt_compute.simulation.simplex import maximise
from tt_compute.simulation.simulation import Simulation
from tt_compute.simulation.workload import Kind, Workload, poisson, read_trace

Make = Callable[..., DeploymentSpec]
Simulate = Callable[..., Report]

ALONE = Objective(max_samples=1)


@pytest.fixture
def trace(tmp_path: Path) -> Callable[..., Workload]:
    """A workload of the lines of a trace."""
    numbers = itertools.count()

    def make(lines: list[dict[str, Any]]) -> Workload:
        file = tmp_path / f"{next(numbers)}.jsonl"
        file.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
        return read_trace(file, task="math", input_tokens=200)

    return make


# --- determinism and conservation ----------------------------------------------------------------


def test_equal_seeds_make_equal_reports(gpu: Make, service: Make, simulate: Simulate) -> None:
    fleet = (gpu(max_sequences=8), service(ttft_p95_s=0.9, limits=Limits(max_concurrency=3)))
    first, second, other = (
        simulate(*fleet, rate=3, requests=2000, seed=seed) for seed in (5, 5, 6)
    )
    assert first == second
    assert first.latency_s != other.latency_s


def test_what_is_served_and_what_is_not_are_all_there_is(
    service: Make, simulate: Simulate, trace: Callable[..., Workload]
) -> None:
    """A prompt beyond the context is not served, and the reason says so."""
    lines = [{"at_s": at, "input_tokens": 9000 if at % 5 == 0 else 100} for at in range(100)]
    report = simulate(service(), workload=trace(lines))
    assert (report.served, report.unserved) == (80, 20)
    assert sum(entry.requests for entry in report.fleet) == 80
    assert any("9000 tokens" in reason for reason in report.reasons)
    assert report.saturation.rate_per_s is None


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    lines=st.lists(
        st.fixed_dictionaries(
            {"at_s": st.one_of(st.floats(0, 30), st.sampled_from([0.0, 5.0, 1e9]))},
            optional={
                "task": st.sampled_from(["math", "open"]),
                "input_tokens": st.integers(1, 20_000),
                "output_tokens": st.integers(1, 2_000),
            },
        ),
        min_size=1,
        max_size=40,
    ),
    rows=st.integers(1, 6),
    data=st.data(),
)
def test_any_trace_comes_to_an_end(
    gpu: Make,
    service: Make,
    simulate: Simulate,
    trace: Callable[..., Workload],
    lines: list[dict[str, Any]],
    rows: int,
    data: st.DataObject,
) -> None:
    """Every request is served or not, nothing takes less than no time, and the order of lines says nothing."""
    fleet = (
        gpu(max_sequences=rows, memory=1.7e10),
        service(limits=Limits(max_concurrency=rows, requests_per_minute=20)),
    )
    few = Objective(max_samples=2)
    report = simulate(*fleet, workload=trace(lines), objective=few)
    assert report.served + report.unserved == len(lines)
    assert sum(entry.requests for entry in report.fleet) == report.served
    if report.served:
        latency = report.latency_s
        ordered = [latency.p50, latency.p90, latency.p95, latency.p99]
        assert all(one is not None and one > 0 for one in ordered)
        assert ordered == sorted(ordered, key=lambda one: one or 0)
        assert all(0 <= (entry.busy or 0) <= 1 + 1e-9 for entry in report.fleet)
    times = {line["at_s"] for line in lines}
    if len(times) == len(lines):
        shuffled = data.draw(st.permutations(lines))
        assert simulate(*fleet, workload=trace(shuffled), objective=few) == report


# --- where a request goes ------------------------------------------------------------------------


def test_a_request_stays_where_it_was_planned_while_there_is_room(
    stated: Make, service: Make, simulate: Simulate
) -> None:
    """Also where another deployment would be quicker."""
    cheap = stated(curve={"1": 100, "64": 6400})
    quick = service("quick", tokens=91, p95=91, tokens_per_s=1000)
    report = simulate(quick, cheap, rate=5, requests=2000, objective=Objective(max_samples=1))
    assert report.plans[0].deployment == "own"
    assert report.plans[0].else_at == ("quick",)
    assert [entry.requests for entry in report.fleet] == [0, 2000]


def test_a_request_that_would_wait_goes_where_it_is_answered_first(
    stated: Make, service: Make, simulate: Simulate
) -> None:
    """What finds the one row taken goes elsewhere, where nobody waits: Erlang's loss formula, at a load of 2."""
    other = service("other", tokens=91, p95=91)
    report = simulate(stated(), other, rate=2, requests=30_000, objective=ALONE)
    assert report.plans[0].deployment == "own"
    assert report.fleet[0].requests == pytest.approx(30_000 / (1 + 2), rel=0.03)
    assert report.latency_s.p99 == pytest.approx(0.2 + 0.9)


def test_a_request_goes_nowhere_that_is_worse(
    stated: Make, service: Make, simulate: Simulate
) -> None:
    """However long the wait: half a point of quality is the slack."""
    worse = service("worse", success_rate=0.55)
    report = simulate(stated(), worse, rate=2, requests=500, objective=ALONE)
    assert report.plans[0].else_at == ()
    assert [entry.requests for entry in report.fleet] == [500, 0]


def test_late_answers_are_throughput_but_not_goodput(stated: Make, simulate: Simulate) -> None:
    objective = Objective(max_samples=1, max_latency_s=1.5)
    report = simulate(stated(), rate=0.9, requests=20_000, objective=objective)
    assert report.goodput_per_s is not None
    assert report.throughput_per_s is not None
    assert 0.1 < report.goodput_per_s < 0.6 * report.throughput_per_s


# --- engines -------------------------------------------------------------------------------------


def test_keys_and_values_take_room(gpu: Make, simulate: Simulate) -> None:
    """Rows that do not fit beside the others wait, and the same load takes longer."""
    roomy, tight = (
        simulate(gpu(memory=memory, max_sequences=256), rate=60, requests=5000, strategy="single")
        for memory in (8e10, 1.63e10)
    )
    assert (tight.latency_s.p95 or 0) > 2 * (roomy.latency_s.p95 or math.inf)


def test_a_model_that_does_not_fit_serves_nothing(gpu: Make, simulate: Simulate) -> None:
    report = simulate(gpu(memory=1.5e10))
    assert report.unserved == 1000
    assert any("do not fit into" in reason for reason in report.reasons)
    assert report.latency_s.p50 is None
    assert report.cost_usd is None


def test_a_prompt_that_does_not_fit_beside_the_weights_is_not_served(
    gpu: Make, simulate: Simulate
) -> None:
    report = simulate(gpu(memory=1.605e10))
    assert report.unserved == 1000
    assert any("do not fit into its memory" in reason for reason in report.reasons)


def test_prompts_hold_up_everybody(
    gpu: Make, simulate: Simulate, trace: Callable[..., Workload]
) -> None:
    """One long prompt in the middle of a short request's samples makes it later by its prefill."""
    short = {"at_s": 0.0, "input_tokens": 100, "output_tokens": 200}
    long = {"at_s": 0.1, "input_tokens": 8000, "output_tokens": 1}
    alone = simulate(gpu(), workload=trace([short]), strategy="single")
    beside = simulate(gpu(), workload=trace([short, long]), strategy="single")
    prefill = simulate(gpu(), workload=trace([long]), strategy="single").latency_s.p50
    assert alone.latency_s.p50 is not None
    assert prefill is not None
    assert beside.latency_s.p99 == pytest.approx(alone.latency_s.p50 + prefill, rel=0.02)


# --- what is unknown -----------------------------------------------------------------------------


def test_an_unknown_price_leaves_the_cost_unknown(service: Make, simulate: Simulate) -> None:
    report = simulate(service(usd_per_mtok=None))
    assert (report.cost_usd, report.cost_usd_per_request) == (None, None)
    assert any(reason.startswith("cost_usd of service: ") for reason in report.reasons)
    assert report.latency_s.p50 is not None


def test_a_deployment_of_unknown_speed_is_left_out(
    stated: Make, service: Make, simulate: Simulate
) -> None:
    report = simulate(service(tokens_per_s=None), stated(), rate=0.1)
    blind, known = report.fleet
    assert (blind.requests, blind.utilisation, blind.cost_usd) == (0, None, None)
    assert known.requests == report.served == 1000
    assert any("decode speed of service" in reason for reason in report.reasons)


def test_stated_lengths_stand_in_for_unknown_ones(
    service: Make, simulate: Simulate, trace: Callable[..., Workload]
) -> None:
    """A trace's are those of each sample; the command line's are a mean."""
    bare = service(tokens=None, p95=None, success_rate=None)
    assert simulate(bare).unserved == 1000
    assert simulate(bare, output_tokens=81).latency_s.p50 == pytest.approx(0.2 + 0.8)
    of_trace = simulate(bare, workload=trace([{"at_s": 0, "output_tokens": 41}]))
    assert of_trace.latency_s.p50 == pytest.approx(0.2 + 0.4)


def test_requests_that_are_planned_together_have_lengths_of_their_own(
    service: Make, simulate: Simulate, trace: Callable[..., Workload]
) -> None:
    lines = [{"at_s": at, "output_tokens": tokens} for at, tokens in enumerate((41, 61, 61))]
    report = simulate(service(), workload=trace(lines), strategy="single")
    assert len(report.plans) == 1
    assert report.latency_s.mean == pytest.approx(0.2 + (0.4 + 0.6 + 0.6) / 3)


def test_the_time_to_first_token_of_a_service_varies_as_stated(
    service: Make, simulation: Callable[..., Simulation]
) -> None:
    """Through its median and p95; its mean, which concurrency is taken up for, lies above the median."""
    limits = Limits(max_concurrency=1)
    one = service(tokens=1, p95=1, ttft_s=0.2, ttft_p95_s=0.8, limits=limits)
    unhurried = simulation(one, rate=0.001, requests=20_000, strategy="single")
    latency = unhurried.run().latency_s
    assert latency.p50 == pytest.approx(0.2, rel=0.03)
    assert latency.p95 == pytest.approx(0.8, rel=0.03)
    assert latency.mean is not None
    assert unhurried.saturation.rate_per_s == pytest.approx(1 / latency.mean, rel=0.03)


def test_a_stated_mean_keeps_the_profiles_spread(service: Make, simulate: Simulate) -> None:
    report = simulate(service(), rate=0.01, requests=20_000, output_tokens=50, strategy="single")
    assert report.latency_s.p95 == pytest.approx(0.2 + 0.99, rel=0.02)


# --- workloads -----------------------------------------------------------------------------------


def test_a_workload_can_come_faster(trace: Callable[..., Workload]) -> None:
    slow = trace([{"at_s": at} for at in (100, 110, 130)])
    fast = slow.at_rate(1.0)
    assert list(slow.arrivals[0]) == [0, 10, 30]
    assert list(fast.arrivals[0]) == pytest.approx([0, 10 / 15, 2])
    assert fast.rate_per_s == 1.0


def test_what_comes_at_once_has_no_rate(trace: Callable[..., Workload]) -> None:
    at_once = trace([{"at_s": 3}, {"at_s": 3}])
    assert at_once.rate_per_s is None
    with pytest.raises(InvalidRequestError, match="no rate"):
        at_once.at_rate(1.0)


def test_arrivals_have_the_rate_that_was_asked_for() -> None:
    workload = poisson(Kind("math", 10, None), rate_per_s=4.0, requests=50_000, seed=1)
    times = workload.arrivals[0]
    gaps = [after - before for before, after in itertools.pairwise(times)]
    mean = sum(gaps) / len(gaps)
    deviation = math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / len(gaps))
    assert mean == pytest.approx(0.25, rel=0.02)
    assert deviation == pytest.approx(0.25, rel=0.02)


def test_kinds_of_a_trace_are_few_and_hold_all_their_requests(
    trace: Callable[..., Workload],
) -> None:
    lines = [{"at_s": at, "input_tokens": 1 + at * 7, "output_tokens": 1 + at} for at in range(500)]
    workload = trace(lines)
    assert len(workload.kinds) < 40
    assert sum(workload.counts) == 500
    for arrival in workload:
        kind = workload.kinds[arrival.kind]
        assert kind.output_tokens is not None
        assert kind.input_tokens / 1.5 <= arrival.input_tokens <= kind.input_tokens
        assert kind.output_tokens / 2.01 <= arrival.output_tokens <= kind.output_tokens


# --- sweeps --------------------------------------------------------------------------------------


def test_a_sweep_rises_to_the_end_of_the_fleet(
    stated: Make, simulation: Callable[..., Simulation]
) -> None:
    one = simulation(stated(), rate=0.5, requests=2000, objective=ALONE)
    report = one.sweep()
    rates = [row.rate_per_s for row in report.sweep]
    assert rates == sorted(rates)
    assert rates[-1] == report.saturation.rate_per_s
    latencies = [row.p95_s or 0 for row in report.sweep]
    assert latencies == sorted(latencies)
    assert msgspec.structs.replace(report, sweep=()) == one.run()


# --- the simplex method --------------------------------------------------------------------------

NUMBERS = st.floats(0.01, 10)


@given(
    st.lists(NUMBERS, min_size=1, max_size=4).flatmap(
        lambda gains: st.tuples(
            st.just(gains),
            st.lists(
                st.tuples(
                    st.lists(
                        st.one_of(st.just(0.0), NUMBERS),
                        min_size=len(gains),
                        max_size=len(gains),
                    ),
                    st.one_of(st.just(0.0), NUMBERS),
                ),
                min_size=1,
                max_size=5,
            ),
        )
    )
)
def test_an_optimum_is_as_good_as_its_bounds_are_worth(
    problem: tuple[list[float], list[tuple[list[float], float]]],
) -> None:
    """Strong duality; there is no end exactly where a variable uses nothing."""
    gains, rows = problem
    uses, bounds = zip(*rows, strict=True)
    found = maximise(gains, uses, bounds)
    endless = any(all(use[place] == 0 for use in uses) for place in range(len(gains)))
    assert (found is None) == endless
    if found is not None:
        worth = sum(one * bound for one, bound in zip(found.worth, bounds, strict=True))
        assert worth == pytest.approx(found.value, rel=1e-6, abs=1e-9)
        assert all(one >= -1e-9 for one in found.worth)
        for place, gain in enumerate(gains):
            priced = sum(one * use[place] for one, use in zip(found.worth, uses, strict=True))
            assert priced >= gain * (1 - 1e-9)
