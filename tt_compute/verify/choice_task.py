"""Multiple choice: the letter that a text settles on, and nothing when it is in doubt."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from tt_compute.profiles.schema import TaskKind
from tt_compute.types import Message
from tt_compute.verify.answer_task import AnswerTask
from tt_compute.verify.base import Answer
from tt_compute.verify.latex import undress, unwrap_text
from tt_compute.verify.marks import TAIL_CHARS, boxed, clauses

__all__ = ["ChoiceTask", "find_options"]

LETTERS = "ABCDEFGHIJ"
MAX_OPTION_CHARS = 300
_CUT_CHARS = 60

_LISTED = re.compile(
    r"(?:^|\n)[ \t]*(?:[-*>][ \t]+)?(?:\*\*)?\(?(?P<letter>[A-Ja-j])[).:](?=\s|\*\*)(?:\*\*)?"
)
_INLINE = re.compile(
    r"(?<![A-Za-z0-9])(?:\((?P<bracketed>[A-Ja-j])\)|(?P<closed>[A-J])\)|(?P<dotted>[A-J])\.)[ \t]+"
)
_BARE = re.compile(r"[\s*_(\[\"'`]{0,6}(?P<letter>[A-Ja-j])[\s*_)\]\"'`.:]{0,6}")
_LEADING = re.compile(
    r"[\s*_\"'`]{0,4}(?:(?i:option|choice|letter|answer)\s{1,3})?[\s*_\"'`]{0,4}"
    r"(?:\((?P<bracketed>[A-Ja-j])\)|(?P<plain>[A-J])(?P<closed>[).:*]|(?![\w'+#])(?!\s*=)))"
)
_VERDICT = re.compile(
    r"\b(?i:option|choice|answer)\s{1,3}\(?(?P<letter>[A-J])\)?\s{1,3}is\s{1,3}"
    r"(?:the\s{1,3})?(?:correct|right|best)\b"
    r"|\b(?i:correct|right|best)\s{1,3}(?i:option|choice|one)(?:\s{1,3}is|\s{0,3}:)[\s*]{0,4}"
    r"\(?(?P<letter2>[A-J])(?=[\W])(?!\s*(?:or|and)\b)"
)
_CUT_BEHIND_BRACKET = re.compile(r"\banswer[\s*_]{0,4}(?:is|:)[\s*_:]{0,6}\(([A-J])\)[\s*.]{0,4}\Z")
_BOLD = re.compile(r"\*\*[ \t]*\(?(?P<letter>[A-J])(?:\)|\.|:)?(?:[ \t][^*\n]{0,200})?\*\*")
_SECOND = re.compile(r"\s*(?:,|/|or|and|&)\s*(?:option\s+)?\(?[A-J]\b(?!')")
_REASON = re.compile(r",|\b(?:because|since|as)\b")
_ARTICLE_GOES_ON = re.compile(r"\s+(?!because\b|since\b|as\b|which\b|is\b|and\b|or\b)[a-z]")


def find_options(text: str) -> dict[str, str]:
    """Lettered options, from A on without a gap; empty when there are fewer than two.

    They stand on lines of their own, or in a row: "(A) red (B) green".
    """
    for pattern in (_LISTED, _INLINE):
        options = _consecutive(text, list(pattern.finditer(text)))
        if len(options) > 1:
            return options
    return {}


def _consecutive(text: str, found: Sequence[re.Match[str]]) -> dict[str, str]:
    """The last run of marks A, B, C, ..., so that examples before the question do not count."""
    options: dict[str, str] = {}
    for match, behind in zip(found, [*found[1:], None], strict=False):
        letter = _letter(match)
        if letter == "A":
            options = {}
        elif letter != LETTERS[len(options)]:
            continue
        end = len(text) if behind is None else behind.start()
        content = text[match.end() : min(end, match.end() + MAX_OPTION_CHARS)].strip()
        options[letter] = content.split("\n", 1)[0].strip(" \t*.,;")
        if len(options) == len(LETTERS):
            break
    return options


class ChoiceTask(AnswerTask):
    """Key: the letter.

    Args:
        messages: The prompt; the options in its last user message are the only answers then.
    """

    kind: TaskKind = "choice"

    def __init__(self, messages: Sequence[Message] | None = None) -> None:
        super().__init__()
        prompt = [message.text for message in messages or () if message.role == "user"]
        options = find_options(prompt[-1]) if prompt else {}
        self._options: Mapping[str, str] = {
            letter: _folded(undress(option)) for letter, option in options.items()
        }

    def _find(self, text: str, *, truncated: bool) -> Answer | None:
        for content in boxed(text, truncated=truncated):
            letter = self._bare(content)
            if letter is not None:
                return self._answer(letter, explicit=True)
        for letters in (self._stated(text, truncated=truncated), self._emphasised(text)):
            for letter in letters:
                return self._answer(letter, explicit=True)
        return None if truncated else self._unmarked(text)

    def read(self, text: str) -> Answer | None:
        letter = self._bare(text)
        return None if letter is None else self._answer(letter, explicit=True)

    def _answer(self, letter: str, *, explicit: bool) -> Answer:
        return Answer(text=letter, key=letter, explicit=explicit)

    def _allowed(self, letter: str | None) -> str | None:
        if letter is None:
            return None
        letter = letter.upper()
        return letter if not self._options or letter in self._options else None

    def _bare(self, content: str) -> str | None:
        """The letter that ``content`` is or starts with ("B", "(B) Paris"), or whose option it repeats."""
        if len(content) > MAX_OPTION_CHARS:
            return None
        content = undress(unwrap_text(content))
        match = _BARE.fullmatch(content)
        if match is not None:
            return self._allowed(match["letter"])
        return self._leading(content) or self._by_content(content)

    def _leading(self, content: str) -> str | None:
        match = _LEADING.match(content)
        if match is None:
            return None
        rest = content[match.end() :]
        if _SECOND.match(rest) is not None:  # "A or B" settles nothing
            return None
        plain = match["plain"]
        if plain in ("A", "I") and not match["closed"] and _ARTICLE_GOES_ON.match(rest) is not None:
            return None
        return self._allowed(match["bracketed"] or plain)

    def _by_content(self, content: str) -> str | None:
        """The only option that reads like ``content``."""
        wanted = _folded(content)
        found = [letter for letter, option in self._options.items() if option == wanted]
        return found[0] if len(found) == 1 and wanted else None

    def _stated(self, text: str, *, truncated: bool) -> Iterator[str]:
        """Letters behind "the answer is", then from "option B is correct"; each kind last first."""
        cut = _CUT_BEHIND_BRACKET.search(text[-_CUT_CHARS:]) if truncated else None
        if cut is not None and self._allowed(cut[1]) is not None:
            yield cut[1]
        for mark in clauses(text, truncated=truncated):
            letter = self._leading(mark.content) or self._by_content(
                _REASON.split(undress(mark.content), maxsplit=1)[0]
            )
            if letter is not None:
                yield letter
        # A letter at the very end of a cut text may be the start of a word.
        for match in reversed(
            list(_VERDICT.finditer(text[-TAIL_CHARS:] if truncated else f"{text[-TAIL_CHARS:]}\n"))
        ):
            letter = self._allowed(match["letter"] or match["letter2"])
            if letter is not None:
                yield letter

    def _emphasised(self, text: str) -> Iterator[str]:
        """The letter in bold, when only one is: a list of all options in bold settles nothing."""
        letters = {self._allowed(match["letter"]) for match in _BOLD.finditer(text)} - {None}
        if len(letters) == 1:
            yield from (letter for letter in letters if letter is not None)

    def _unmarked(self, text: str) -> Answer | None:
        """A text whose first or last line is a letter, or whose lines mark only one option."""
        lines = [line for line in text.splitlines() if line.strip()]
        bare = [_BARE.fullmatch(line) for line in (*lines[:1], *lines[-1:])]
        listed = _LISTED.finditer(text)
        for matches in (bare, listed):
            letters = {self._allowed(_letter(match)) for match in matches if match is not None}
            letters.discard(None)
            if len(letters) == 1:
                return self._answer(str(letters.pop()), explicit=True)
        letter = self._by_content(undress(text)) if len(text) <= MAX_OPTION_CHARS else None
        return None if letter is None else self._answer(letter, explicit=False)


def _letter(match: re.Match[str]) -> str:
    return next(group for group in match.groups() if group is not None).upper()


def _folded(text: str) -> str:
    return " ".join(re.sub(r"[^\w\s.%$/-]", " ", text.casefold()).split()).strip(" .")
