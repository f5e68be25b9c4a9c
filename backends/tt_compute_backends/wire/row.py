"""One sample while it is made: collects what arrives and becomes the event that ends it."""

from __future__ import annotations

from typing import Final, Literal

from tt_compute.errors import BackendError, ServerError
from tt_compute.types import (
    Delta,
    Failed,
    FinishReason,
    RateLimit,
    Sample,
    Timing,
    TokenLogprob,
    ToolCall,
    Usage,
)
from tt_compute_backends.wire.decode import CallPiece, Choice, Piece, token_logprobs

__all__ = ["Row"]

_FINISH: Final[dict[str, FinishReason]] = {
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


class Row:
    """The state of one index.

    Args:
        index: Of the sample.
        drawn_at: When it was asked for.
    """

    def __init__(self, index: int, drawn_at: float) -> None:
        self.index = index
        self.drawn_at = drawn_at
        self.first_at: float | None = None
        self.pieces = 0
        self.text_bytes = 0
        self.finish: str | None = None
        self.cancelled: Literal["cancelled", "deadline"] | None = None
        self.ended = False
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._logprobs: list[TokenLogprob] = []
        self._calls: dict[int, _Call] = {}

    @property
    def text(self) -> str:
        return "".join(self._text)

    def take(self, choice: Choice, piece: Piece, now: float) -> Delta | None:
        """Add a piece; the delta of it when it holds anything to show."""
        text, reasoning = piece.text, piece.thought
        if choice.finish_reason is not None:
            self.finish = choice.finish_reason
        for place, call in enumerate(piece.tool_calls or ()):
            self._take_call(call, place if call.index is None else call.index)
        logprobs = token_logprobs(choice) if choice.logprobs is not None else ()
        if not text and not reasoning and not piece.tool_calls and not logprobs:
            return None
        if self.first_at is None:
            self.first_at = now
        self.pieces += 1
        self.text_bytes += len(text) + len(reasoning)
        self._text.append(text)
        if reasoning:
            self._reasoning.append(reasoning)
        self._logprobs += logprobs
        return Delta(index=self.index, text=text, reasoning=reasoning, logprobs=logprobs)

    def finished(
        self,
        *,
        usage: Usage,
        now: float,
        times: tuple[float | None, float | None, float | None],
        rate_limits: tuple[RateLimit, ...],
        request_id: str | None,
    ) -> Sample | Failed:
        """The event of a row whose answer is whole.

        Returns:
            ``Failed`` where the service says, by a reason of its own, that it gave up.
        """
        self.ended = True
        reason = _FINISH.get(self.finish or "stop")
        if reason is None:
            error = ServerError(f"the service ended the sample for the reason {self.finish!r}")
            return Failed(index=self.index, error=error, text=self.text, usage=usage)
        queue_s, prefill_s, decode_s = times
        return Sample(
            index=self.index,
            text=self.text,
            finish_reason="tool_calls" if self._calls and reason == "stop" else reason,
            usage=usage,
            timing=Timing(
                first_token_s=self._first_s(),
                total_s=now - self.drawn_at,
                queue_s=queue_s,
                prefill_s=prefill_s,
                decode_s=decode_s,
            ),
            reasoning="".join(self._reasoning),
            tool_calls=self._tool_calls(),
            logprobs=tuple(self._logprobs),
            rate_limits=rate_limits,
            request_id=request_id,
        )

    def stopped(self, reason: FinishReason, usage: Usage, now: float) -> Sample:
        """The event of a row that was cancelled, with what there is of it."""
        self.ended = True
        return self._sample(reason, usage, now)

    def failed(self, error: BackendError, usage: Usage) -> Failed:
        self.ended = True
        return Failed(index=self.index, error=error, text=self.text, usage=usage)

    def _sample(self, reason: FinishReason, usage: Usage, now: float) -> Sample:
        return Sample(
            index=self.index,
            text=self.text,
            finish_reason=reason,
            usage=usage,
            timing=Timing(first_token_s=self._first_s(), total_s=now - self.drawn_at),
            reasoning="".join(self._reasoning),
            logprobs=tuple(self._logprobs),
        )

    def _first_s(self) -> float | None:
        return None if self.first_at is None else self.first_at - self.drawn_at

    def _take_call(self, piece: CallPiece, index: int) -> None:
        call = self._calls.setdefault(index, _Call())
        call.id = piece.id or call.id
        call.name += piece.function.name or ""
        call.arguments += piece.function.arguments or ""

    def _tool_calls(self) -> tuple[ToolCall, ...]:
        return tuple(
            ToolCall(id=call.id, name=call.name, arguments=call.arguments)
            for _, call in sorted(self._calls.items())
        )


class _Call:
    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.arguments = ""
