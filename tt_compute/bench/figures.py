"""Waves as they were timed -> figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

import msgspec

from tt_compute.bench.report import Spread, WaveFigures
from tt_compute.types import Sample

__all__ = ["Wave", "wave_figures"]

T = TypeVar("T")
_LEAST_S = 1e-9
"""A clock that did not move still must not divide by 0."""


class Wave(msgspec.Struct, frozen=True, kw_only=True):
    """A wave that has ended."""

    samples: tuple[Sample, ...]
    """By index; never none."""
    took_s: float
    joules: float | None
    memory_bytes: int | None

    @property
    def tokens(self) -> int:
        return sum(sample.usage.output_tokens for sample in self.samples)

    @property
    def first_token_s(self) -> float | None:
        return self.samples[0].timing.first_token_s

    @property
    def prompt_tokens(self) -> int:
        """Of its prompt; who computes it for each sample books it on each, so this is not the sum."""
        return max(sample.usage.input_tokens for sample in self.samples)


def wave_figures(width: int, waves: Sequence[Wave], idle_w: float | None) -> WaveFigures:
    """What waves of one width come to.

    Args:
        width: Samples that were drawn in each.
        waves: One for each round.
        idle_w: What the meter's parts take when nothing is asked for; None = unknown.
    """
    tokens = sum(wave.tokens for wave in waves)
    joules = _known(wave.joules for wave in waves)
    total_j = sum(joules) if len(joules) == len(waves) else None
    extra_j = None
    if total_j is not None and idle_w is not None:
        extra_j = total_j - idle_w * sum(wave.took_s for wave in waves)
    overall = Spread.of([wave.tokens / max(wave.took_s, _LEAST_S) for wave in waves])
    assert overall is not None
    return WaveFigures(
        width=width,
        at_once=max((_at_once(wave) for wave in waves), default=0) or None,
        tokens_per_s=overall,
        decode_tokens_per_s=Spread.of(_known(_decode_rate(wave) for wave in waves)),
        first_token_s=Spread.of(_known(wave.first_token_s for wave in waves)),
        token_s=Spread.of([pace for wave in waves for pace in _paces(wave)]),
        mean_tokens=tokens / (width * len(waves)),
        memory_bytes=max(_known(wave.memory_bytes for wave in waves), default=None),
        j_per_token=_per_token(total_j, tokens),
        j_per_token_above_idle=_per_token(extra_j, tokens),
    )


def _known(values: Iterable[T | None]) -> list[T]:
    return [value for value in values if value is not None]


def _per_token(joules: float | None, tokens: int) -> float | None:
    return None if joules is None or joules <= 0 or not tokens else joules / tokens


def _paces(wave: Wave) -> list[float]:
    """Seconds between two tokens, of each sample that has two."""
    return [
        (sample.timing.total_s - sample.timing.first_token_s) / (sample.usage.output_tokens - 1)
        for sample in wave.samples
        if sample.timing.first_token_s is not None and sample.usage.output_tokens > 1
    ]


def _at_once(wave: Wave) -> int:
    spans = [
        (sample.timing.first_token_s, sample.timing.total_s)
        for sample in wave.samples
        if sample.timing.first_token_s is not None
    ]
    return max((sum(a <= start <= b for a, b in spans) for start, _ in spans), default=0)


def _decode_rate(wave: Wave) -> float | None:
    """Total rate of the samples that decode together, from the pace that each of them had.

    Not tokens over time: a wave whose samples end one by one is narrower than its width for a part of it.
    """
    paces = _paces(wave)
    if not paces or min(paces) <= 0:
        return None
    return _at_once(wave) * sum(1 / pace for pace in paces) / len(paces)
