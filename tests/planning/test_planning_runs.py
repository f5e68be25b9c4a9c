"""What runs take: samples, waves and decode steps against a simulation of the strategies; cost and energy."""

from __future__ import annotations

import heapq
import math
import random
import statistics

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tt_compute.errors import InvalidRequestError
from tt_compute.planning.ability import TaskAbility
from tt_compute.planning.economics import HourlyPrice, Power, TokenPrice, power_of, price_of
from tt_compute.planning.figures import Figures, Meter
from tt_compute.planning.lengths import Lengths
from tt_compute.planning.questions import Questions
from tt_compute.planning.roofline import UnknownFact
from tt_compute.planning.runs import Load, RunShape, best_of_n_run, majority_run, single_run
from tt_compute.profiles.schema import (
    DeploymentSpec,
    Fact,
    HardwareProfile,
    Placement,
    Price,
    PricePerMtok,
)
from tt_compute.profiles.schema import Power as PowerProfile
from tt_compute.stopping import NO_VOTE, decided, fewest_more, parse_stop_rule
from tt_compute.types import Capabilities, Reliability

LENGTHS = Lengths(mean=100, p95=200)
BETA = parse_stop_rule("beta")


def able(mean: float, concentration: float) -> TaskAbility:
    return TaskAbility(
        mean=mean,
        questions=Questions.stated(mean, concentration, agreement=0.4),
        abstain_share=0.1,
    )


def length(rng: random.Random) -> float:
    median = LENGTHS.quantile(0.5)
    return median * math.exp(rng.gauss(0, math.log(200 / median) / 1.6448536))


class SimulatedVote:
    """The strategy ``majority``: draws at once what it sees it needs; votes in the order of drawing."""

    def __init__(self, rng: random.Random, p: float, budget: int, wave: int) -> None:
        self._rng, self._p, self._budget, self._wave = rng, p, budget, wave
        self._ends: list[float] = []
        self._answers: list[object] = []
        self._votes: dict[object, int] = {}
        self._counted = 0

    def run(self) -> tuple[int, float]:
        """(samples, decode steps until it ended)."""
        now = 0.0
        while not self._over():
            self._draw(now)
            now = min(end for end in self._ends if end > now)
            while self._counted < len(self._ends) and self._ends[self._counted] <= now:
                if self._over():
                    break
                answer = self._answers[self._counted]
                self._counted += 1
                if answer is not None:
                    self._votes[answer] = self._votes.get(answer, 0) + 1
        return len(self._ends), now

    def _over(self) -> bool:
        left = self._budget - self._counted
        return left == 0 or decided(BETA, list(self._votes.values()), left)

    def _draw(self, now: float) -> None:
        places = {answer: place for place, answer in enumerate(self._votes)}
        coming: list[int | None] = []
        for end, answer in zip(
            self._ends[self._counted :], self._answers[self._counted :], strict=True
        ):
            known = NO_VOTE if answer is None else places.setdefault(answer, len(places))
            coming.append(None if end > now else known)
        left = self._budget - self._counted
        needed = fewest_more(BETA, list(self._votes.values()), left, coming) - len(coming)
        for _ in range(min(needed, self._wave - sum(end > now for end in self._ends))):
            self._ends.append(now + length(self._rng))
            self._answers.append(self._answer())

    def _answer(self) -> object:
        if self._rng.random() < self._p:
            return "right"
        if self._rng.random() < 0.1:
            return None
        return "popular" if self._rng.random() < 0.4 else len(self._answers)


def simulated_contest(rng: random.Random, p: float, budget: int, wave: int) -> tuple[int, float]:
    """The strategy ``best_of_n``: ``wave`` in flight until one is right."""
    live: list[tuple[float, bool]] = []
    drawn, now = 0, 0.0
    while True:
        while len(live) < wave and drawn < budget:
            heapq.heappush(live, (now + length(rng), rng.random() < p))
            drawn += 1
        if not live:
            return drawn, now
        now, right = heapq.heappop(live)
        if right:
            return drawn, now


def steps(load: Load | None) -> float:
    """Decode steps in all; the first token of each wave is one more."""
    assert load is not None
    return load.waves + sum(count for _, count in load.steps)


@pytest.mark.parametrize(("budget", "wave"), [(4, 4), (16, 4), (16, 16)])
@pytest.mark.parametrize(("mean", "concentration"), [(0.28, 0.7), (0.9, 1.5), (0.6, 2.0)])
def test_votes_take_what_a_simulation_takes(
    mean: float, concentration: float, budget: int, wave: int
) -> None:
    """Samples within 3 %; mean duration within 7 %, its median within 15 %, p95 within 20 %."""
    rng = random.Random(1)
    runs = [
        SimulatedVote(
            rng, rng.betavariate(mean * concentration, (1 - mean) * concentration), budget, wave
        ).run()
        for _ in range(2500)
    ]
    shape = majority_run(able(mean, concentration), LENGTHS, "beta", budget, wave)
    assert shape.samples_mean == pytest.approx(statistics.fmean(n for n, _ in runs), rel=0.03)
    durations = sorted(duration for _, duration in runs)
    assert steps(shape.mean) == pytest.approx(statistics.fmean(durations), rel=0.07)
    assert steps(shape.p50) == pytest.approx(durations[len(runs) // 2], rel=0.15)
    assert steps(shape.p95) == pytest.approx(durations[int(0.95 * len(runs))], rel=0.2)


@pytest.mark.parametrize(("budget", "wave"), [(4, 1), (16, 1), (16, 4), (16, 16)])
@pytest.mark.parametrize(("mean", "concentration"), [(0.28, 0.7), (0.9, 1.5), (0.06, 0.5)])
def test_contests_take_what_a_simulation_takes(
    mean: float, concentration: float, budget: int, wave: int
) -> None:
    """Quality within 2 points; samples and mean duration within 4 %."""
    rng = random.Random(1)
    runs: list[tuple[int, float]] = []
    passed = 0.0
    for _ in range(8000):
        p = rng.betavariate(mean * concentration, (1 - mean) * concentration)
        passed += 1 - (1 - p) ** budget
        runs.append(simulated_contest(rng, p, budget, wave))
    shape = best_of_n_run(able(mean, concentration), LENGTHS, budget, wave)
    assert shape.quality == pytest.approx(passed / len(runs), abs=0.02)
    assert shape.samples_mean == pytest.approx(statistics.fmean(n for n, _ in runs), rel=0.04)
    assert steps(shape.mean) == pytest.approx(
        statistics.fmean(duration for _, duration in runs), rel=0.04
    )


@pytest.mark.parametrize(("budget", "wave"), [(1, 1), (4, 2), (8, 8), (16, 1)])
@pytest.mark.parametrize("rates", [(1.0, 0.0), (0.9, 0.1), (0.7, 0.3)])
def test_a_verifier_that_errs_is_worth_what_a_simulation_says(
    budget: int, wave: int, rates: tuple[float, float]
) -> None:
    """Quality within a point, samples within 2 %, over questions of every difficulty."""
    rng = random.Random(budget)
    right = drawn = 0
    runs = 20_000
    for _ in range(runs):
        p = rng.betavariate(0.35 * 1.2, 0.65 * 1.2)
        verdicts = [
            (good := rng.random() < p, rng.random() < rates[not good]) for _ in range(budget)
        ]
        accepted = next((place for place, (_, ok) in enumerate(verdicts) if ok), None)
        right += verdicts[accepted or 0][0]
        drawn += budget if accepted is None else min(budget, accepted + wave)
    reliability = Reliability(true_positive_rate=rates[0], false_positive_rate=rates[1])
    shape = best_of_n_run(able(0.35, 1.2), LENGTHS, budget, wave, reliability)
    assert shape.quality == pytest.approx(right / runs, abs=0.01)
    assert shape.samples_mean == pytest.approx(drawn / runs, rel=0.02)


@pytest.mark.parametrize("rates", [(0.5, 0.5), (0.2, 0.4), (1.1, 0.0), (0.5, -0.1)])
def test_a_verifier_that_tells_nothing_is_refused(rates: tuple[float, float]) -> None:
    with pytest.raises(InvalidRequestError, match="true_positive_rate"):
        Reliability(true_positive_rate=rates[0], false_positive_rate=rates[1])


def test_one_sample_takes_one_length() -> None:
    """Its mean, median and 95th percentile, the first token of which is prefill's."""
    shape = single_run(able(0.6, 2), LENGTHS)
    assert (shape.quality, shape.samples_mean, shape.widest) == (0.6, 1, 1)
    assert steps(shape.mean) == pytest.approx(100)
    assert steps(shape.p50) == pytest.approx(LENGTHS.quantile(0.5))
    assert steps(shape.p95) == pytest.approx(200)


def test_lengths_without_a_spread_have_no_p95() -> None:
    """Durations are then predicted as a mean and a median only."""
    shape = single_run(able(0.6, 2), Lengths(mean=100, p95=None))
    assert steps(shape.p50) == pytest.approx(100)
    assert shape.p95 is None


def test_an_unknown_ability_leaves_votes_unknown() -> None:
    vague = TaskAbility(mean=0.6)
    for shape in (majority_run(vague, LENGTHS, "beta", 8, 4), best_of_n_run(vague, LENGTHS, 8, 4)):
        assert shape == RunShape(quality=None, samples_mean=None)


# --- on the meter --------------------------------------------------------------------------------


def figures(spec: DeploymentSpec, capabilities: Capabilities | None, waves: float = 1) -> Figures:
    """Of a run of 4 samples of 51 tokens each, side by side in every wave."""
    load = Load(waves=waves, samples=4, steps=((4, 50.0),))
    shape = RunShape(quality=0.5, samples_mean=4, tokens_mean=204, mean=load, p50=load, p95=load)
    return Meter(spec, capabilities, ()).figures(shape, 51)


def test_latency_is_the_prefill_and_the_steps(service: DeploymentSpec) -> None:
    """TTFT 0.3 s (p95 0.9) and 50 steps of 2 ms; a second wave waits for a second TTFT, at its p50."""
    one, two = figures(service, None), figures(service, None, waves=2)
    ttft = (0.3, 0.9)
    assert one.latency_p50_s.at(1000, ttft) == pytest.approx(0.3 + 0.1)
    assert one.latency_p95_s.at(1000, ttft) == pytest.approx(0.9 + 0.1)
    assert two.latency_p95_s.at(1000, ttft) == pytest.approx(0.9 + 0.3 + 0.1)


def test_longer_prompts_make_longer_steps(local: DeploymentSpec) -> None:
    """Each of 4 rows reads 131,072 bytes more per prompt token, in each of 50 steps."""
    latency = figures(local, Capabilities(prefix_sharing=True)).latency_p50_s
    growth = latency.at(2000, (0, 0)) - latency.at(1000, (0, 0))
    assert growth == pytest.approx(1000 * 50 * 4 * 131072 / 1.6e12)


@pytest.mark.parametrize(
    ("capabilities", "prompts_usd"),
    [
        # Four prompts at 1 USD per million tokens.
        (Capabilities(), 4 * 1.0),
        # One request for the wave.
        (Capabilities(native_n=True), 1.0),
        # One at full price, three read from the cache at half of it.
        (Capabilities(prefix_sharing=True), 1 + 3 * 0.5),
    ],
)
def test_cost_counts_prompts_as_they_are_billed(
    service: DeploymentSpec, capabilities: Capabilities, prompts_usd: float
) -> None:
    """A prompt of 1,000 tokens, and 204 completion tokens at 4 USD per million."""
    cost = figures(service, capabilities).cost_usd.at(1000, (0.3, 0.9))
    assert cost == pytest.approx(1000 * prompts_usd / 1e6 + 204 * 4 / 1e6, rel=1e-9)


def test_an_hourly_price_counts_the_mean_time(local: DeploymentSpec) -> None:
    deployment = msgspec.structs.replace(
        local.deployment, price=Price(usd_per_hour=Fact(value=3.6))
    )
    spec = msgspec.structs.replace(local, deployment=deployment)
    run = figures(spec, Capabilities(prefix_sharing=True))
    seconds = run.latency_p50_s.at(1000, (0.05, 0.15))
    assert run.cost_usd.at(1000, (0.05, 0.15)) == pytest.approx(seconds * 0.001)


def test_own_hardware_is_free_even_where_its_speed_is_unknown(local: DeploymentSpec) -> None:
    """A price of 0 needs no time to multiply."""
    blind = msgspec.structs.replace(local, hardware=HardwareProfile(id="box"))
    run = figures(blind, None)
    assert run.cost_usd.at(1000, (0, 0)) == 0
    assert math.isinf(run.latency_p50_s.at(1000, (0, 0)))


def test_energy_is_power_by_time(local: DeploymentSpec) -> None:
    """700 W while computing, 100 W in the millisecond of overhead of each step; the prefill at 700 W."""
    run = figures(local, Capabilities(prefix_sharing=True))
    step = 0.010 + 4 * (1000 + 25.5) * 131072 / 1.6e12
    expected = 50 * (700 * step + 100 * 0.001) + 700 * 0.05
    assert run.energy_j.at(1000, (0.05, 0.15)) == pytest.approx(expected)


def test_wider_waves_take_less_energy_per_sample(local: DeploymentSpec) -> None:
    """The weights are read once for all rows of a step."""
    meter = Meter(local, Capabilities(prefix_sharing=True), ())

    def joules(rows: int) -> float:
        load = Load(waves=1, samples=rows, steps=((rows, 100.0),))
        shape = RunShape(quality=None, samples_mean=rows, mean=load, p50=load, p95=load)
        return meter.figures(shape, 100).energy_j.at(500, (0.05, 0.15)) / rows

    assert joules(16) < joules(4) < joules(1)


def test_prices_are_per_token_before_per_hour(service: DeploymentSpec) -> None:
    """The hour of the hardware counts only where a deployment states nothing."""
    hardware = msgspec.structs.replace(service.hardware, usd_per_hour=Fact(value=7200))
    spec = msgspec.structs.replace(service, hardware=hardware)
    assert isinstance(price_of(spec, None), TokenPrice)
    silent = msgspec.structs.replace(service.deployment, price=Price())
    assert price_of(msgspec.structs.replace(spec, deployment=silent), None) == HourlyPrice(2.0)
    two = msgspec.structs.replace(silent, placement=Placement(tensor_parallel=2))
    assert price_of(msgspec.structs.replace(spec, deployment=two), None) == HourlyPrice(4.0)


def test_half_a_price_is_unknown(service: DeploymentSpec) -> None:
    half = Price(usd_per_mtok=PricePerMtok(input=Fact(value=1)))
    deployment = msgspec.structs.replace(service.deployment, price=half)
    with pytest.raises(UnknownFact, match=r"price.usd_per_mtok.output of service is unknown"):
        price_of(msgspec.structs.replace(service, deployment=deployment), None)


def test_power_that_is_needed_and_unknown_is_named(local: DeploymentSpec) -> None:
    def powered(power: PowerProfile) -> DeploymentSpec:
        hardware = msgspec.structs.replace(local.hardware, power=power)
        return msgspec.structs.replace(local, hardware=hardware)

    with pytest.raises(UnknownFact, match=r"power.peak_w of h100 is unknown"):
        power_of(powered(PowerProfile()))
    with pytest.raises(UnknownFact, match=r"power.idle_w of h100 is unknown"):
        power_of(powered(PowerProfile(peak_w=Fact(value=700))))
    assert power_of(local) == Power(idle_w=100, peak_w=700, step_overhead_s=0.001)


@given(
    mean=st.floats(0.02, 0.98),
    concentration=st.floats(0.2, 30),
    tokens=st.floats(5, 300),
    spread=st.floats(1.05, 8),
    budget=st.integers(2, 16),
)
@settings(max_examples=40, deadline=None)
def test_the_95th_percentile_is_never_shorter_than_the_median(
    mean: float, concentration: float, tokens: float, spread: float, budget: int
) -> None:
    """Else a latency limit would be met on paper by a plan that usually misses it."""
    lengths = Lengths(mean=tokens, p95=tokens * spread, max_tokens=1024)
    ability = able(round(mean, 2), round(concentration, 1))
    for shape in (
        majority_run(ability, lengths, "beta", budget, min(budget, 6)),
        best_of_n_run(ability, lengths, budget, min(budget, 4)),
    ):
        assert steps(shape.p50) <= steps(shape.p95) * 1.001


def test_nothing_ends_before_its_first_token() -> None:
    """Of answers of one token, whose median by the fitted shape is below that."""
    short = Lengths(mean=1.0, p95=4.0)
    assert short.quantile(0.5) < 1
    ability = able(0.6, 2.0)
    runs = [
        single_run(ability, short),
        majority_run(ability, short, "beta", 8, 8),
        majority_run(ability, short, "beta", 8, 8, ahead=0.3),
        best_of_n_run(ability, short, 8, 4),
    ]
    loads = [load for run in runs for load in (run.mean, run.p50, run.p95) if load is not None]
    assert len(loads) == 3 * len(runs)
    assert all(steps >= 0 for load in loads for _, steps in load.steps)
