"""One row of the batch: its settings on the way in, its tokens as text on the way out."""

from __future__ import annotations

from tt_compute.types import TokenLogprob
from tt_compute_backends.detokenize import RowText, TokenTable
from tt_compute_backends.engine.runtime import RowParams, RowStep
from tt_compute_backends.openvino_library import Handle, openvino_genai

__all__ = ["Row", "row_config"]

_GREEDY_BELOW = 1e-3
"""Temperatures under this put all weight on one token in float32, or overflow it."""

_Status = openvino_genai.GenerationStatus
_Reason = openvino_genai.GenerationFinishReason
_FINISH = {_Reason.STOP: "stop", _Reason.LENGTH: "length"}


def row_config(params: RowParams) -> openvino_genai.GenerationConfig:
    """The runtime's settings for one row.

    Stop strings are not among them: the runtime cuts at whole tokens, ``RowText`` at the character.
    """
    config = openvino_genai.GenerationConfig()
    config.apply_chat_template = False
    config.max_new_tokens = params.max_tokens
    config.rng_seed = params.seed
    config.logprobs = params.logprobs
    config.presence_penalty = params.presence_penalty
    config.frequency_penalty = params.frequency_penalty
    if params.temperature >= _GREEDY_BELOW:
        config.do_sample = True
        config.temperature = params.temperature
        config.top_p = params.top_p
        if params.top_k is not None:
            config.top_k = params.top_k
    if params.json_schema is not None:
        config.structured_output_config = openvino_genai.StructuredOutputConfig(
            json_schema=params.json_schema
        )
    return config


class Row:
    """A row in the running batch.

    Args:
        number: The engine's.
        handle: The runtime's.
        prompt: Its token ids.
        cached_tokens: Of the prompt, known to lie in the prefix cache.
        table: The model's vocabulary.
        params: As given to the runtime.
    """

    def __init__(
        self,
        number: int,
        handle: Handle,
        *,
        prompt: tuple[int, ...],
        cached_tokens: int,
        table: TokenTable,
        params: RowParams,
    ) -> None:
        self.prompt = prompt
        self.cached_tokens = cached_tokens
        self.tokens = 0
        """Completion tokens so far."""
        self._number = number
        self._handle = handle
        self._table = table
        self._wants_logprobs = params.logprobs > 0
        self._text = RowText(table, params.stop)

    def cancel(self) -> None:
        """Ask the runtime to drop the row in its next step."""
        self._handle.cancel()

    def collect(self) -> RowStep | None:
        """What the last step did to the row; None = nothing, it waits or is still in its prefill."""
        ids, logprobs, reason = self._read()
        finish = self._finish(reason)
        if not ids and finish is None:
            return None
        text = self._text.feed(ids)
        if self._text.stopped:
            finish = "stop"
            self._handle.cancel()
        elif finish is not None:
            text += self._text.finish()
        first = self.tokens == 0
        self.tokens += len(ids)
        return RowStep(
            row=self._number,
            text=text,
            tokens=len(ids),
            cached_tokens=self.cached_tokens if first else 0,
            logprobs=self._named(ids, logprobs) if self._wants_logprobs else (),
            finish=finish,
        )

    def _read(self) -> tuple[list[int], list[float], openvino_genai.GenerationFinishReason]:
        """All unread output. Reading a drained handle would hang the interpreter."""
        ids: list[int] = []
        logprobs: list[float] = []
        reason = _Reason.NONE
        handle = self._handle
        while handle.can_read():
            for output in handle.read().values():
                ids += output.generated_ids
                if self._wants_logprobs:
                    logprobs += output.generated_log_probs
                reason = output.finish_reason
        return ids, logprobs, reason

    def _finish(self, reason: openvino_genai.GenerationFinishReason) -> str | None:
        if reason != _Reason.NONE:
            return _FINISH.get(reason, "stop")
        if self._handle.get_status() == _Status.RUNNING:
            return None
        # Nobody cancelled the row, so the runtime gave it up: the cache has no room for it.
        return "oom"

    def _named(self, ids: list[int], logprobs: list[float]) -> tuple[TokenLogprob, ...]:
        name = self._table.name
        return tuple(
            TokenLogprob(token=name(token), logprob=min(0.0, logprob))
            for token, logprob in zip(ids, logprobs, strict=True)
        )
