"""Turns texts that are to be read into checked token sequences, one when it is asked for; for any local model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tt_compute.errors import ContextLengthError, InvalidRequestError
from tt_compute.types import Message
from tt_compute_backends.chat import ChatRenderer
from tt_compute_backends.text.model import TextModel

__all__ = ["Continued", "SequenceReader", "StepMarks", "Stepped"]

Tokens = tuple[int, ...]


class Continued(NamedTuple):
    """Texts behind one prompt."""

    prompt: Tokens
    continuations: Iterator[Tokens]


@dataclass(frozen=True, kw_only=True)
class StepMarks:
    """How a process reward model wants to be shown the steps of an answer."""

    separator: str
    """Stands behind each step; what is said of a step is said at its last token."""
    tokens: Tokens
    """Of the separator; one where it stands in a chat."""
    in_chat: bool
    """Within the assistant's turn of the chat template; False = plain text, a question and steps."""
    begin: Tokens = ()
    """Before plain text."""
    system: str | None = None
    """What the system says in a chat in which it says nothing."""


class Stepped(NamedTuple):
    """An answer in steps behind its question."""

    tokens: Tokens
    ends: tuple[int, ...]
    """The place where each step ends."""


class SequenceReader:
    """Reads texts for one loaded model.

    Args:
        text: Of the model.
        context_tokens: Most tokens of a sequence.
    """

    def __init__(self, text: TextModel, context_tokens: int) -> None:
        self._text = text
        self._context_tokens = context_tokens
        self._chat = ChatRenderer(text.render, text.control_tokens.values())

    def answered(self, messages: Sequence[Message], answers: Sequence[str]) -> Iterator[Tokens]:
        """The whole conversation with each answer in turn.

        Raises:
            InvalidRequestError: Too long, or the template refuses it.
        """
        _check_there(messages)
        return (self._answered(place, messages, text) for place, text in enumerate(answers))

    def alone(self, texts: Sequence[str]) -> Iterator[Tokens]:
        """Texts that stand by themselves, with the tokens that the tokenizer puts around them.

        Raises:
            InvalidRequestError: Too long, or of no token.
        """
        return (self._alone(place, text) for place, text in enumerate(texts))

    def continued(self, messages: Sequence[Message], continuations: Sequence[str]) -> Continued:
        """The prompt that opens the assistant's turn, or goes on in it, and what might follow.

        Raises:
            InvalidRequestError: Too long, or the template refuses it.
            UnsupportedError: The template cannot leave the assistant's turn open.
        """
        _check_there(messages)
        self._check_bytes("the prompt", *(message.text for message in messages))
        goes_on = messages[-1].role == "assistant"
        pieces = self._chat.render(messages, continue_assistant=goes_on)
        prompt = self._joined(pieces)
        if not prompt:
            raise InvalidRequestError("the chat template makes an empty prompt of the messages")
        return Continued(
            prompt,
            (self._following(place, prompt, text) for place, text in enumerate(continuations)),
        )

    def stepped(
        self, messages: Sequence[Message], answers: Sequence[Sequence[str]], marks: StepMarks
    ) -> Iterator[Stepped]:
        """The whole conversation with each answer in turn, the end of every step marked.

        Raises:
            InvalidRequestError: Too long, an answer without steps, a step without text, or the messages are not
                of the kind that the model was made for.
            UnsupportedError: The template does not show all steps.
        """
        _check_there(messages)
        whole = messages
        if marks.system is not None and not any(one.role == "system" for one in messages):
            whole = (Message(role="system", content=marks.system), *messages)
        control = self._text.control_tokens.values() if marks.in_chat else ()
        chat = ChatRenderer(self._text.render, {*control, marks.separator})
        return (
            self._stepped(place, whole, _steps(place, answer), marks, chat)
            for place, answer in enumerate(answers)
        )

    def _stepped(
        self,
        place: int,
        messages: Sequence[Message],
        steps: Sequence[str],
        marks: StepMarks,
        chat: ChatRenderer,
    ) -> Stepped:
        what = f"text {place} with its messages"
        self._check_bytes(what, *(message.text for message in messages), *steps)
        if marks.in_chat:
            tokens = self._joined(chat.render_steps(messages, steps, marks.separator))
            ends = tuple(at for at, token in enumerate(tokens) if token == marks.tokens[0])
        else:
            tokens, ends = self._plain(messages, steps, marks, chat)
        if len(ends) != len(steps):
            raise InvalidRequestError(
                f"the chat template itself writes {marks.separator!r}, which marks the ends of steps"
            )
        self._check(what, len(tokens))
        return Stepped(tokens, ends)

    def _plain(
        self,
        messages: Sequence[Message],
        steps: Sequence[str],
        marks: StepMarks,
        chat: ChatRenderer,
    ) -> Stepped:
        if [message.role for message in messages] != ["user"]:
            raise InvalidRequestError(
                "the model was made for a plain question and takes a single user message",
                hint="leave out the system prompt and earlier turns",
            )
        tokens = [*marks.begin, *self._text.encode_content(messages[0].text)]
        ends: list[int] = []
        for step in steps:
            for piece in chat.broken(step):
                tokens += self._text.encode_content(piece)
            tokens += marks.tokens
            ends.append(len(tokens) - 1)
        return Stepped(tuple(tokens), tuple(ends))

    def _following(self, place: int, prompt: Tokens, text: str) -> Tokens:
        self._check_bytes(f"continuation {place}", text)
        tokens = tuple(self._text.encode_content(text))
        self._check(f"continuation {place} with its prompt", len(prompt) + len(tokens))
        return tokens

    def _answered(self, place: int, messages: Sequence[Message], text: str) -> Tokens:
        what = f"text {place} with its messages"
        whole = (*messages, Message(role="assistant", content=text))
        self._check_bytes(what, *(message.text for message in whole))
        tokens = self._joined(self._chat.render_whole(whole))
        if not tokens:
            raise InvalidRequestError("the chat template makes an empty text of the messages")
        self._check(what, len(tokens))
        return tokens

    def _alone(self, place: int, text: str) -> Tokens:
        self._check_bytes(f"text {place}", text)
        tokens = tuple(self._text.encode_content(text, framed=True))
        if not tokens:
            raise InvalidRequestError(f"text {place} has no token", hint="leave empty texts out")
        self._check(f"text {place}", len(tokens))
        return tokens

    def _joined(self, pieces: Sequence[str]) -> Tokens:
        return tuple(token for piece in pieces for token in self._text.encode(piece))

    def _check_bytes(self, what: str, *texts: str) -> None:
        """A token is at most so long, so that nothing needs to read a text that cannot fit."""
        held = sum(len(text.encode()) for text in texts)
        if held > self._context_tokens * self._text.table.longest_bytes:
            raise ContextLengthError(
                f"{what} has {held} bytes, more than {self._context_tokens} tokens can hold",
                hint="shorten it",
            )

    def _check(self, what: str, tokens: int) -> None:
        if tokens > self._context_tokens:
            raise ContextLengthError(
                f"{what} has {tokens} tokens; the context holds {self._context_tokens}",
                hint="shorten it",
            )


def _steps(place: int, answer: Sequence[str]) -> list[str]:
    """Without the white space around each: the separator takes its place."""
    if not answer:
        raise InvalidRequestError(f"text {place} has no steps", hint="leave it out")
    steps = [step.strip() for step in answer]
    if not all(steps):
        raise InvalidRequestError(
            f"step {steps.index('')} of text {place} is empty", hint="leave empty steps out"
        )
    return steps


def _check_there(messages: Sequence[Message]) -> None:
    if not messages:
        raise InvalidRequestError("the prompt has no messages")
