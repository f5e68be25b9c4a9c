"""Prompts: what a caller may pass, and what is refused with its place."""

from __future__ import annotations

import pytest

from tt_compute.errors import InvalidRequestError
from tt_compute.prompts import estimate_tokens, to_messages
from tt_compute.types import Message, TextPart


def test_a_string_is_one_user_message() -> None:
    assert to_messages("hi") == (Message(role="user", content="hi"),)


def test_a_system_prompt_comes_first() -> None:
    messages = to_messages([{"role": "user", "content": "hi"}], system="be brief")
    assert [message.role for message in messages] == ["system", "user"]


@pytest.mark.parametrize("prompt", ["", "  \n", [], [{"role": "user", "content": " "}]])
def test_an_empty_prompt_is_refused(prompt: str | list[dict[str, object]]) -> None:
    with pytest.raises(InvalidRequestError, match="empty"):
        to_messages(prompt)


def test_a_second_system_prompt_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="system"):
        to_messages([Message(role="system", content="a")], system="b")


def test_a_malformed_message_is_refused_with_its_place() -> None:
    with pytest.raises(InvalidRequestError, match="message 1"):
        to_messages([{"role": "user", "content": "hi"}, {"role": "robot", "content": "x"}])


def test_parts_are_joined() -> None:
    message = Message(role="user", content=(TextPart(text="a"), TextPart(text="b")))
    assert message.text == "ab"


def test_longer_prompts_have_more_tokens() -> None:
    assert estimate_tokens(to_messages("a" * 700)) > estimate_tokens(to_messages("a" * 70))
