"""Numbers as people and models write them, read exactly.

Only ASCII digits count. Every pattern is free of nested repetition, and a digit run is matched
possessively, so reading is linear in the length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

import msgspec

__all__ = ["Number", "find_numbers", "number_from_key", "read_number", "same_number"]

MAX_DIGITS = 100
"""A longer run of digits is no answer; it also keeps the arithmetic bounded."""
MAX_EXPONENT = 99

_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}

_INT = r"(?:[0-9]{1,3}(?:,[0-9]{3})++(?![0-9])|[0-9]++)"
_DEC = rf"(?:{_INT}(?:\.[0-9]++)?|\.[0-9]++)"
_LATEX_FRACTION = (
    r"\\[dtc]?frac[ ]?"
    r"(?:\{[ ]?(?P<ln>-?[ ]?[0-9][0-9,.]*+)[ ]?\}|(?P<ln1>[0-9]))[ ]?"
    r"(?:\{[ ]?(?P<ld>[0-9][0-9,.]*+)[ ]?\}|(?P<ld1>[0-9]))"
)
_NUMBER = re.compile(
    rf"""
    (?<![A-Za-z0-9_^\\])(?<![_^]\{{)            # not inside a word, an index or an exponent
    (?P<sign>
        (?:(?<![)\]}}%$])[-+\u2212])?           # "5-3" and "(a)-3" hold no negative number
        (?:\\?[$€£¥₹][ ]?)?                     # currency may stand on either side of the sign
        [-+\u2212]?
    )
    (?:
        (?P<lw>[0-9]{{1,15}}+)?[ ]?{_LATEX_FRACTION}
      | (?P<mw>[0-9]{{1,15}}+)[ ](?P<mn>[0-9]{{1,15}}+)[/\u2044](?P<md>[0-9]{{1,15}}+)
      | (?P<fn>{_INT})[ ]?[/\u2044][ ]?(?P<fd>{_INT})(?![0-9])(?!/[0-9])
      | (?P<dec>{_DEC})
        (?:[eE](?P<exp>[-+]?[0-9]{{1,4}})(?![0-9A-Za-z])
          |[ ]?(?:\\times|\\cdot|\u00d7|·|x|\*)[ ]?10[ ]?\^[ ]?\{{?(?P<exp10>[-+\u2212]?[0-9]{{1,4}})\}}?)?
    )
    (?P<percent>[ ]?\\?%|[ ]percent\b)?
    (?:[ ](?P<scale>thousand|million|billion|trillion)\b)?
    (?!(?:st|nd|rd|th)\b)(?![ ]?\^)             # neither an ordinal nor the base of a power
    """,
    re.VERBOSE,
)
_TEXT_UNIT = r"\\(?:text|textrm|textbf|mathrm|mbox|textit)\s?\{[^{}0-9]*+\}"
_SHORT_UNITS = (
    "mm|cm|dm|km|mi|ft|yd|mg|kg|lb|lbs|oz|ml|mL|cl|ms|hr|hrs|min|mins|sec|secs|mph|kph|kWh|Hz"
    "|kB|KB|MB|GB|TB|am|pm|AM|PM|m/s|USD|EUR|GBP"
)
_SQUARE = r"(?:\^\{?[23]\}?|[²³])?+"
# A unit of two letters must be a known one, so that "5xy" stays algebra.
_UNIT = re.compile(
    rf"(?:\s?[°](?:[CF]\b)?|\s?\(?(?:{_TEXT_UNIT}|(?:{_SHORT_UNITS})\b|(?<=\s|\()[A-Za-z]{{3,}}+|[A-Za-z]{{4,}}+)"
    rf"{_SQUARE}(?:(?:/|-|\sper\s|\sa\s)(?:[A-Za-z]++|{_TEXT_UNIT}){_SQUARE})*+[.,]?\)?)*+\s*"
)
_SPACED_THOUSANDS = re.compile(r"(?<![0-9.])[0-9]{1,3}(?: [0-9]{3})++(?![0-9]|[ ]?[/\u2044])")
_KEY = re.compile(r"(-?[0-9]+(?:/[0-9]+)?)(%?)")


class Number(msgspec.Struct, frozen=True, kw_only=True):
    """An exact number."""

    value: Fraction
    """As written: 50 for '50%'."""
    percent: bool
    text: str
    """As written, without currency, unit and thousands separators."""

    @property
    def key(self) -> str:
        """'5', '-7/2', '50%': one spelling for every way of writing the same number."""
        return f"{self.value}%" if self.percent else str(self.value)


def read_number(text: str) -> Number | None:
    """The number that ``text`` is, with or without currency and unit; None when it is anything else."""
    match = _NUMBER.match(_join_thousands(text))
    if match is None or _UNIT.fullmatch(match.string, match.end()) is None:
        return None
    return _number(match)


def find_numbers(text: str) -> Iterator[tuple[Number, int, int]]:
    """Every number in ``text`` from left to right, with where it starts and ends."""
    for match in _NUMBER.finditer(text):
        number = _number(match)
        if number is not None:
            yield number, match.start(), match.end()


def number_from_key(key: str) -> Number | None:
    """The number behind an answer's key; None when the key is not a number's."""
    match = _KEY.fullmatch(key)
    if match is None:
        return None
    try:
        return Number(value=Fraction(match[1]), percent=bool(match[2]), text=key)
    except ZeroDivisionError:  # '0/0' is an expression, and no number
        return None


def same_number(first: Number, second: Number) -> bool:
    """Exact equality; a percentage equals both its number and its hundredth, as in math-verify.

    '50%' answers "what percent" like '50' does and "what share" like '0.5' does; '50' and '0.5' still
    differ.
    """
    if first.percent == second.percent:
        return first.value == second.value
    share, plain = (first, second) if first.percent else (second, first)
    return plain.value in (share.value, share.value / 100)


def _join_thousands(text: str) -> str:
    return _SPACED_THOUSANDS.sub(lambda match: match[0].replace(" ", ""), text)


def _number(match: re.Match[str]) -> Number | None:
    if sum(char.isdigit() for char in match[0]) > MAX_DIGITS:
        return None
    negative = any(char in "-\u2212" for char in match["sign"])
    read = _fraction(match) if match["dec"] is None else _decimal(match)
    if read is None:
        return None
    value, text = read
    percent = match["percent"] is not None
    return Number(
        value=-value if negative else value,
        percent=percent,
        text=f"{'-' if negative else ''}{text}{'%' if percent else ''}",
    )


def _decimal(match: re.Match[str]) -> tuple[Fraction, str] | None:
    digits = match["dec"].replace(",", "")
    exponent = int((match["exp"] or match["exp10"] or "0").replace("\u2212", "-"))
    if abs(exponent) > MAX_EXPONENT:
        return None
    value = Fraction(digits) * Fraction(10) ** exponent
    if match["scale"] is not None:
        value *= _SCALES[match["scale"]]
        return value, _plain(value)
    return value, f"{digits}e{exponent}" if exponent else digits


def _plain(value: Fraction) -> str:
    return str(value) if value.denominator == 1 else str(float(value))


def _fraction(match: re.Match[str]) -> tuple[Fraction, str] | None:
    whole = match["lw"] or match["mw"]
    top = match["ln"] or match["ln1"] or match["mn"] or match["fn"]
    bottom = match["ld"] or match["ld1"] or match["md"] or match["fd"]
    try:
        upper, lower = Fraction(_bare(top)), Fraction(_bare(bottom))
        value = upper / lower
    except (ValueError, ZeroDivisionError):  # '1.2.3', '1/0'
        return None
    text = f"{_bare(top)}/{_bare(bottom)}"
    if match["scale"] is not None:
        value *= _SCALES[match["scale"]]
        text = _plain(value)
    if whole is None:
        return value, text
    return int(whole) + value, f"{whole} {text}"


def _bare(digits: str) -> str:
    return digits.replace(",", "").replace(" ", "")
