"""What is measured, in time that passes only when it is told to."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

import tt_compute as tt
from tt_compute.bench.energy import Counter, EnergyMeter
from tt_compute.bench.measure import Bench, prefill_lengths
from tt_compute.bench.report import BenchSettings, Spread
from tt_compute.config import Config
from tt_compute.errors import OutOfMemory
from tt_compute.testing import VirtualClock
from tt_compute.types import Sample, SamplingParams, Timing, Usage

pytestmark = pytest.mark.anyio


SETTINGS = BenchSettings(waves=(1, 4), rounds=2, new_tokens=64)
NO_METER = EnergyMeter((), reason="not in this test")


def bench(
    client: tt.AsyncClient,
    clock: VirtualClock,
    settings: BenchSettings = SETTINGS,
    meter: EnergyMeter = NO_METER,
    **options: Any,
) -> Bench:
    return Bench(client, client.config.spec("mock"), settings, clock=clock, meter=meter, **options)


def once(spread: Spread | None) -> float:
    """What every round gave."""
    assert spread is not None
    assert spread.low == pytest.approx(spread.high) == pytest.approx(spread.median)
    return spread.median


# --- waves ---------------------------------------------------------------------------------------


async def test_a_wave_is_timed_from_its_draw_to_its_last_token(
    config: Config, clock: VirtualClock
) -> None:
    async with tt.AsyncClient(config, clock=clock) as client:
        one = bench(client, clock)
        await one.run()
    assert [wave.width for wave in one.report.waves] == [1, 4]
    for wave in one.report.waves:
        assert wave.at_once == wave.width
        assert once(wave.first_token_s) == pytest.approx(1.0)
        assert once(wave.token_s) == pytest.approx(0.1)
        assert wave.mean_tokens == 21
        assert once(wave.tokens_per_s) == pytest.approx(wave.width * 21 / 3.0)
        assert once(wave.decode_tokens_per_s) == pytest.approx(wave.width * 10)


async def test_what_cannot_be_told_is_unknown(config: Config, clock: VirtualClock) -> None:
    """The mock computes no prompt, so a longer one takes no longer; and no energy is counted here."""
    async with tt.AsyncClient(config, clock=clock) as client:
        one = bench(client, clock)
        await one.run()
    report = one.report
    assert report.prefill_tokens_per_s is None
    assert (report.idle_w, report.energy_source) == (None, None)
    assert report.energy_reason == "not in this test"
    assert all(wave.j_per_token is None for wave in report.waves)


async def test_the_seed_decides_what_is_asked(config: Config, clock: VirtualClock) -> None:
    """And prompts differ from their first words on, so that no cache of prefixes knows a later one."""
    asked: list[list[str]] = []

    class Watched(tt.AsyncClient):
        def open(self, prompt: Any, **options: Any) -> Any:
            asked[-1].append(f"{prompt} {options['sampling'].seed}")
            return super().open(prompt, **options)

    for seed in (1, 1, 2):
        asked.append([])
        async with Watched(config, clock=clock) as client:
            await bench(client, clock, BenchSettings(waves=(1, 2), rounds=2, seed=seed)).run()
    assert asked[0] == asked[1] != asked[2]
    beginnings = {" ".join(prompt.split()[:4]) for prompt in asked[0]}
    assert len(beginnings) == len(asked[0])


# --- a model that computes its prompts -----------------------------------------------------------


class PacedGeneration:
    """After 0.5 s and 100 prompt tokens/s a first token, then 10 tokens/s, for at most two samples at once."""

    def __init__(self, clock: VirtualClock, prompt: str, sampling: SamplingParams) -> None:
        self._clock = clock
        self._prompt_tokens = 30 + 2 * len(prompt.split())
        self._tokens = sampling.max_tokens or 1
        self._queued = 0
        self._drawn = 0
        self._computed = False

    def draw(self, n: int = 1) -> range:
        self._queued += n
        self._drawn += n
        return range(self._drawn - n, self._drawn)

    def cancel(self, index: int | None = None) -> None:
        pass

    async def __aiter__(self) -> AsyncIterator[Sample]:
        asked = self._clock.now()
        while self._queued:
            running = min(2, self._queued)
            self._queued -= running
            used = 0 if self._computed else self._prompt_tokens
            self._computed = True
            await self._clock.sleep(0.5 + used / 100)
            first_s = self._clock.now() - asked
            await self._clock.sleep((self._tokens - 1) / 10)
            for _ in range(running):
                yield Sample(
                    index=self._drawn - self._queued - running,
                    text="",
                    finish_reason="length",
                    usage=Usage(input_tokens=used, output_tokens=self._tokens),
                    timing=Timing(first_token_s=first_s, total_s=self._clock.now() - asked),
                )
                used, running = 0, running - 1
            await self._clock.sleep(0.1)


@pytest.fixture
async def paced(config: Config, clock: VirtualClock) -> AsyncGenerator[tt.AsyncClient]:
    class Paced(tt.AsyncClient):
        async def warm(self, deployment: str) -> None:
            assert deployment == "mock"
            await clock.sleep(7.0)

        @asynccontextmanager
        async def open(self, prompt: Any, **options: Any) -> AsyncGenerator[Any]:
            yield PacedGeneration(clock, prompt, options["sampling"])

    async with Paced(config, clock=clock) as client:
        yield client


async def test_the_prefill_rate_has_no_fixed_cost_in_it(
    paced: tt.AsyncClient, clock: VirtualClock
) -> None:
    """Half a second is spent on each prompt, whatever its length."""
    one = bench(paced, clock)
    await one.run()
    assert once(one.report.prefill_tokens_per_s) == pytest.approx(100)


async def test_a_late_draw_does_not_pay_for_the_prompt(
    paced: tt.AsyncClient, clock: VirtualClock
) -> None:
    one = bench(paced, clock)
    await one.run()
    assert once(one.report.late_first_token_s) == pytest.approx(0.5)
    alone = one.report.wave(1)
    assert alone is not None
    assert alone.first_token_s is not None
    assert alone.first_token_s.median == pytest.approx(0.5 + 200 / 100, rel=0.05)


async def test_prompts_are_as_long_as_they_were_asked_to_be(
    paced: tt.AsyncClient, clock: VirtualClock
) -> None:
    """Whatever the tokeniser makes of a word, and the template adds."""
    one = bench(paced, clock, BenchSettings(waves=(1,), rounds=1, prompt_tokens=300))
    await one.run()
    assert one.report.prompt_tokens is not None
    assert abs(one.report.prompt_tokens - 300) <= 2


async def test_a_wave_that_does_not_fit_says_so(paced: tt.AsyncClient, clock: VirtualClock) -> None:
    one = bench(paced, clock)
    await one.run()
    assert [wave.at_once for wave in one.report.waves] == [1, 2]
    assert one.report.warnings == ("of 4 samples at most 2 ran at once",)


# --- loading -------------------------------------------------------------------------------------


async def test_the_load_is_timed(paced: tt.AsyncClient, clock: VirtualClock) -> None:
    one = bench(paced, clock)
    await one.run()
    assert one.report.load_s == 7.0
    assert clock.now() > 7.0


async def test_a_download_is_no_load(paced: tt.AsyncClient, clock: VirtualClock) -> None:
    one = bench(paced, clock, fetched=lambda: True)
    await one.run()
    assert one.report.load_s is None
    assert "fetched" in one.report.warnings[0]


# --- energy --------------------------------------------------------------------------------------


class Steady:
    """Takes 30 W, whatever happens."""

    part = "a test"

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock

    def joules(self) -> float:
        return 30 * self._clock.now()


async def test_energy_is_that_of_the_wave(config: Config, clock: VirtualClock) -> None:
    """3 s for 21 tokens of each sample; with a machine that is never idle nothing is above idle."""

    def find() -> list[Counter]:
        return [Steady(clock)]

    async with tt.AsyncClient(config, clock=clock) as client:
        one = bench(client, clock, meter=EnergyMeter([find]))
        await one.run()
    report = one.report
    assert report.idle_w == pytest.approx(30)
    assert report.energy_source == "a test"
    assert [wave.j_per_token for wave in report.waves] == pytest.approx([90 / 21, 90 / 84])


# --- ends before the end -------------------------------------------------------------------------


async def test_what_was_measured_before_a_failure_is_kept(clock: VirtualClock) -> None:
    """The fourth sample of a wave fails; the narrower waves have none."""
    options = {"faults": [{"kind": "oom", "samples": [3]}], "latency": {"ttft_s": 1.0}}
    config = Config.from_mapping(
        {"deployments": [{"id": "mock", "override": {"options": options}}]}
    )
    async with tt.AsyncClient(config, clock=clock) as client:
        one = bench(client, clock)
        with pytest.raises(OutOfMemory):
            await one.run()
    assert [wave.width for wave in one.report.waves] == [1]
    assert one.report.late_first_token_s is None


async def test_what_was_measured_before_a_cancel_is_kept(
    config: Config, clock: VirtualClock
) -> None:
    scope = anyio.CancelScope()

    def tell(what: str) -> None:
        if what == "late draws":
            scope.cancel()

    async with tt.AsyncClient(config, clock=clock) as client:
        one = bench(client, clock, tell=tell)
        with scope:
            await one.run()
    assert scope.cancelled_caught
    assert [wave.width for wave in one.report.waves] == [1, 4]
    assert one.report.late_first_token_s is None


@pytest.mark.parametrize(
    ("context", "wanted"),
    [(None, (64, 1024)), (8192, (64, 1024)), (512, (64, 256)), (100, (50, 50))],
)
def test_prompts_for_the_prefill_rate_fit_the_context(
    context: int | None, wanted: tuple[int, int]
) -> None:
    assert prefill_lengths(context) == wanted
