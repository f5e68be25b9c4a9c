"""Free text: two answers are the same when they read the same."""

from __future__ import annotations

import re
import unicodedata

from tt_compute.profiles.schema import TaskKind
from tt_compute.verify.answer_task import AnswerTask
from tt_compute.verify.base import Answer
from tt_compute.verify.latex import unwrap_text
from tt_compute.verify.marks import boxed, clauses

__all__ = ["OpenTask"]

MAX_MARKED_CHARS = 100
"""What follows "the answer is" and is longer is an explanation, not an answer."""
MAX_STATEMENT_WORDS = 20
MAX_COMPLEMENT_WORDS = 4
"""A longer predicate is an explanation, not a name."""
_STATEMENT = re.compile(
    r"[^.!?\n:]{1,120}(?:\b(?:is|are|was|were)\b|:)[ \t*\"']{1,4}(?P<complement>[^.!?\n:,;]{1,60})[.!*\"']{0,4}"
)
_ARTICLE = re.compile(r"(?:the|a|an)\s+", re.IGNORECASE)
_OUTER = " \t\n\"'`*_.,;:!?()[]{}$\u201c\u201d\u2018\u2019"


class OpenTask(AnswerTask):
    """The short answer that a text marks (a box, "the answer is ..."), or states, or the whole text.

    A text that is one short statement is reduced to its complement, so that "The capital of Kenya is
    Nairobi." and "Nairobi" are one answer and can vote together.
    """

    kind: TaskKind = "open"

    def _find(self, text: str, *, truncated: bool) -> Answer | None:
        for content in boxed(text, truncated=truncated):
            answer = _answer(unwrap_text(content), explicit=True)
            if answer is not None:
                return answer
        for mark in clauses(text, truncated=truncated):
            if len(mark.content) <= MAX_MARKED_CHARS and (mark.final or not mark.loose):
                answer = _answer(mark.content.strip(_OUTER), explicit=True)
                if answer is not None:
                    return answer
        return None if truncated else self.read(text)

    def read(self, text: str) -> Answer | None:
        stripped = text.strip()
        return _answer(_complement(stripped) or stripped, explicit=False)


def _complement(text: str) -> str | None:
    """What the only, short sentence of ``text`` says of its subject; None when it is not of that form."""
    statement = _STATEMENT.fullmatch(text) if len(text.split()) <= MAX_STATEMENT_WORDS else None
    if statement is None:
        return None
    complement = _ARTICLE.sub("", statement["complement"].strip(_OUTER), count=1)
    return complement if 0 < len(complement.split()) <= MAX_COMPLEMENT_WORDS else None


def _answer(text: str, *, explicit: bool) -> Answer | None:
    folded = unicodedata.normalize("NFKC", text).casefold()
    key = re.sub(r"\s+", " ", folded).strip(_OUTER)
    return Answer(text=text, key=key, explicit=explicit) if key else None
