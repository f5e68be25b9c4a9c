"""Measures what a deployment does with waves of samples, through the same protocol that strategies use."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Sequence

from tt_compute.backend import Generation
from tt_compute.bench.energy import EnergyMeter
from tt_compute.bench.figures import Wave, wave_figures
from tt_compute.bench.memory import process_tree_bytes
from tt_compute.bench.prompts import MadePrompt, PromptMaker
from tt_compute.bench.report import BenchReport, BenchSettings, Spread, WaveFigures
from tt_compute.client import AsyncClient
from tt_compute.errors import BackendError
from tt_compute.types import Clock, DeploymentSpec, Failed, Sample, SamplingParams

__all__ = ["LATE_NEW_TOKENS", "Bench", "prefill_lengths"]

LATE_NEW_TOKENS = 8
"""Of the samples that only show when a first token comes."""
_SHORT_TOKENS, _LONG_TOKENS = 64, 1024
_TEMPERATURE = 0.8
_IDLE_S = 2.0


def prefill_lengths(max_context_tokens: int | None) -> tuple[int, int]:
    """Tokens of the two prompts that the prefill rate is had from."""
    room = _LONG_TOKENS if max_context_tokens is None else max_context_tokens // 2
    return min(_SHORT_TOKENS, room), min(_LONG_TOKENS, room)


class Bench:
    """One deployment under measurement.

    Args:
        client: Whose deployment it is; nothing of it has been used yet.
        spec: The deployment.
        settings: What is run.
        clock: The client's.
        meter: Of energy.
        tell: Told what is being measured.
        fetched: Whether the client had to fetch or convert weights.
    """

    def __init__(
        self,
        client: AsyncClient,
        spec: DeploymentSpec,
        settings: BenchSettings,
        *,
        clock: Clock,
        meter: EnergyMeter,
        tell: Callable[[str], None] = lambda _what: None,
        fetched: Callable[[], bool] = lambda: False,
    ) -> None:
        self._client = client
        self._spec = spec
        self._settings = settings
        self._clock = clock
        self._meter = meter
        self._tell = tell
        self._fetched = fetched
        self._random = random.Random(settings.seed)  # noqa: S311 - words, not secrets
        self._prompts = PromptMaker(self._random)
        self._prompt_tokens: list[int] = []
        self._load_s: float | None = None
        self._idle_w: float | None = None
        self._waves: list[WaveFigures] = []
        self._late: list[float] = []
        self._short_first: list[float] = []
        self._short_tokens: list[int] = []
        self._prefill_rates: list[float] = []
        self._warnings: list[str] = []

    async def run(self) -> None:
        """Measure everything; what was measured before an error or a cancel stays in ``report``.

        Raises:
            BackendError: A sample failed, or the model could not be loaded.
            UsageError: The deployment cannot do what the settings ask for.
        """
        await self._load()
        await self._measure_idle_power()
        await self._warm_up()
        for width in self._settings.waves:
            self._tell(f"waves of {width}")
            await self._measure_waves(width)
        self._tell("late draws")
        for _ in range(self._settings.rounds):
            await self._measure_late_draw()
        self._tell("prefill")
        for _ in range(self._settings.rounds):
            await self._measure_prefill()

    @property
    def report(self) -> BenchReport:
        """What has been measured so far."""
        return BenchReport(
            deployment=self._spec.id,
            prompt_tokens=_median(self._prompt_tokens),
            new_tokens=self._settings.new_tokens,
            rounds=self._settings.rounds,
            seed=self._settings.seed,
            load_s=self._load_s,
            waves=tuple(self._waves),
            late_first_token_s=Spread.of(self._late),
            short_prompt_first_token_s=Spread.of(self._short_first),
            short_prompt_tokens=_median(self._short_tokens),
            prefill_tokens_per_s=Spread.of(self._prefill_rates),
            idle_w=self._idle_w,
            energy_source=self._meter.source,
            energy_reason=self._meter.reason,
            warnings=tuple(self._warnings),
        )

    async def _load(self) -> None:
        self._tell("load the model")
        started = self._clock.now()
        await self._client.warm(self._spec.id)
        if self._fetched():
            self._warnings.append(
                "the time to load is unknown, as the weights were fetched or converted first"
            )
        else:
            self._load_s = self._clock.now() - started

    async def _measure_idle_power(self) -> None:
        before, started = self._meter.joules(), self._clock.now()
        if before is None:
            return
        self._tell("idle power")
        await self._clock.sleep(_IDLE_S)
        after = self._meter.joules()
        if after is not None:
            self._idle_w = (after - before) / (self._clock.now() - started)

    async def _warm_up(self) -> None:
        """Whatever happens at a first time only happens here, and the prompts' lengths are learnt."""
        self._tell("warm up")
        counted: list[tuple[int, int]] = []
        for tokens in prefill_lengths(self._spec.max_context_tokens):
            prompt = self._prompts.make(tokens)
            counted.append((prompt.words, (await self._run(prompt, 1, 1)).prompt_tokens))
        self._prompts.learn(*counted)
        await self._wave(self._settings.waves[0])

    async def _measure_waves(self, width: int) -> None:
        waves = [await self._wave(width) for _ in range(self._settings.rounds)]
        self._prompt_tokens += [wave.prompt_tokens for wave in waves]
        figures = wave_figures(width, waves, self._idle_w)
        self._waves.append(figures)
        if figures.at_once is not None and figures.at_once < width:
            self._warnings.append(self._narrower(figures.at_once, width))

    def _narrower(self, at_once: int, width: int) -> str:
        limit = self._spec.deployment.placement.max_sequences
        stated = "" if limit is None else f" (placement.max_sequences is {limit})"
        return f"of {width} samples at most {at_once} ran at once{stated}"

    async def _measure_late_draw(self) -> None:
        """The first-token time of a sample whose prompt has been computed."""
        prompt = self._prompts.make(self._settings.prompt_tokens)
        async with self._client.open(
            prompt.text, deployment=self._spec.id, sampling=self._sampling(LATE_NEW_TOKENS)
        ) as generation:
            generation.draw()
            await _samples(generation)
            generation.draw()
            (late,) = await _samples(generation)
        if late.timing.first_token_s is not None:
            self._late.append(late.timing.first_token_s)

    async def _measure_prefill(self) -> None:
        lengths = prefill_lengths(self._spec.max_context_tokens)
        short, long = [await self._run(self._prompts.make(tokens), 1, 1) for tokens in lengths]
        if short.first_token_s is not None:
            self._short_first.append(short.first_token_s)
            self._short_tokens.append(short.prompt_tokens)
        tokens = long.prompt_tokens - short.prompt_tokens
        seconds = long.took_s - short.took_s
        if tokens > 0 and seconds > 0:
            self._prefill_rates.append(tokens / seconds)

    async def _wave(self, width: int) -> Wave:
        prompt = self._prompts.make(self._settings.prompt_tokens)
        return await self._run(prompt, width, self._settings.new_tokens)

    async def _run(self, prompt: MadePrompt, width: int, new_tokens: int) -> Wave:
        async with self._client.open(
            prompt.text, deployment=self._spec.id, sampling=self._sampling(new_tokens)
        ) as generation:
            before, started = self._meter.joules(), self._clock.now()
            generation.draw(width)
            samples = await _samples(generation)
            took_s, after = self._clock.now() - started, self._meter.joules()
            # Within the scope, before the caches of its samples are given back.
            memory_bytes = process_tree_bytes()
        joules = None if before is None or after is None else after - before
        return Wave(samples=samples, took_s=took_s, joules=joules, memory_bytes=memory_bytes)

    def _sampling(self, new_tokens: int) -> SamplingParams:
        seed = self._random.randrange(2**31)
        return SamplingParams(temperature=_TEMPERATURE, max_tokens=new_tokens, seed=seed)


async def _samples(generation: Generation) -> tuple[Sample, ...]:
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
    return tuple(sorted(samples, key=lambda sample: sample.index))


def _median(counted: Sequence[int]) -> int | None:
    """Of what was counted; None where the deployment counts no prompts."""
    known = [tokens for tokens in counted if tokens]
    return statistics.median_low(known) if known else None
