"""Turns texts that are to be read into checked token sequences, one when it is asked for; for any local model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tt_compute.errors import ContextLengthError, InvalidRequestError
from tt_compute.types import Message
from tt_compute_backends.chat import ChatRenderer
from tt_compute_backends.text.model import TextModel

__all__ = ["Continued", "SequenceReader"]

Tokens = tuple[int, ...]


class Continued(NamedTuple):
    """Texts behind one prompt."""

    prompt: Tokens
    continuations: Iterator[Tokens]


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


def _check_there(messages: Sequence[Message]) -> None:
    if not messages:
        raise InvalidRequestError("the prompt has no messages")
