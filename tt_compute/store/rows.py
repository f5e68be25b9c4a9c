"""A result as rows: its numbers, never its texts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from tt_compute.planning.types import Candidate
from tt_compute.results import Result, SampleRecord
from tt_compute.store.schema import PREDICTED, RECEIPT_COLUMNS, SAMPLE_COLUMNS

__all__ = ["Value", "prompt_hash", "receipt_row", "sample_rows"]

Value = str | bytes | int | float | None

_HASH_BYTES = 16
_FINISHED = {"stop", "length", "tool_calls", "content_filter"}


def prompt_hash(prompt: str, key: bytes) -> bytes:
    """BLAKE2b of the prompt under the store's own random key, 16 bytes.

    Equal prompts of one store have equal hashes. Tables of hashes made elsewhere, another store's
    included, say nothing about it; who has the file and a guess of the whole prompt can check the guess.
    """
    # Lone surrogates can stand in a str and not in UTF-8.
    text = prompt.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, key=key, digest_size=_HASH_BYTES).digest()


def receipt_row(
    result: Result, chosen: Candidate, *, created_at: float, mock: bool, hashed: bytes
) -> tuple[Value, ...]:
    """The values of ``RECEIPT_COLUMNS``, in their order."""
    receipt = result.receipt
    wave = max(1, min(chosen.wave, receipt.samples_drawn))
    decode = _decode(result, chosen, wave)
    known: dict[str, Value] = {
        **{name: getattr(chosen, name) for name in ("deployment", "backend", "model", "strategy")},
        **{name: getattr(receipt, name) for name in RECEIPT_COLUMNS if hasattr(receipt, name)},
        **{
            PREDICTED + name: getattr(receipt.predicted, name)
            for name in msgspec.structs.asdict(receipt.predicted)
        },
        **msgspec.structs.asdict(result.tally),
        "votes": ",".join(map(str, result.tally.votes)),
        "weights": result.weights,
        "runtime": result.runtime,
        "id": result.id,
        "created_at": created_at,
        "is_mock": mock,
        "task": result.task,
        "stop_rule": chosen.stop_rule,
        "max_samples": chosen.max_samples,
        "wave": wave,
        "prompt_hash": hashed,
        "answered": result.answer is not None,
        "confidence": result.confidence,
        "decode_tokens": None if decode is None else decode.tokens,
        "decode_s": None if decode is None else decode.seconds,
        "decode_rows": None if decode is None else decode.rows,
        "correct": None,
    }
    return tuple(known[name] for name in RECEIPT_COLUMNS)


def sample_rows(result: Result, number: int) -> Iterator[tuple[Value, ...]]:
    """The values of ``SAMPLE_COLUMNS``, in their order, for each sample.

    Args:
        result: Where the samples stand.
        number: Of the receipt's row.
    """
    models = {candidate.deployment: candidate.model for candidate in result.plan.candidates}
    if result.plan.chosen is not None:
        models[result.plan.chosen.deployment] = result.plan.chosen.model
    for sample in result.samples:
        values: dict[str, Value] = {
            "receipt": number,
            "sample_index": sample.index,
            "deployment": sample.deployment,
            "model": models.get(sample.deployment),
            "finish_reason": sample.finish_reason,
            "finished": sample.finish_reason in _FINISHED,
            "own": sample.index not in result.tally.elsewhere,
            "counted": sample.index not in result.tally.uncounted,
            "output_tokens": sample.output_tokens,
            "answered": sample.answer is not None,
            "agrees": _agrees(sample, result),
            "accepted": result.tally.verdicts.get(sample.index),
            "mean_logprob": sample.mean_logprob,
            "score": sample.score,
        }
        yield tuple(values[name] for name in SAMPLE_COLUMNS)


def _agrees(sample: SampleRecord, result: Result) -> bool:
    return sample.answer is not None and sample.answer == result.answer


class _Decode(NamedTuple):
    """What a run tells of the deployment's speed."""

    tokens: int
    """After each sample's first one."""
    seconds: float
    rows: float
    """Samples in flight, on average: a vote's last ones are fewer than its wave."""


def _decode(result: Result, chosen: Candidate, wave: int) -> _Decode | None:
    """None when the run does not tell.

    A run with a sample from another deployment or of another prompt, or with an attempt that failed, does not
    tell what the planned one can do; nor does one with a sample whose tokens nobody counted.
    """
    receipt = result.receipt
    failed = any(attempt.outcome == "failed" for attempt in receipt.attempts)
    if receipt.first_token_s is None or failed or result.tally.elsewhere:
        return None
    if {sample.deployment for sample in result.samples} != {chosen.deployment}:
        return None
    counts = [sample.output_tokens for sample in result.samples]
    tokens = sum(counts) - len(counts) if all(counts) else 0
    seconds = receipt.latency_s - receipt.first_token_s
    if tokens <= 0 or seconds <= 0:
        return None
    if receipt.samples_drawn == 1:
        return _Decode(tokens, seconds, 1.0)
    rows = min((result.tally.decoding_s or 0.0) / seconds, float(wave))
    return _Decode(tokens, seconds, rows) if rows > 0 else None
