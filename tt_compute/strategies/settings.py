"""Settings of strategies that callers make themselves."""

from __future__ import annotations

from types import NoneType
from typing import get_args

import msgspec

from tt_compute.errors import InvalidRequestError

__all__ = ["check_numbers"]


def check_numbers(settings: msgspec.Struct) -> None:
    """Refuse what a type checker would have found; not every caller has one.

    Raises:
        InvalidRequestError: A field that is a number holds something else.
    """
    for field in msgspec.structs.fields(type(settings)):
        kinds = get_args(field.type) or (field.type,)
        value = getattr(settings, field.name)
        if not (int in kinds or float in kinds) or (value is None and NoneType in kinds):
            continue
        allowed = (int, float) if float in kinds else int
        if isinstance(value, bool) or not isinstance(value, allowed):
            what = "a number" if float in kinds else "a whole number"
            raise InvalidRequestError(
                f"{field.name} must be {what}, got {type(value).__name__} {value!r:.80}"
            )
