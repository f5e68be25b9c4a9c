"""Renders a conversation through the model's chat template so that content stays content.

Tokenisers turn the text of a control token (``<|im_start|>``) into the token itself, wherever it stands;
a user could so write turns of their own. Here a mark is put inside each such text in the content, the
template renders as ever, and the result is cut at the marks: no piece holds a control token's text
unless the template wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from tt_compute.errors import InvalidRequestError, UnsupportedError
from tt_compute.types import Message

__all__ = ["ChatRenderer", "RenderTemplate"]

RenderTemplate = Callable[[Sequence[dict[str, str]], bool], str]
"""Called with the messages and whether the assistant's turn is to be opened.

Raises InvalidRequestError when the template refuses the conversation.
"""

_NONCHARACTERS = tuple(map(chr, range(0xFDD0, 0xFDF0)))
"""Code points that Unicode keeps for internal use."""


class ChatRenderer:
    """Messages -> pieces of prompt text, to be tokenised one by one and joined as tokens.

    Args:
        template: The model's own.
        control_tokens: Texts of the tokens that only the template may write.
    """

    def __init__(self, template: RenderTemplate, control_tokens: Iterable[str]) -> None:
        self._template = template
        # One-character tokens cannot be broken; longest first is not needed, any match is broken.
        texts = sorted(text for text in control_tokens if len(text) > 1)
        self._control = (
            re.compile(f"(?=(?:{'|'.join(map(re.escape, texts))}))(.)", re.DOTALL)
            if texts
            else None
        )

    def render(self, messages: Sequence[Message], *, continue_assistant: bool) -> tuple[str, ...]:
        """The prompt in pieces; usually one.

        Raises:
            InvalidRequestError: The template refuses the conversation.
            UnsupportedError: The template cannot leave the assistant's turn open.
        """
        contents = [message.text for message in messages]
        mark, end = _unused(contents, 2)
        shown = [self._break_control(text, mark) for text in contents]
        if continue_assistant:
            shown[-1] += end
        rendered = self._template(_turns(messages, shown), not continue_assistant)
        if continue_assistant:
            rendered = _cut(rendered, end)
        return _pieces(rendered, mark)

    def render_whole(self, messages: Sequence[Message]) -> tuple[str, ...]:
        """A conversation that is over, in pieces: nobody's turn is left open.

        Raises:
            InvalidRequestError: The template refuses the conversation.
        """
        contents = [message.text for message in messages]
        (mark,) = _unused(contents, 1)
        shown = [self._break_control(text, mark) for text in contents]
        rendered = self._template(_turns(messages, shown), False)  # noqa: FBT003 - RenderTemplate's shape
        return _pieces(rendered, mark)

    def render_steps(
        self, messages: Sequence[Message], steps: Sequence[str], separator: str
    ) -> tuple[str, ...]:
        """A conversation that ends with an answer in steps, in pieces: a separator stands behind each step.

        Args:
            messages: What is answered.
            steps: Of the answer; the separator's text in them stays text if it is among the control tokens.
            separator: It.

        Raises:
            InvalidRequestError: The template refuses the conversation.
            UnsupportedError: The template leaves a part of the answer out, or repeats it.
        """
        contents = [message.text for message in messages]
        mark, end = _unused([*contents, *steps], 2)
        shown = [self._break_control(text, mark) for text in contents]
        answer = "".join(self._break_control(step, mark) + end for step in steps)
        turns = [*_turns(messages, shown), {"role": "assistant", "content": answer}]
        rendered = self._template(turns, False)  # noqa: FBT003 - RenderTemplate's shape
        if rendered.count(end) != len(steps):
            raise UnsupportedError(
                "the model's chat template does not show all steps of the assistant's message, once each",
                hint="give another one in the model's profile: `chat_template`",
            )
        return _pieces(rendered.replace(end, separator), mark)

    def broken(self, text: str) -> tuple[str, ...]:
        """Content in pieces, none of which holds a control token's text."""
        (mark,) = _unused([text], 1)
        return _pieces(self._break_control(text, mark), mark)

    def _break_control(self, text: str, mark: str) -> str:
        return text if self._control is None else self._control.sub(rf"\1{mark}", text)


def _turns(messages: Sequence[Message], shown: Sequence[str]) -> list[dict[str, str]]:
    return [
        {"role": message.role, "content": text}
        for message, text in zip(messages, shown, strict=True)
    ]


def _pieces(rendered: str, mark: str) -> tuple[str, ...]:
    return tuple(piece for piece in rendered.split(mark) if piece)


def _unused(texts: Sequence[str], count: int) -> list[str]:
    used = set("".join(texts))
    free = [character for character in _NONCHARACTERS if character not in used]
    if len(free) < count:
        raise InvalidRequestError("the messages use nearly all of the noncharacters U+FDD0..U+FDEF")
    return free[:count]


def _cut(rendered: str, end: str) -> str:
    head, found, _ = rendered.rpartition(end)
    if not found:
        raise UnsupportedError(
            "continue_assistant: the model's chat template drops the last assistant message",
            hint="ask in a new user turn instead",
        )
    return head
