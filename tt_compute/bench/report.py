"""What a benchmark is asked for and what it found, as data."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import msgspec

__all__ = ["BenchReport", "BenchSettings", "Spread", "WaveFigures"]


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """Of several rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        """None without values."""
        if not values:
            return None
        return cls(median=statistics.median(values), low=min(values), high=max(values))


class BenchSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What is run."""

    waves: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    """Samples drawn together; rising."""
    prompt_tokens: int = 200
    """About; the model's tokeniser decides."""
    new_tokens: int = 128
    """Most of a sample; it may end earlier by itself."""
    rounds: int = 3
    seed: int = 0


class WaveFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Waves of one width."""

    width: int
    at_once: int | None
    """Most samples that were decoding together; fewer than the width where the deployment holds fewer, or where
    some had ended before others began. None = no times were given."""
    tokens_per_s: Spread
    """All tokens of a wave over its whole time, prefill included."""
    decode_tokens_per_s: Spread | None
    """Of the samples decoding together, prefill excluded; None when they had one token, or took no time."""
    first_token_s: Spread | None
    """Of the first sample, from the draw on (TTFT)."""
    token_s: Spread | None
    """Between two tokens of one sample (TPOT), over all samples; None when they had one token."""
    mean_tokens: float
    """Of a sample."""
    memory_bytes: int | None
    """Resident, of this process and its engines, at the end of a wave."""
    j_per_token: float | None
    """Of all that the meter counts, idle power included."""
    j_per_token_above_idle: float | None
    """Without what the machine would have taken had it been idle; None also when no more was taken than that."""


class BenchReport(msgspec.Struct, frozen=True, kw_only=True):
    """All that was measured of a deployment; None is what the machine does not tell or what did not come to be."""

    deployment: str
    prompt_tokens: int | None
    """Of the waves' prompts, median, as the deployment counts them."""
    new_tokens: int
    rounds: int
    seed: int
    load_s: float | None
    """Until the model was ready; None when its weights had to be fetched or converted first."""
    waves: tuple[WaveFigures, ...]
    late_first_token_s: Spread | None
    """Of a sample drawn when its prompt had been computed."""
    short_prompt_first_token_s: Spread | None
    """Of a first sample of a prompt of about 64 tokens."""
    short_prompt_tokens: int | None
    """That prompt's, median, as the deployment counts them."""
    prefill_tokens_per_s: Spread | None
    """From prompts of two lengths, so that what they have in common cancels out."""
    idle_w: float | None
    """Of all that the meter counts, the model loaded and nothing asked for."""
    energy_source: str | None
    """What the meter counts."""
    energy_reason: str | None
    """What it does not count, and why."""
    warnings: tuple[str, ...] = ()

    def wave(self, width: int) -> WaveFigures | None:
        """The figures of one width; None = not measured."""
        return next((wave for wave in self.waves if wave.width == width), None)
