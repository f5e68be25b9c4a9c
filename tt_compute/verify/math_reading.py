r"""From a text to the mathematical answer in it, without comparing anything.

Where the answer stands, in this order: the last ``\boxed{}``, the last ``####``, the last "the answer is",
the last number.
"""

from __future__ import annotations

import re

import msgspec

from tt_compute.verify.latex import canonical_latex, undress, ungroup, unwrap_text
from tt_compute.verify.marks import Mark, boxed, clauses, hashes
from tt_compute.verify.rational import Number, find_numbers, read_number

__all__ = ["Reading", "read_answer", "read_expression"]

MAX_EXPRESSION_CHARS = 300
"""A longer expression is no answer, and slow to compare."""
TAIL_CHARS = 20_000
"""How far back the last number is looked for."""
_SEGMENT_CHARS = 600
_SENTENCE_CHARS = 400

_EQUALS = re.compile(r"(?<![<>!\\=])=(?!=)")
_WORD = re.compile(
    # A run of two letters is a word only when it is a known one: "xy" is algebra.
    r"(?<![A-Za-z0-9\\])(?:[A-Za-z]{3,}|(?:am|an|as|at|be|by|do|he|if|in|is|it|me|my|no|of|on|or|so|to"
    r"|up|us|we|cm|mm|km|kg|mg|ft|lb|oz|mi|ml|hr|pm)(?![A-Za-z]))",
    re.IGNORECASE,
)
_NOT_A_WORD = re.compile(
    r"sin|cos|tan|cot|sec|csc|log|ln|exp|lim|max|min|gcd|lcm|mod|and|or"
    r"|percent|thousand|million|billion|trillion",
    re.IGNORECASE,
)
_PLACEHOLDERS = frozenset(
    ("answer", "your answer", "final answer", "the answer", "your final answer")
)
_JOINED = re.compile(r"\s*,?\s*\b(?:and|or)\b\s*")
_VARIABLE = re.compile(r"\s*(?:[A-Za-z]\w{0,2}|\\[a-z]{2,8}|[A-Za-z]\([a-z]\)|[A-Za-z ]{2,60})\s*")
_REASON = re.compile(r"[,;]\s+(?=[A-Za-z]{2})|\b(?:because|since|which|where)\b")
_LONE_LETTER = re.compile(r"(?<![A-Za-z\\])[A-Za-z](?![A-Za-z])")
_LIST_NUMBER = re.compile(r"(?:^|\n)[ \t]*(?:[*>#-]+[ \t]*)?$")
_LABEL = re.compile(
    r"\b(?:step|question|problem|example|equation|part|case|option|figure)[ \t]$",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.!?]\s|\n")
_BOLD = re.compile(r"\*\*([^*\n]{1,80})\*\*")
_SEGMENT = re.compile(
    r"\\\((.+?)\\\)|\\\[(.+?)\\\]|\$\$(.+?)\$\$|(?<!\\)\$([^$\n]+?)(?<!\\)\$", re.DOTALL
)


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """An answer as it was read."""

    text: str
    key: str
    symbolic: bool
    """Only math-verify can compare it."""
    explicit: bool = True


def read_answer(text: str, *, truncated: bool) -> Reading | None:
    """The answer of a whole sample; of a cut one only what stands behind a complete mark."""
    for content in boxed(text, truncated=truncated):
        reading = read_expression(content)
        if reading is not None:
            return reading
    for marks in (hashes(text, truncated=truncated), clauses(text, truncated=truncated)):
        for mark in marks:
            reading = _read_clause(mark)
            if reading is not None:
                return reading
    return None if truncated else _read_unmarked(text[-TAIL_CHARS:])


def read_expression(content: str) -> Reading | None:
    """``content`` as one answer: a number with its unit, an expression, or words."""
    if len(content) > MAX_EXPRESSION_CHARS:
        return None
    text = undress(unwrap_text(content))
    if not text:
        return None
    value = _after_equals(text)
    number = read_number(value)
    if number is not None:
        return _of_number(number)
    plain = undress(ungroup(value))
    return _of_words(plain) if _words(plain) else _of_symbols(value)


def _of_number(number: Number, *, explicit: bool = True) -> Reading:
    return Reading(text=number.text, key=number.key, symbolic=False, explicit=explicit)


def _of_words(plain: str) -> Reading | None:
    """Of a text with words in it: the expression before a unit, its only number, or the words."""
    head = _before_words(plain)
    numbers = [number for number, _, _ in find_numbers(plain)]
    if len(numbers) == 1:
        return _of_number(numbers[0])
    behind = next(find_numbers(plain[len(head) :]), None)
    if behind is None and any(char.isdigit() for char in head):
        return _of_symbols(head)
    key = " ".join(plain.casefold().split())
    if key in _PLACEHOLDERS:
        return None
    return Reading(text=plain, key=f'"{key}"', symbolic=False)


def _of_symbols(text: str) -> Reading | None:
    if not any(char.isalnum() for char in text) or text[-1] in "\\+-*/=^_<>({[":
        return None
    key = canonical_latex(_JOINED.sub(",", text).replace("%", r"\%"))
    return Reading(text=text, key=key, symbolic=True)


def _read_clause(mark: Mark) -> Reading | None:
    said = _REASON.split(undress(ungroup(undress(mark.content))), maxsplit=1)[0]
    text = _after_equals(said)
    if text.startswith("not "):
        return None
    head = _before_words(text)
    if any(char.isdigit() or char == "\\" for char in head):
        return read_expression(head)
    if mark.loose and not mark.final:
        return None
    numbers = [number for number, _, _ in find_numbers(text)]
    return _of_number(numbers[0]) if numbers else None


def _read_unmarked(text: str) -> Reading | None:
    last: tuple[Number, int] | None = None
    for number, start, end in find_numbers(text):
        if not _is_label(text, start, end):
            last = number, start
    if last is None:
        return None
    segment = _segment_at(text, last[1])
    reading = None if segment is None else read_expression(segment)
    if reading is None or reading.key.startswith('"'):
        reading = _of_number(_emphasised(text, last[1]) or last[0])
    return msgspec.structs.replace(reading, explicit=False)


def _emphasised(text: str, position: int) -> Number | None:
    """A number in bold earlier in the sentence: "**72** dollars if he sells all 12" means 72."""
    begin = max(0, position - _SENTENCE_CHARS)
    sentence = _SENTENCE_END.split(text[begin:position])[-1]
    for match in reversed(list(_BOLD.finditer(sentence))):
        for number, _, _ in find_numbers(match[1]):
            return number
    return None


def _is_label(text: str, start: int, end: int) -> bool:
    """Whether the number counts a list item or a step."""
    before = text[max(0, start - 12) : start]
    if _LABEL.search(before) is not None:
        return True
    return text[end : end + 2] in (". ", ") ", ".", ")") and _LIST_NUMBER.search(before) is not None


def _segment_at(text: str, position: int) -> str | None:
    """The formula that holds ``position``, when it is the last one of the text."""
    offset = max(0, len(text) - _SEGMENT_CHARS)
    found = None
    for match in _SEGMENT.finditer(text, offset):
        if match.start() <= position < match.end():
            found = next(group for group in match.groups() if group is not None)
    return found


def _after_equals(text: str) -> str:
    """The right side of a chain of equations; several assignments ("x = 1, y = 2") stay whole."""
    parts = _EQUALS.split(text)
    if len(parts) == 1 or (len(parts) > 2 and (_JOINED.search(text) or "," in text)):  # noqa: PLR2004 - two make an equation
        return text
    left = parts[0]
    if len(parts) > 2 or _VARIABLE.fullmatch(left) or not _LONE_LETTER.search(left):  # noqa: PLR2004 - likewise
        return undress(parts[-1]) or text
    return text


def _words(text: str) -> list[re.Match[str]]:
    return [match for match in _WORD.finditer(text) if not _NOT_A_WORD.fullmatch(match[0])]


def _before_words(text: str) -> str:
    words = _words(text)
    return undress(text[: words[0].start()] if words else text)
