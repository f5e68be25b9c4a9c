"""The parameters of a stop rule, as they stand behind the colon of its name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

from tt_compute.errors import InvalidRequestError

__all__ = ["MOST", "Parameters", "full_name", "require"]

MOST = 10_000
"""Largest whole number that a parameter may be; no budget is as large."""
Default = TypeVar("Default")


class Parameters:
    """Numbers between commas; those left out at the end have their defaults."""

    def __init__(self, rule: str, text: str, most: int, example: str) -> None:
        self._rule = rule
        self._example = example
        self._parts = [part.strip() for part in text.split(",")] if text else []
        if len(self._parts) > most:
            takes = {0: "no parameters", 1: "one parameter"}.get(most, f"at most {most} parameters")
            raise self._refused(f"takes {takes}", text)

    def number(self, place: int, what: str, default: float) -> float:
        """The parameter at ``place``.

        Raises:
            InvalidRequestError: It is no finite number.
        """
        if place >= len(self._parts):
            return default
        try:
            value = float(self._parts[place])
        except ValueError as error:
            raise self._refused(f"takes a number as its {what}", self._parts[place]) from error
        if not math.isfinite(value):
            raise self._refused(f"takes a finite number as its {what}", self._parts[place])
        return value

    def whole(self, place: int, what: str, default: Default) -> int | Default:
        """The parameter at ``place``.

        Raises:
            InvalidRequestError: It is no whole number.
        """
        if place >= len(self._parts):
            return default
        try:
            return int(self._parts[place])
        except ValueError as error:
            raise self._refused(
                f"takes a whole number as its {what}", self._parts[place]
            ) from error

    def _refused(self, takes: str, got: str) -> InvalidRequestError:
        return InvalidRequestError(
            f"the stop rule {self._rule!r} {takes}, got {got!r}", hint=f"such as {self._example}"
        )


def require(rule: str, *, holds: bool, what: str, got: object, example: str) -> None:
    """Refuse a parameter that makes no sense.

    Raises:
        InvalidRequestError: It does not hold.
    """
    if not holds:
        raise InvalidRequestError(
            f"{what} of the stop rule {rule!r}, got {got}", hint=f"such as {example}"
        )


def full_name(rule: str, values: Sequence[object], defaults: Sequence[object]) -> str:
    """The shortest text that is read as a rule with these values."""
    kept = len(values)
    while kept and values[kept - 1] == defaults[kept - 1]:
        kept -= 1
    return f"{rule}:{','.join(map(repr, values[:kept]))}" if kept else rule
