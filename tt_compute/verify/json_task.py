"""One JSON document: alone, in a fence, or in the middle of prose."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from tt_compute.profiles.schema import TaskKind
from tt_compute.types import JsonSchemaFormat
from tt_compute.verify.answer_task import AnswerTask
from tt_compute.verify.base import Answer
from tt_compute.verify.code_task import fenced_blocks

__all__ = ["JsonTask"]

MAX_ATTEMPTS = 64
"""Places in prose at which a document is looked for."""
_OPENING = re.compile(r"[{\[]")
_STRUCTURE = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[{}\[\]]', re.DOTALL)
_NONE = object()
_TYPES: dict[str | None, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "null": type(None),
}


class JsonTask(AnswerTask):
    """Key: the document with sorted keys, no white space and 1.0 as 1.

    Args:
        response_format: The schema that was asked for; its top-level ``type`` tells an answer from an
            example in the prose. Its rest is not checked here.
    """

    kind: TaskKind = "json"

    def __init__(self, response_format: JsonSchemaFormat | None = None) -> None:
        super().__init__()
        wanted = None if response_format is None else response_format.schema.get("type")
        self._wanted = wanted if isinstance(wanted, str) else None

    def _find(self, text: str, *, truncated: bool) -> Answer | None:
        if not truncated:
            whole = self._document(text)
            if whole is not None:
                return whole
        for block in reversed(fenced_blocks(text, truncated=truncated)):
            answer = self._document(block)
            if answer is not None:
                return answer
        return self._embedded(text)

    def read(self, text: str) -> Answer | None:
        return self._document(text)

    def _document(self, text: str) -> Answer | None:
        try:
            value = _DECODER.decode(text)
        except (ValueError, RecursionError):
            return None
        return self._answer(text.strip(), value)

    def _embedded(self, text: str) -> Answer | None:
        """The last object or array in prose; an object goes before any array, such as a citation's "[1]"."""
        answers: dict[bool, Answer] = {}
        position = 0
        for _ in range(MAX_ATTEMPTS):
            opening = _OPENING.search(text, position)
            if opening is None:
                break
            value, position = _decode_at(text, opening.start())
            answer = self._answer(text[opening.start() : position], value)
            if answer is not None:
                answers[isinstance(value, dict)] = answer
        return answers.get(True) or answers.get(False)

    def _answer(self, text: str, value: Any) -> Answer | None:
        if value is _NONE or not _has_type(value, self._wanted):
            return None
        try:
            key = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
        except (ValueError, RecursionError):
            return None
        return Answer(text=text, key=key, explicit=True)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _number(digits: str) -> float | int:
    value = float(digits)
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return members


_DECODER = json.JSONDecoder(parse_float=_number, parse_constant=_refuse, object_pairs_hook=_unique)


def _decode_at(text: str, start: int) -> tuple[Any, int]:
    """The document that starts at ``start`` and its end; without one, where to look on."""
    try:
        return _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        return _NONE, _closing(text, start)


def _closing(text: str, start: int) -> int:
    """Behind the bracket that closes the one at ``start``: what is inside a broken document is no answer."""
    depth = 0
    for token in _STRUCTURE.finditer(text, start):
        depth += (token[0] in "{[") - (token[0] in "}]")
        if depth == 0:
            return token.end()
    return len(text)


def _has_type(value: Any, wanted: str | None) -> bool:
    if isinstance(value, bool):  # an int to Python, no number to JSON
        return wanted not in _TYPES or wanted == "boolean"
    return wanted not in _TYPES or isinstance(value, _TYPES[wanted])
