"""How many tokens a service will bill for what it did not count: an upper bound, learnt from what it did count."""

from __future__ import annotations

import math

__all__ = ["TokenMeter"]

_BYTES_PER_TOKEN = 3.0
"""Of prompts and texts before anything was counted; English takes about 4.5, so this errs upwards."""


class TokenMeter:
    """One deployment's rates. The largest rates seen so far are kept, so that a bound stays one."""

    def __init__(self) -> None:
        self._prompt_per_byte: float | None = None
        self._per_piece: float | None = None

    def learn(self, *, prompt_bytes: int, prompt_tokens: int, pieces: int, tokens: int) -> None:
        """Enter an answer that was counted by the service; ``pieces`` = events with text, 0 = not streamed."""
        if prompt_bytes and prompt_tokens:
            self._prompt_per_byte = max(self._prompt_per_byte or 0.0, prompt_tokens / prompt_bytes)
        if pieces and tokens:
            self._per_piece = max(self._per_piece or 0.0, tokens / pieces)

    def prompt_tokens(self, prompt_bytes: int) -> int:
        rate = self._prompt_per_byte
        return math.ceil(prompt_bytes / _BYTES_PER_TOKEN if rate is None else prompt_bytes * rate)

    def output_tokens(
        self,
        *,
        pieces: int,
        text_bytes: int,
        streamed_s: float,
        round_trip_s: float,
        max_tokens: int | None,
    ) -> int:
        """Of a stream that was left.

        Args:
            pieces: Events with text so far.
            text_bytes: Of all text so far.
            streamed_s: Since the first of them.
            round_trip_s: To the server: what it makes of the sample and is never seen is what was on the way here,
                and what it makes until it learns that nobody listens.
            max_tokens: What the request allowed.
        """
        if self._per_piece is None:
            so_far = max(float(pieces), text_bytes / _BYTES_PER_TOKEN / 1.5)
        else:
            so_far = pieces * self._per_piece
        on_the_way = so_far / streamed_s * round_trip_s if streamed_s > 0 else 0.0
        bound = math.ceil(so_far + min(on_the_way, so_far)) + (1 if pieces else 0)
        return bound if max_tokens is None else min(bound, max_tokens)
