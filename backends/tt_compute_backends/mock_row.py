"""One sample of the mock on its way."""

from __future__ import annotations

import math
from collections.abc import Iterator

from tt_compute.types import (
    BackendError,
    Delta,
    Failed,
    FinishReason,
    Sample,
    Timing,
    Usage,
)
from tt_compute_backends.mock_reply import Reply

__all__ = ["TICK_S", "Row"]

TICK_S = 1e-9
"""Times nearer than this are one time: sums of floats miss each other by less."""


class Row:
    """A drawn sample: a known reply and how much of it was handed out.

    Args:
        index: Of the sample.
        reply: What it will be.
        drawn_at: When ``draw`` asked for it.
    """

    def __init__(self, index: int, reply: Reply, drawn_at: float) -> None:
        self.index = index
        self.reply = reply
        self.admitted = False
        """Whether the engine has taken it up; before that it costs nothing."""
        self.input_tokens = 0
        self._drawn_at = drawn_at
        self._first_at = drawn_at + reply.ttft_s
        self._told = 0
        last = self.time_of(len(reply.pieces))
        effect = None if reply.strike is None else reply.strike.effect
        self.ends_at = last if effect in {None, "fails"} else math.inf
        """When it ends by itself; infinite when it never does."""
        self.kills_at = last if effect == "kills" else math.inf
        """When it takes the whole generation down."""

    def has_begun(self, time: float, *, awaited: bool) -> bool:
        """Whether the engine takes it up by ``time``.

        One that takes time does so as soon as time passes; an instant one waits until a consumer
        waits for it, else it would be over before anybody could cancel it.
        """
        if awaited:
            return time >= self._drawn_at
        return time > self._drawn_at and self.reply.ttft_s + self.reply.token_s > 0

    def has_ended(self, time: float) -> bool:
        """Whether it has ended by itself by ``time``."""
        return self.admitted and self.ends_at <= time + TICK_S

    def time_of(self, made: int) -> float:
        """When that many tokens are made."""
        return self._first_at + max(0, made - 1) * self.reply.token_s

    def made_at(self, time: float) -> int:
        """Tokens made by then."""
        total = len(self.reply.pieces)
        elapsed = time + TICK_S - self._first_at
        if not self.admitted or elapsed < 0:
            return 0
        if self.reply.token_s == 0:
            return total
        return min(total, int(elapsed / self.reply.token_s) + 1)

    def next_time(self, *, stream: bool) -> float:
        """When there will be something to tell."""
        end = min(self.ends_at, self.kills_at)
        if stream and self._told < len(self.reply.pieces):
            return min(end, self.time_of(self._told + 1))
        return end

    def deltas(self, time: float, *, logprobs: bool) -> Iterator[tuple[int, Delta]]:
        """What was made by ``time`` and not told yet, each with the tokens made by then.

        One delta per token; tokens that a late consumer missed come as one.
        """
        made = self.made_at(time)
        stride = 1 if self.reply.token_s == 0 else max(1, made - self._told)
        while self._told < made:
            end = min(made, self._told + stride)
            text = "".join(self.reply.pieces[self._told : end])
            shown = self.reply.logprobs[self._told : end] if logprobs else ()
            self._told = end
            if text or shown:
                yield end, Delta(index=self.index, text=text, logprobs=shown)

    def natural_end(self) -> Sample | Failed:
        """Its end when nothing outside ends it."""
        if self.reply.strike is not None:
            return self.failed(self.ends_at, self.reply.strike.error)
        return self.sample(self.ends_at, self.reply.finish_reason)

    def sample(self, time: float, reason: FinishReason) -> Sample:
        """The sample as it stands at ``time``."""
        made = self.made_at(time)
        return Sample(
            index=self.index,
            text=self._text(made),
            finish_reason=reason,
            usage=self._usage(made),
            timing=Timing(
                first_token_s=self.reply.ttft_s if made else None,
                total_s=max(0.0, time - self._drawn_at),
            ),
            logprobs=self.reply.logprobs[:made],
            rate_limits=self.reply.rate_limits,
        )

    def failed(self, time: float, error: BackendError) -> Failed:
        """The sample lost at ``time``."""
        made = self.made_at(time)
        return Failed(index=self.index, error=error, text=self._text(made), usage=self._usage(made))

    def _text(self, made: int) -> str:
        return "".join(self.reply.pieces[:made])

    def _usage(self, made: int) -> Usage:
        """What is said of its tokens, which a fault may have made wrong."""
        booking = self.reply.booking
        if booking == "missing":
            return Usage()
        if booking == "too_large":
            made = round(made * self.reply.factor)
        return Usage(
            input_tokens=self.input_tokens, output_tokens=made, estimated=booking == "estimated"
        )
