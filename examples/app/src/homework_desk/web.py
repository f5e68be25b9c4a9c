"""The desk behind HTTP: a JSON document in, a status and a JSON document out. Any server can carry it."""

from __future__ import annotations

import json
from typing import NamedTuple, cast

from homework_desk.allowance import AllowanceSpent
from homework_desk.desk import Desk, DeskClosed, QuestionRefused

__all__ = ["Response", "respond"]

_FLAGS = ("exam", "private")


class Response(NamedTuple):
    """What is sent back."""

    status: int
    body: dict[str, object]


def respond(desk: Desk, body: bytes) -> Response:
    """Answer ``{"pupil": ..., "question": ..., "exam": ..., "private": ...}``."""
    try:
        pupil, question, flags = _read(body)
        reply = desk.answer(pupil, question, **flags)
    except (ValueError, QuestionRefused) as error:
        return Response(400, {"error": str(error)})
    except AllowanceSpent as error:
        return Response(429, {"error": str(error), "again_in_s": error.again_in_s})
    except DeskClosed as error:
        return Response(503, {"error": str(error)})
    return Response(
        200,
        {
            "answer": reply.answer,
            "text": reply.text,
            "sure": reply.sure,
            "cost_usd": reply.cost_usd,
        },
    )


def _read(body: bytes) -> tuple[str, str, dict[str, bool]]:
    try:
        document: object = json.loads(body)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"the body is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise ValueError("the body is no JSON object")  # noqa: TRY004 - what is wrong is what was sent
    fields = cast("dict[str, object]", document)
    unknown = sorted(set(fields) - {"pupil", "question", *_FLAGS})
    if unknown:
        raise ValueError(f"unknown: {', '.join(unknown)}")
    pupil, question = fields.get("pupil"), fields.get("question")
    if not isinstance(pupil, str) or not pupil or not isinstance(question, str):
        raise ValueError("`pupil` and `question` must be texts")
    flags = {name: fields[name] for name in _FLAGS if name in fields}
    if not all(isinstance(value, bool) for value in flags.values()):
        raise ValueError("`exam` and `private` must be true or false")
    return pupil, question, {name: value is True for name, value in flags.items()}
