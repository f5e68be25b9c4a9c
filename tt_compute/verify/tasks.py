"""The kinds of task by name."""

from __future__ import annotations

from collections.abc import Sequence

from tt_compute.errors import UnknownNameError
from tt_compute.types import JsonSchemaFormat, Message
from tt_compute.verify.answer_task import AnswerTask
from tt_compute.verify.choice_task import ChoiceTask
from tt_compute.verify.code_task import CodeTask
from tt_compute.verify.detect import detect_task
from tt_compute.verify.json_task import JsonTask
from tt_compute.verify.math_process import MathProcess
from tt_compute.verify.math_task import MathTask
from tt_compute.verify.open_task import OpenTask

__all__ = ["AnswerTask", "MathProcess", "detect_task", "get_task"]


def get_task(
    kind: str,
    messages: Sequence[Message] | None = None,
    response_format: JsonSchemaFormat | None = None,
    *,
    math_process: MathProcess | None = None,
) -> AnswerTask:
    """A task for one request.

    Args:
        kind: ``math``, ``choice``, ``json``, ``code`` or ``open``.
        messages: The prompt, from which ``choice`` reads its options.
        response_format: The schema that was asked for, used by ``json``.
        math_process: Where ``math`` compares expressions, shared between requests and closed by the
            caller. None = one of the task's own, which ends with it.

    Raises:
        UnknownNameError: There is no such kind.
    """
    match kind:
        case "math":
            return MathTask(math_process or MathProcess())
        case "choice":
            return ChoiceTask(messages)
        case "json":
            return JsonTask(response_format)
        case "code":
            return CodeTask()
        case "open":
            return OpenTask()
        case _:
            raise UnknownNameError(
                f"there is no task kind {kind!r}", hint="one of math, choice, json, code, open"
            )
