"""Programs: the last fenced block of a text. Equal means equal text; only running them tells more."""

from __future__ import annotations

import re

from tt_compute.profiles.schema import TaskKind
from tt_compute.verify.answer_task import AnswerTask
from tt_compute.verify.base import Answer

__all__ = ["CodeTask", "fenced_blocks"]

_FENCE = re.compile(r"^[ \t]{0,3}(?P<fence>`{3,}|~{3,})(?P<info>[^\n`]*)$", re.MULTILINE)
_CODE_START = re.compile(
    r"(?:def|class|import|from|async def|@\w|#include|#!|function|public|fn|func)\b"
)


def fenced_blocks(text: str, *, truncated: bool) -> list[str]:
    """Contents of the fenced blocks, in order; a last one that is never closed counts in a whole text."""
    blocks: list[str] = []
    opened: re.Match[str] | None = None
    for fence in _FENCE.finditer(text):
        if opened is None:
            opened = fence
        elif fence["fence"].startswith(opened["fence"]) and not fence["info"].strip():
            blocks.append(text[opened.end() : fence.start()])
            opened = None
    if opened is not None and not truncated:
        blocks.append(text[opened.end() :])
    return [block.strip("\n") for block in blocks]


class CodeTask(AnswerTask):
    """Key: the program without trailing white space and empty lines at its ends."""

    kind: TaskKind = "code"

    def _find(self, text: str, *, truncated: bool) -> Answer | None:
        for block in reversed(fenced_blocks(text, truncated=truncated)):
            if block.strip():
                return _answer(block, explicit=True)
        bare = not truncated and _CODE_START.match(text.lstrip()) is not None
        return _answer(text, explicit=False) if bare else None

    def read(self, text: str) -> Answer | None:
        return self._find(text, truncated=True) or (
            _answer(text, explicit=True) if text.strip() else None
        )


def _answer(code: str, *, explicit: bool) -> Answer:
    code = code.strip("\n")
    key = "\n".join(line.rstrip() for line in code.splitlines()).strip("\n")
    return Answer(text=code, key=key, explicit=explicit)
