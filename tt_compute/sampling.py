"""Which sampling parameters make sense anywhere; what a backend lacks, it refuses itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar, cast

import msgspec

from tt_compute.errors import InvalidRequestError
from tt_compute.types import SamplingParams

__all__ = ["MAX_STOP_STRINGS", "check_encodable", "check_sampling", "check_types"]

MAX_STOP_STRINGS = 16
_MAX_TEMPERATURE = 5.0
_MAX_PENALTY = 2.0
_MAX_SEED = 2**63 - 1
"""What every wire format and runtime can carry."""

_Number = TypeVar("_Number", int, float)


def check_types(what: str, value: object, wanted: type) -> None:
    """Refuse what a type checker would have found; not every caller has one.

    Args:
        what: The value, in the error's words.
        value: A struct, and all that is in it.
        wanted: What it must be.

    Raises:
        InvalidRequestError: It is something else, or something in it is.
    """
    if not isinstance(value, wanted):
        raise InvalidRequestError(
            f"{what} must be {wanted.__name__}, got {type(value).__name__}",
            hint=f"import {wanted.__name__} from tt_compute.types" if wanted is not str else None,
        )
    try:
        meant = cast("object", msgspec.convert(msgspec.to_builtins(value), wanted))
    except RecursionError as error:
        raise InvalidRequestError(f"{what} is nested too deeply, such as a JSON schema") from error
    except (msgspec.ValidationError, TypeError) as error:
        raise InvalidRequestError(f"{what}: {error}") from error
    _check_structs(what, value, meant, "$")


def _check_structs(what: str, given: object, meant: object, at: str) -> None:
    """Refuse a mapping in the place of a struct, which says the same and is none."""
    if isinstance(meant, msgspec.Struct):
        kind = type(meant)
        if not isinstance(given, kind):
            raise InvalidRequestError(
                f"{what}: Expected `{kind.__name__}`, got `{type(given).__name__}` - at `{at}`",
                hint=f"import {kind.__name__} from tt_compute.types",
            )
        for name in kind.__struct_fields__:
            _check_structs(what, getattr(given, name), getattr(meant, name), f"{at}.{name}")
    elif isinstance(meant, tuple):
        pairs = zip(cast("Sequence[object]", given), cast("Sequence[object]", meant), strict=True)
        for place, (one, other) in enumerate(pairs):
            _check_structs(what, one, other, f"{at}[{place}]")


def check_sampling(sampling: SamplingParams) -> None:
    """Refuse values out of range.

    Raises:
        InvalidRequestError: One is, or is no number.
    """
    check_types("sampling", sampling, SamplingParams)
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
