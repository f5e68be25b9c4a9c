"""What a run hands back: the answer, every sample, the receipt, and what a stream shows on the way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from tt_compute.planning.types import Candidate, Plan, Prediction
from tt_compute.profiles.schema import TaskKind
from tt_compute.types import FinishReason

__all__ = [
    "Attempt",
    "Progress",
    "Receipt",
    "Result",
    "Revision",
    "SampleRecord",
    "StopReason",
    "Tally",
    "TextDelta",
]

StopReason = Literal["settled", "budget", "deadline", "cost", "verifier", "interrupted", "failed"]


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One try at a deployment, as the ledger booked it."""

    deployment: str
    outcome: Literal["ok", "failed", "cancelled", "deadline"]
    status: str | None = None
    """Class of the error, or None."""
    latency_s: float | None = None


class SampleRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One sample as the caller sees it."""

    index: int
    deployment: str
    answer: str | None
    text: str
    finish_reason: FinishReason | None
    """None for a sample that failed."""
    output_tokens: int
    mean_logprob: float | None = None
    score: float | None = None


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """How the finished samples of the request's own prompt came out, without their texts."""

    votes: tuple[int, ...] = ()
    """Samples of each answer, the one that was given first."""
    abstained: int = 0
    """Samples in which no answer was found."""
    accepted: int = 0
    refused: int = 0
    """By the verifier."""
    verdicts: Mapping[int, bool] = {}
    """Of the samples that a verifier which does not err judged, by index: whether it accepted them."""
    greedy: bool = False
    """Drawn at temperature 0."""
    prompt_tokens: int | None = None
    """As they were estimated for the plan."""
    decoding_s: float | None = None
    """From each sample's first token to its end, added up over all samples; None = one does not tell."""
    elsewhere: frozenset[int] = frozenset()
    """Indices of the samples of other prompts, which a strategy opened: parts of an answer, or about one."""
    uncounted: frozenset[int] = frozenset()
    """Those of samples that a vote drew ahead of need and ended without."""


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What the run took, beside what was predicted. None is unknown, never free."""

    samples_drawn: int
    """finished + cancelled + failed."""
    samples_finished: int
    samples_cancelled: int
    samples_failed: int
    stop_reason: StopReason
    stop_posterior: float | None
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    """All completion tokens billed or assumed billed, those of cancelled and failed samples included."""
    cancelled_tokens: int
    verifier_tokens: int
    cost_usd: float | None
    energy_j: float | None
    latency_s: float
    first_token_s: float | None
    seed: int
    attempts: tuple[Attempt, ...]
    predicted: Prediction


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The answer and how it was reached."""

    id: str
    answer: str | None
    """None when no sample held an answer that could be extracted; see ``warnings``."""
    text: str
    confidence: float | None
    """Estimated P(answer correct) by the ability model; None without one."""
    task: TaskKind
    plan: Plan
    samples: tuple[SampleRecord, ...]
    receipt: Receipt
    warnings: tuple[str, ...] = ()
    ignored_params: tuple[str, ...] = ()
    """Soft sampling parameters that the deployment does not know and that were dropped."""
    tally: Tally = Tally()
    """Not part of the JSON contract."""
    weights: str | None = None
    """Which weights answered, as far as that is known; what is learned of others says nothing of them."""
    runtime: str | None = None
    """Which version of which backend, with which options."""

    def to_dict(self) -> dict[str, Any]:
        """The JSON contract's ``solve``."""
        chosen = self.plan.chosen
        return {
            "id": self.id,
            "answer": self.answer,
            "text": self.text,
            "confidence": self.confidence,
            "task": self.task,
            "plan": None if chosen is None else chosen.to_dict(),
            "samples": msgspec.to_builtins(self.samples),
            "receipt": msgspec.to_builtins(self.receipt),
            "warnings": list(self.warnings),
        }


class TextDelta(msgspec.Struct, frozen=True, kw_only=True):
    """The next piece of the text that is shown."""

    text: str


class Revision(msgspec.Struct, frozen=True, kw_only=True):
    """The text that replaces all that was shown so far."""

    text: str


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """The best answer of a run that still goes on; None and "" as long as there is none."""

    answer: str | None
    text: str
    winner: int | None
    """Index of the sample that stands for it."""
    posterior: float | None
    """The stop rule's own figure, as in ``Receipt.stop_posterior``."""
    confidence: float | None
    """P(it is correct), by the ability model; None where that does not know, or a verifier judges."""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Where the run stands.

    Sent once it is planned, and whenever a sample starts, ends or is stopped, or the vote moves.
    """

    plan: Candidate
    drawn: int
    live: int
    finished: tuple[SampleRecord, ...]
    """Samples that ended so far, in the order in which they ended."""
    votes: tuple[tuple[str, int], ...] = ()
    """Answer and votes, leader first."""
    posterior: float | None = None
    """The stop rule's own figure."""
    stopped: tuple[int, ...] = ()
    """Indices that were told to stop because the run was settled."""
