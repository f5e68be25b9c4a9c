"""The marker ``ttc_budget``: what a test may spend. Imports the standard library alone."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from tt_compute.testing.trial import Spent

__all__ = ["Allowance"]

_WORDS = {"samples": "samples", "usd": "USD", "tokens": "tokens"}


class Allowance(NamedTuple):
    """Most of each that a test may take; None = no limit."""

    samples: float | None = None
    usd: float | None = None
    tokens: float | None = None

    @classmethod
    def of(cls, arguments: Sequence[object], keywords: Mapping[str, object]) -> Allowance:
        """The budget that a marker states.

        Raises:
            ValueError: It states none, or something that is no limit.
        """
        usage = (
            "write @pytest.mark.ttc_budget(samples=..., usd=..., tokens=...), at least one of them"
        )
        if arguments or not keywords or not set(keywords) <= set(_WORDS):
            given = [
                *map(repr, arguments),
                *(f"{key}={value!r}" for key, value in keywords.items()),
            ]
            raise ValueError(f"ttc_budget({', '.join(given)}): {usage}")
        limits: dict[str, float] = {}
        for name, value in keywords.items():
            limit = value if isinstance(value, int | float) else math.nan
            # Python's integers go beyond its floats.
            if isinstance(value, bool) or not 0 <= limit <= sys.float_info.max:
                raise ValueError(f"ttc_budget({name}={value!r}): expected a number of at least 0")
            limits[name] = limit
        return cls(**limits)

    def overspent(self, spent: Spent) -> Iterable[str]:
        """What was taken beyond the limits, in sentences."""
        for name, word in _WORDS.items():
            limit, taken = getattr(self, name), getattr(spent, name)
            if limit is None:
                continue
            if taken is None:
                yield f"what was spent in USD is not known, so it is not within {limit:g}"
            elif taken > limit:
                yield f"{taken:g} {word} were spent, and the budget is {limit:g}"
