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
_OUTER = " \t\n\"'`*_.,;:!?()[]{}$\u201c\u201d\u2018\u2019"


class OpenTask(AnswerTask):
    """The whole text, or the short answer that it marks (a box, "the answer is ...")."""

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
        return _answer(text.strip(), explicit=False)


def _answer(text: str, *, explicit: bool) -> Answer | None:
    folded = unicodedata.normalize("NFKC", text).casefold()
    key = re.sub(r"\s+", " ", folded).strip(_OUTER)
    return Answer(text=text, key=key, explicit=explicit) if key else None
