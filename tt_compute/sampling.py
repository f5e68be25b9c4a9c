"""Which sampling parameters make sense anywhere; what a backend lacks, it refuses itself."""

from __future__ import annotations

from typing import TypeVar

from tt_compute.errors import InvalidRequestError
from tt_compute.types import SamplingParams

__all__ = ["MAX_STOP_STRINGS", "check_encodable", "check_sampling"]

MAX_STOP_STRINGS = 16
_MAX_TEMPERATURE = 5.0
_MAX_PENALTY = 2.0
_MAX_SEED = 2**63 - 1
"""What every wire format and runtime can carry."""

_Number = TypeVar("_Number", int, float)


def check_sampling(sampling: SamplingParams) -> None:
    """Refuse values out of range.

    Raises:
        InvalidRequestError: One is.
    """
    _check_range("temperature", sampling.temperature, low=0.0, high=_MAX_TEMPERATURE)
    _check_range("top_p", sampling.top_p, low=0.0, high=1.0, above_low=True)
    _check_range("top_k", sampling.top_k, low=1)
    _check_range("max_tokens", sampling.max_tokens, low=1)
    _check_range("seed", sampling.seed, low=-_MAX_SEED, high=_MAX_SEED)
    _check_range("logprobs", sampling.logprobs, low=0)
    _check_range(
        "presence_penalty", sampling.presence_penalty, low=-_MAX_PENALTY, high=_MAX_PENALTY
    )
    _check_range(
        "frequency_penalty", sampling.frequency_penalty, low=-_MAX_PENALTY, high=_MAX_PENALTY
    )
    if len(sampling.stop) > MAX_STOP_STRINGS:
        raise InvalidRequestError(f"stop: {len(sampling.stop)} strings, at most {MAX_STOP_STRINGS}")
    for position, text in enumerate(sampling.stop):
        if not text:
            raise InvalidRequestError(f"stop[{position}] is empty")
        check_encodable(f"stop[{position}]", text)


def check_encodable(what: str, text: str) -> None:
    """Refuse text that is no text.

    Raises:
        InvalidRequestError: It holds half a surrogate pair, as text does that was decoded wrongly.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequestError(
            f"{what}: {text[error.start]!r} at {error.start} is half a surrogate pair, not a character",
            hint="decode the source as UTF-8, with errors='replace' if need be",
        ) from error


def _check_range(
    name: str,
    value: _Number | None,
    *,
    low: _Number,
    high: _Number | None = None,
    above_low: bool = False,
) -> None:
    if value is None:
        return
    # Positively phrased, so that NaN fails.
    good = (value > low if above_low else value >= low) and (high is None or value <= high)
    if not good:
        lower = f"{'above' if above_low else 'at least'} {low}"
        upper = "" if high is None else f" and at most {high}"
        raise InvalidRequestError(f"{name} must be {lower}{upper}, got {value}")
