"""A model's chat template, rendered by Hugging Face's rules in a sandbox.

The environment that templates are written for: ``transformers/utils/chat_template_utils.py``.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import jinja2
import jinja2.exceptions
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tt_compute.errors import InvalidRequestError, ModelLoadError

__all__ = ["ChatTemplate"]

_MAX_CHARACTERS = 50_000_000
"""Of a rendered prompt; far beyond any context, far below what would take the machine's memory."""


class ChatTemplate:
    """Renders conversations.

    Args:
        template: Jinja text; None = a single user message is the prompt, as it is.
        bos_token: Value of the variable of that name.
        eos_token: Likewise.
        now: Local time, for templates that tell the model the date.

    Raises:
        ModelLoadError: The text is no template.
    """

    def __init__(
        self,
        template: str | None,
        *,
        bos_token: str | None = None,
        eos_token: str | None = None,
        now: Callable[[], dt.datetime] = dt.datetime.now,
    ) -> None:
        self._now = now
        self._variables = {"bos_token": bos_token or "", "eos_token": eos_token or ""}
        self._template: jinja2.Template | None = None
        if template is None:
            return
        environment: Any = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols]
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _refuse
        environment.globals["strftime_now"] = self._strftime
        try:
            self._template = environment.from_string(template)
        except jinja2.exceptions.TemplateSyntaxError as error:
            raise ModelLoadError(f"the chat template is not valid: {error}") from error

    def render(self, turns: Sequence[dict[str, str]], *, open_turn: bool) -> str:
        """The conversation as one text.

        Args:
            turns: Each with ``role`` and ``content``.
            open_turn: Whether to begin the assistant's next turn.

        Raises:
            InvalidRequestError: The template refuses the conversation, or fails over it.
        """
        if self._template is None:
            return _plain(turns)
        pieces: list[str] = []
        length = 0
        try:
            for piece in self._template.generate(
                messages=list(turns),
                add_generation_prompt=open_turn,
                tools=None,
                documents=None,
                **self._variables,
            ):
                pieces.append(piece)
                length += len(piece)
                if length > _MAX_CHARACTERS:
                    _refuse(f"it makes more than {_MAX_CHARACTERS} characters")
        except (jinja2.exceptions.TemplateError, ArithmeticError, LookupError) as error:
            raise _refused(error) from error
        except (TypeError, ValueError, AttributeError, MemoryError, RecursionError) as error:
            raise _refused(error) from error
        return "".join(pieces)

    def _strftime(self, form: str) -> str:
        return self._now().strftime(form)


def _plain(turns: Sequence[dict[str, str]]) -> str:
    if len(turns) != 1 or turns[0]["role"] != "user":
        raise InvalidRequestError(
            "the model has no chat template and takes a single user message",
            hint="give a template in the model's profile: `chat_template`",
        )
    return turns[0]["content"]


def _refuse(message: str) -> NoReturn:
    raise jinja2.exceptions.TemplateError(message)


def _refused(error: BaseException) -> InvalidRequestError:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return InvalidRequestError(f"the chat template refuses the messages: {lines[-1]}")


def _to_json(value: object, indent: int | None = None) -> str:
    """Without HTML escapes, which is what models were trained on."""
    return json.dumps(value, ensure_ascii=False, indent=indent)
