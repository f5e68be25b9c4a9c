"""What the engine remembers of an open prompt and of each sample drawn from it."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from tt_compute.types import (
    Delta,
    FinishReason,
    GenerateRequest,
    Sample,
    Timing,
    TokenLogprob,
    Usage,
)
from tt_compute_backends.engine.messages import Events, WireError, WireFailed
from tt_compute_backends.engine.runtime import Prompt, RowStep

__all__ = ["OpenPrompt", "Row"]


@dataclass(slots=True, eq=False)
class Row:
    """One sample: queued while ``number`` is None, then a row of the batch."""

    index: int
    asked_s: float
    number: int | None = None
    """Its number at the runtime."""
    text: list[str] = field(default_factory=list[str])
    tokens: int = 0
    cached_tokens: int = 0
    logprobs: list[TokenLogprob] = field(default_factory=list[TokenLogprob])
    certainty: float | None = None
    """Sum over its tokens; None until the runtime tells."""
    first_token_s: float | None = None
    prefilled: bool = False
    """Its prompt has been computed to the end."""
    pays_prompt: bool = False
    """The whole prompt is booked on it, not only what it did not find cached."""

    def take(self, step: RowStep, now: float) -> None:
        self.cached_tokens += step.cached_tokens
        if step.text:
            self.text.append(step.text)
        if step.logprobs:
            self.logprobs.extend(step.logprobs)
        if step.certainty is not None:
            self.certainty = (self.certainty or 0.0) + step.certainty
        if step.tokens:
            self.tokens += step.tokens
            if self.first_token_s is None:
                self.first_token_s = now - self.asked_s

    @property
    def self_certainty(self) -> float | None:
        return None if self.certainty is None else self.certainty / max(1, self.tokens)


@dataclass(slots=True, eq=False)
class OpenPrompt:
    """An open prompt with its samples, and the events that have not been sent yet."""

    id: int
    request: GenerateRequest
    prompt: Prompt
    seed: int
    deadline_s: float | None
    """On the engine's clock."""
    shared: bool
    """Whether later rows find cached what an earlier one computed."""
    queued: OrderedDict[int, Row] = field(default_factory=OrderedDict[int, Row])
    live: dict[int, Row] = field(default_factory=dict[int, Row])
    """By index."""
    leader: Row | None = None
    """The row that computes the prompt while the others wait."""
    computed: bool = False
    """A row has computed the prompt, and later ones find it cached."""
    booked: bool = False
    """The whole prompt has been booked on a sample."""
    ticket: int = 0
    """Its place among prompts that wait for a row."""
    deltas: list[Delta] = field(default_factory=list[Delta])
    samples: list[Sample] = field(default_factory=list[Sample])
    failures: list[WireFailed] = field(default_factory=list[WireFailed])

    def take(self, row: Row, step: RowStep, now: float) -> None:
        """Book what one step did to ``row``, and make its delta."""
        row.take(step, now)
        if not row.prefilled and (step.tokens or step.finish in {"stop", "length"}):
            self._computed_by(row)
        wanted = self.request.deltas
        if wanted != "none" and (step.tokens or step.text):
            logprobs = step.logprobs if wanted == "logprobs" else ()
            self.deltas.append(Delta(index=row.index, text=step.text, logprobs=logprobs))

    def end(self, row: Row, reason: FinishReason, now: float) -> None:
        """Make the ``Sample`` of a row that is over."""
        usage = self._usage(row)
        self.samples.append(
            Sample(
                index=row.index,
                text="".join(row.text),
                finish_reason=reason,
                usage=usage,
                timing=Timing(first_token_s=row.first_token_s, total_s=now - row.asked_s),
                logprobs=tuple(row.logprobs),
                self_certainty=row.self_certainty,
            )
        )
        self._forget(row)

    def fail(self, row: Row, error: WireError) -> None:
        """Make the ``Failed`` of a row that is lost."""
        usage = self._usage(row)
        text = "".join(row.text)
        self.failures.append(WireFailed(index=row.index, error=error, text=text, usage=usage))
        self._forget(row)

    def lost_cache(self) -> None:
        """The runtime dropped what it had computed; the next row leads again."""
        self.leader = None
        self.computed = False

    def take_events(self) -> Events | None:
        """What has happened since the last call; None when nothing has."""
        if not (self.deltas or self.samples or self.failures):
            return None
        events = Events(
            generation=self.id, deltas=self.deltas, samples=self.samples, failures=self.failures
        )
        self.deltas, self.samples, self.failures = [], [], []
        return events

    def _computed_by(self, row: Row) -> None:
        row.prefilled = True
        row.pays_prompt = not self.booked
        self.booked = True
        self.computed = self.shared
        if self.leader is row:
            self.leader = None

    def _usage(self, row: Row) -> Usage:
        """Prompt tokens go to the sample that caused their prefill, so that the sum is the work done.

        The first row to compute the prompt carries all of it; a later one only what it did not find
        cached (the runtime's unshared tail). A row that ended inside its prefill carries the whole
        prompt, as must be assumed, unless it can have found it cached.
        """
        length = len(self.prompt.token_ids)
        if row.pays_prompt:
            return Usage(
                input_tokens=length, cached_tokens=row.cached_tokens, output_tokens=row.tokens
            )
        if row.prefilled:
            return Usage(input_tokens=length - row.cached_tokens, output_tokens=row.tokens)
        if row.number is None or self.computed:
            return Usage()
        self.booked = True
        return Usage(input_tokens=length, cached_tokens=row.cached_tokens)

    def _forget(self, row: Row) -> None:
        self.queued.pop(row.index, None)
        self.live.pop(row.index, None)
        if self.leader is row:
            self.leader = None
