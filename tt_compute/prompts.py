"""From what a caller passes as a prompt to checked messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import msgspec

from tt_compute.errors import InvalidRequestError
from tt_compute.sampling import check_encodable, check_types
from tt_compute.types import Message

__all__ = ["Prompt", "estimate_tokens", "to_messages"]

Prompt = str | Sequence[Message | Mapping[str, object]]
"""A string, or messages as ``Message`` or as mappings with ``role`` and ``content``."""

_CHARACTERS_PER_TOKEN = 3.5
"""English text under byte-pair vocabularies of 32k to 256k entries; only plans rest on it."""
_TOKENS_PER_MESSAGE = 8
"""Role marks and separators of the usual chat templates."""


def to_messages(prompt: Prompt, *, system: str | None = None) -> tuple[Message, ...]:
    """Check a prompt and give it as messages.

    Args:
        prompt: What to ask.
        system: A system prompt to put before it.

    Raises:
        InvalidRequestError: The prompt is empty, not of the form above or not text, or has a system
            message already.
    """
    if system is not None:
        check_types("system", system, str)
    messages = _messages(prompt)
    if not any(message.text.strip() for message in messages):
        raise InvalidRequestError("the prompt is empty", hint="pass a question or messages")
    if system is not None:
        if any(message.role == "system" for message in messages):
            raise InvalidRequestError("`system` was given and the messages hold a system message")
        messages = (Message(role="system", content=system), *messages)
    for place, message in enumerate(messages):
        check_encodable(f"message {place} of the prompt", message.text)
    return messages


def estimate_tokens(messages: Sequence[Message]) -> int:
    """Prompt tokens by length alone, for planning before any tokenizer is loaded."""
    characters = sum(len(message.text) for message in messages)
    return round(characters / _CHARACTERS_PER_TOKEN) + _TOKENS_PER_MESSAGE * len(messages)


def _messages(prompt: Prompt) -> tuple[Message, ...]:
    if isinstance(prompt, str):
        return (Message(role="user", content=prompt),)
    # Not every caller is checked by a type checker.
    if not isinstance(cast("object", prompt), Sequence):
        raise InvalidRequestError(f"a prompt is a string or messages, got {type(prompt).__name__}")
    return tuple(_message(item, place) for place, item in enumerate(prompt))


def _message(item: Message | Mapping[str, object], place: int) -> Message:
    if isinstance(item, Message):
        return item
    try:
        return msgspec.convert(item, Message)
    except msgspec.ValidationError as exc:
        raise InvalidRequestError(f"message {place} of the prompt: {exc}") from exc
