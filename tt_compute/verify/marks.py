r"""Where a text says that its answer stands: ``\boxed{}``, ``####``, "the answer is".

A mark in a cut text counts only when its end is certain; the readers are told where the text was cut by
``truncated`` and leave such marks out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

__all__ = ["Mark", "boxed", "clauses", "hashes", "visible"]

MAX_MARKS = 50
"""Marks of one kind that are looked at, from the last one backwards."""
MAX_CLAUSE_CHARS = 300
TAIL_CHARS = 100_000
"""How far back phrases are looked for."""
_AFTER = " \t\n.!?*$\\])\"'"

_BOX_TOKEN = re.compile(r"\\(?:boxed|fbox|framebox)\s?(?P<open>\{)?|\\.|[{}]", re.DOTALL)
_BARE_BOX = re.compile(r"\s*([^\s{}$\\.,;]{1,40})")
_HASHES = re.compile(r"####[ \t]*")
_PHRASE = re.compile(
    r"""
    \b(?:(?P<be>answer(?:\s(?:to|for|of)\s[^.:=\n]{1,100}?)?
         [\s*_"']{0,4}(?:is|was|are|would\sbe|will\sbe|should\sbe|must\sbe|equals))\b
      | answer[\s*_"')]{0,4}(?P<colon>[:=])
    )
    [\s*_:=`"']{0,8}
    """,
    re.VERBOSE | re.IGNORECASE,
)
_HEADING = re.compile(
    r"^[ \t]*(?:\#{1,6}[ \t]*|\*\*[ \t]*)(?:final[ \t])?answer[ \t]*:?(?:\*\*)?:?[ \t]*\n\s{0,8}",
    re.IGNORECASE | re.MULTILINE,
)
_SENTENCE_END = re.compile(r"[.!?](?=[\s*\"')]|$)|\n")
_CERTAIN_END = re.compile(r"[.!?][*\"')]{0,4}\s|\n")
_LEAD = re.compile(r"(?:\s|\\[\[(]|\$\$|\*\*)*")
_CLOSING = re.compile(r"\*\*|\$|\\[)\]]")
_WHOLE_WORDS = re.compile(r".*\s[^\W\d_]{2,}(?=\s)", re.DOTALL)


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """What stands behind a mark."""

    content: str
    loose: bool = False
    """After a colon ("Answer: ..."): often a whole explanation follows, so only a plain answer counts."""
    final: bool = False
    """Nothing but white space and punctuation follows the content."""


def visible(text: str) -> str:
    """``text`` without a leading block of reasoning in think tags; empty when the block never ends."""
    _, closed, after = text.rpartition("</think>")
    if closed:
        return after
    return "" if text.lstrip().startswith("<think>") else text


def boxed(text: str, *, truncated: bool) -> list[str]:
    r"""Contents of every ``\boxed{...}`` and ``\fbox{...}``, last first; braces may nest.

    Without ``truncated`` a box whose brace never closes, and ``\boxed 5``, count as the last ones.
    """
    found: list[str] = []
    opened: list[int | None] = []
    for token in _BOX_TOKEN.finditer(text):
        if token["open"]:
            opened.append(token.end())
        elif token[0] == "{":
            opened.append(None)
        elif token[0] == "}" and opened:
            start = opened.pop()
            if start is not None:
                found.append(text[start : token.start()])
        elif len(token[0]) > 2:  # noqa: PLR2004 - a box command, not an escaped character
            found.extend(_bare_box(text, token.end(), truncated=truncated))
    if not truncated:
        found.extend(_unclosed(text, opened))
    return found[: -MAX_MARKS - 1 : -1]


def _bare_box(text: str, end: int, *, truncated: bool) -> list[str]:
    match = _BARE_BOX.match(text, end)
    if match is None or (truncated and match.end() == len(text)):
        return []
    return [match[1]]


def _unclosed(text: str, opened: list[int | None]) -> list[str]:
    """The rest of the line behind the last box that was opened and never closed."""
    starts = [start for start in opened if start is not None]
    if not starts:
        return []
    line = text[starts[-1] : starts[-1] + MAX_CLAUSE_CHARS].split("\n", 1)[0]
    return [re.split(r"\$|\\[)\]]", line, maxsplit=1)[0]]


def hashes(text: str, *, truncated: bool) -> Iterator[Mark]:
    """What stands behind ``####``, last first."""
    text = text[-TAIL_CHARS:]
    return _marks(text, [(m.end(), False) for m in _HASHES.finditer(text)], truncated=truncated)


def clauses(text: str, *, truncated: bool) -> Iterator[Mark]:
    """What stands behind "the answer is", "Answer:" and answer headings, last first."""
    text = text[-TAIL_CHARS:]
    starts = [(m.end(), m["colon"] is not None) for m in _PHRASE.finditer(text)]
    starts += [(m.end(), True) for m in _HEADING.finditer(text)]
    return _marks(text, sorted(set(starts)), truncated=truncated)


def _marks(text: str, starts: list[tuple[int, bool]], *, truncated: bool) -> Iterator[Mark]:
    for behind, loose in reversed(starts[-MAX_MARKS:]):
        start = _end(_LEAD, text, behind)
        window = text[start : start + MAX_CLAUSE_CHARS]
        open_ended = truncated and start + len(window) == len(text)
        content = _certain(window) if open_ended else _SENTENCE_END.split(window, maxsplit=1)[0]
        if content.strip():
            rest = text[start + len(content) : start + len(content) + 40]
            yield Mark(content=content, loose=loose, final=not rest.strip(_AFTER))


def _certain(window: str) -> str:
    """The part of a cut clause that more text could not change; empty when there is none.

    A sentence end needs white space behind it ("12." may go on as "12.5"); without one, a closing
    delimiter ends the content, or a whole word after it ("12 apples" but not "12", which may become 125).
    """
    for end in (_CERTAIN_END.search(window), _CLOSING.search(window, 1)):
        if end is not None:
            return window[: end.start()]
    words = _WHOLE_WORDS.match(window)
    return "" if words is None else words[0]


def _end(pattern: re.Pattern[str], text: str, start: int) -> int:
    match = pattern.match(text, start, start + MAX_CLAUSE_CHARS)
    return start if match is None else match.end()
