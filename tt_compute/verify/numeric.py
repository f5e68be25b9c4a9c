"""Judging numbers by their distance from the right one."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from tt_compute.errors import InvalidRequestError
from tt_compute.types import Message
from tt_compute.verify.base import Answer, Judgement
from tt_compute.verify.rational import Number, number_from_key, read_number, same_number

__all__ = ["NumericVerifier"]


class NumericVerifier:
    """Accepts numbers near a given one; computes exactly, so that the border is where it is said to be.

    Args:
        gold: The right number, as people write numbers.
        tolerance: Most that an answer may be off: absolute, or with ``%`` a share of the right number.

    Raises:
        InvalidRequestError: One of them is no number, or the tolerance is negative.
    """

    name = "numeric"
    accepts_at: float = 1.0

    def __init__(self, gold: str, tolerance: str = "0") -> None:
        self._gold = _number(gold, "gold answer")
        stated = _number(tolerance, "tolerance")
        share = stated.value / 100 * abs(self._gold.value)
        self._tolerance = share if stated.percent else stated.value
        if self._tolerance < 0:
            raise InvalidRequestError(f"the tolerance {tolerance!r} is negative")

    @classmethod
    def parse(cls, text: str) -> NumericVerifier:
        """``GOLD`` or ``GOLD,TOLERANCE``; what reads as one number ("1,000") is one."""
        if read_number(text) is not None:
            return cls(text)
        gold, comma, tolerance = text.rpartition(",")
        return cls(gold, tolerance) if comma else cls(text)

    async def judge(
        self,
        messages: Sequence[Message],  # noqa: ARG002 - the protocol's
        text: str,  # noqa: ARG002 - the protocol's
        answer: Answer | None,
    ) -> Judgement:
        """1.0 for a number that is near enough, 0.0 for another one, for none, and for no number."""
        number = None if answer is None else number_from_key(answer.key)
        return Judgement(score=1.0 if number is not None and self._near(number) else 0.0)

    def _near(self, number: Number) -> bool:
        if same_number(self._gold, number):
            return True
        # A percentage counts as its number and as its hundredth, as in ``same_number``.
        values = [number.value, number.value / 100] if number.percent else [number.value]
        wanted = [self._gold.value]
        if self._gold.percent and not number.percent:
            wanted.append(self._gold.value / 100)
        elif self._gold.percent:
            values = [number.value]
        return any(abs(value - gold) <= self._within(gold) for value in values for gold in wanted)

    def _within(self, gold: Fraction) -> Fraction:
        return (
            self._tolerance * abs(gold / self._gold.value) if self._gold.value else self._tolerance
        )


def _number(text: str, what: str) -> Number:
    number = read_number(text.strip())
    if number is None:
        raise InvalidRequestError(
            f"the {what} {text[:80]!r} is no number", hint="write numeric=42 or numeric=3.14,0.01"
        )
    return number
