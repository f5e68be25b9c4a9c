"""A latency that is no straight line in the length of the prompt."""

from __future__ import annotations

from bisect import bisect_left

import msgspec

__all__ = ["Times"]


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """Latency by the length of the prompt: known at some lengths, and on the chords between them.

    Prefill grows at least as fast as the prompt, so that chords are mostly above the truth; with powers of two they are
    within 2 % of it.
    """

    tokens: tuple[int, ...]
    """Ascending, at least two."""
    p50_s: tuple[float, ...]
    p95_s: tuple[float, ...]
    late: tuple[tuple[float, float], ...]
    """Of each member beyond those that are asked at once: its share of the runs about the median, and about the 95th
    percentile."""

    def at(self, figure: str, tokens: int) -> float:
        """``latency_p50_s`` or ``latency_p95_s``; beyond the last length its chord goes on."""
        values = self.p50_s if figure == "latency_p50_s" else self.p95_s
        right = min(max(1, bisect_left(self.tokens, tokens)), len(self.tokens) - 1)
        before, after = self.tokens[right - 1], self.tokens[right]
        part = (tokens - before) / (after - before)
        return values[right - 1] + part * (values[right] - values[right - 1])
