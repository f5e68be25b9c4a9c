"""Measures what a deployment does with waves of samples, through the same protocol that strategies use."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Sequence

import msgspec

from tt_compute.backend import Generation
from tt_compute.bench.machine import EnergyMeter, process_tree_bytes
from tt_compute.client import AsyncClient
from tt_compute.errors import BackendError
from tt_compute.types import Clock, Failed, Sample, SamplingParams

__all__ = ["BenchReport", "BenchSettings", "Spread", "WaveFigures", "measure"]

_WORDS = [
    "river",
    "mountain",
    "lantern",
    "harbour",
    "winter",
    "copper",
    "garden",
    "thunder",
    "violin",
    "letter",
    "silver",
    "forest",
    "bridge",
    "candle",
    "ocean",
    "shadow",
    "meadow",
    "engine",
    "market",
    "castle",
    "feather",
    "island",
    "mirror",
    "window",
]
_TOKENS_PER_WORD = 1.3
_SHORT_PREFILL_TOKENS, _LONG_PREFILL_TOKENS = 100, 1000
_TEMPERATURE = 0.8


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """Of several rounds."""

    median: float
    low: float
    high: float


class WaveFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Waves of one width."""

    width: int
    tokens_per_s: Spread
    """All tokens of a wave over its whole time, prefill included."""
    first_token_s: Spread
    """Of the first sample, from the draw on."""
    token_s: Spread | None
    """Between two tokens of one sample (TPOT); None when they had one token."""
    mean_tokens: float
    """Of a sample."""
    j_per_token: float | None


class BenchReport(msgspec.Struct, frozen=True, kw_only=True):
    """All that was measured; what the machine does not tell is None."""

    deployment: str
    load_s: float
    prompt_tokens: int
    new_tokens: int
    rounds: int
    seed: int
    waves: tuple[WaveFigures, ...]
    late_first_token_s: Spread | None
    """Of a sample drawn when its prompt had been computed."""
    prefill_tokens_per_s: float | None
    memory_bytes: int | None
    """Resident, of this process and its engines, after the widest wave."""
    idle_w: float | None
    energy_source: str | None
    energy_reason: str | None
    """Why no energy was measured."""


class BenchSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What is run."""

    waves: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    prompt_tokens: int = 200
    """About; the model's tokeniser decides."""
    new_tokens: int = 128
    """Most of a sample; it may end earlier by itself."""
    rounds: int = 3
    seed: int = 0


class _Wave(msgspec.Struct, frozen=True, kw_only=True):
    samples: list[Sample]
    took_s: float
    joules: float | None

    @property
    def tokens(self) -> int:
        return sum(sample.usage.output_tokens for sample in self.samples)

    @property
    def first_token_s(self) -> float:
        return self.samples[0].timing.first_token_s or self.took_s


async def measure(
    client: AsyncClient,
    deployment: str,
    settings: BenchSettings,
    *,
    clock: Clock,
    meter: EnergyMeter,
    tell: Callable[[str], None],
    done: Callable[[WaveFigures], None],
) -> BenchReport:
    """Measure a deployment.

    Args:
        client: Whose deployment it is; its model is loaded first.
        deployment: Its id.
        settings: What is run.
        clock: The client's.
        meter: Of energy.
        tell: Told what is being measured.
        done: Given each width's figures as soon as they are there.

    Raises:
        BackendError: A sample failed, or the model could not be loaded.
    """
    run = _Bench(client, deployment, settings, clock, meter)
    tell("load the model")
    started = clock.now()
    await client.warm(deployment)
    load_s = clock.now() - started
    idle_w = await run.idle_watts()
    await run.wave(min(settings.waves))
    waves: list[WaveFigures] = []
    for width in settings.waves:
        tell(f"waves of {width}")
        waves.append(await run.figures(width))
        done(waves[-1])
    memory_bytes = process_tree_bytes()
    tell("late draws and prefill")
    return BenchReport(
        deployment=deployment,
        load_s=load_s,
        prompt_tokens=run.prompt_tokens,
        new_tokens=settings.new_tokens,
        rounds=settings.rounds,
        seed=settings.seed,
        waves=tuple(waves),
        late_first_token_s=await run.late_draws(),
        prefill_tokens_per_s=await run.prefill_tokens_per_s(),
        memory_bytes=memory_bytes,
        idle_w=idle_w,
        energy_source=None if meter.reason else meter.source,
        energy_reason=meter.reason,
    )


class _Bench:
    """One deployment under measurement."""

    def __init__(
        self,
        client: AsyncClient,
        deployment: str,
        settings: BenchSettings,
        clock: Clock,
        meter: EnergyMeter,
    ) -> None:
        self._client = client
        self._deployment = deployment
        self._settings = settings
        self._clock = clock
        self._meter = meter
        self._random = random.Random(settings.seed)  # noqa: S311 - words, not secrets
        self.prompt_tokens = 0
        """Of the last wave's prompt."""

    async def idle_watts(self) -> float | None:
        """Over one second in which nothing is asked for."""
        before = self._meter.joules()
        started = self._clock.now()
        if before is None:
            return None
        await self._clock.sleep(1.0)
        after = self._meter.joules()
        return None if after is None else (after - before) / (self._clock.now() - started)

    async def figures(self, width: int) -> WaveFigures:
        waves = [await self.wave(width) for _ in range(self._settings.rounds)]
        tokens = sum(wave.tokens for wave in waves)
        joules = [wave.joules for wave in waves if wave.joules is not None]
        return WaveFigures(
            width=width,
            tokens_per_s=_spread([wave.tokens / wave.took_s for wave in waves]),
            first_token_s=_spread([wave.first_token_s for wave in waves]),
            token_s=_token_s(waves),
            mean_tokens=tokens / (width * len(waves)),
            j_per_token=sum(joules) / tokens if len(joules) == len(waves) else None,
        )

    async def wave(self, width: int) -> _Wave:
        prompt = self._prompt(self._settings.prompt_tokens)
        return await self._run(prompt, width, self._settings.new_tokens)

    async def late_draws(self) -> Spread | None:
        """First-token times of samples drawn from a prompt that has been computed."""
        times: list[float] = []
        for _ in range(self._settings.rounds):
            async with self._client.open(
                self._prompt(self._settings.prompt_tokens),
                deployment=self._deployment,
                sampling=self._sampling(8),
            ) as generation:
                generation.draw()
                await _samples(generation)
                generation.draw()
                (late,) = await _samples(generation)
            if late.timing.first_token_s is not None:
                times.append(late.timing.first_token_s)
        return _spread(times) if times else None

    async def prefill_tokens_per_s(self) -> float | None:
        """From two prompts of different length, so that what they have in common cancels out."""
        rates: list[float] = []
        for _ in range(self._settings.rounds):
            sizes: list[tuple[int, float]] = []
            for wanted in (_SHORT_PREFILL_TOKENS, _LONG_PREFILL_TOKENS):
                wave = await self._run(self._prompt(wanted), 1, 1)
                sizes.append((self.prompt_tokens, wave.took_s))
            (short, short_s), (long, long_s) = sizes
            if long > short and long_s > short_s:
                rates.append((long - short) / (long_s - short_s))
        return statistics.median(rates) if rates else None

    async def _run(self, prompt: str, width: int, new_tokens: int) -> _Wave:
        async with self._client.open(
            prompt, deployment=self._deployment, sampling=self._sampling(new_tokens)
        ) as generation:
            before, started = self._meter.joules(), self._clock.now()
            generation.draw(width)
            samples = await _samples(generation)
            took_s, after = self._clock.now() - started, self._meter.joules()
        self.prompt_tokens = sum(sample.usage.input_tokens for sample in samples)
        joules = None if before is None or after is None else after - before
        return _Wave(samples=samples, took_s=max(took_s, 1e-9), joules=joules)

    def _prompt(self, tokens: int) -> str:
        """A new one each time, different from its first words on, so that no cache knows it."""
        words = self._random.choices(_WORDS, k=max(4, int(tokens / _TOKENS_PER_WORD) - 20))
        return f"{' '.join(words)}. Write a very long story in which all of these words occur."

    def _sampling(self, new_tokens: int) -> SamplingParams:
        seed = self._random.randrange(2**31)
        return SamplingParams(temperature=_TEMPERATURE, max_tokens=new_tokens, seed=seed)


async def _samples(generation: Generation) -> list[Sample]:
    """All that are running, by index.

    Raises:
        BackendError: One failed.
    """
    samples: list[Sample] = []
    async for event in generation:
        if isinstance(event, Failed):
            error: BackendError = event.error
            raise error
        if isinstance(event, Sample):
            samples.append(event)
    return sorted(samples, key=lambda sample: sample.index)


def _token_s(waves: Sequence[_Wave]) -> Spread | None:
    times = [
        (sample.timing.total_s - sample.timing.first_token_s) / (sample.usage.output_tokens - 1)
        for wave in waves
        for sample in wave.samples
        if sample.timing.first_token_s is not None and sample.usage.output_tokens > 1
    ]
    return _spread(times) if times else None


def _spread(values: Sequence[float]) -> Spread:
    return Spread(median=statistics.median(values), low=min(values), high=max(values))
