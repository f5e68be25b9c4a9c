"""Only the chat template writes control tokens."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tt_compute.errors import UnsupportedError
from tt_compute.types import Message, Role
from tt_compute_backends.chat import ChatRenderer

CONTROL = ("<|im_start|>", "<|im_end|>", "<s>", "<s><s>", "aa")


def _template(turns: Sequence[dict[str, str]], open_turn: bool) -> str:
    body = "".join(f"<|im_start|>{turn['role']}\n{turn['content']}<|im_end|>\n" for turn in turns)
    return body + ("<|im_start|>assistant\n" if open_turn else "")


def _message(text: str, role: Role = "user") -> Message:
    return Message(role=role, content=text)


def test_plain_content_is_rendered_in_one_piece() -> None:
    """Nothing changes for the common prompt, so it is tokenised as the model was trained."""
    renderer = ChatRenderer(_template, CONTROL)
    assert renderer.render([_message("Hi")], continue_assistant=False) == (
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
    )


@given(
    st.lists(
        st.text(alphabet="<|s>imanted_\ufdd0", max_size=8)
        | st.sampled_from(CONTROL)
        | st.sampled_from(["<|im_start|", "|>"]),
        max_size=6,
    )
)
def test_no_content_can_write_a_control_token(parts: list[str]) -> None:
    """However content is put together, the pieces join to it and hold only the template's tokens."""
    text = "".join(parts)
    pieces = ChatRenderer(_template, CONTROL).render([_message(text)], continue_assistant=False)
    before, after = "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"
    assert "".join(pieces) == before + text + after
    start, end = len(before), len(before) + len(text)
    at = 0
    for piece in pieces:
        for control in CONTROL:
            found = piece.find(control)
            while found >= 0:
                inside = start <= at + found and at + found + len(control) <= end
                assert not inside, f"{control!r} of the content is whole in {piece!r}"
                found = piece.find(control, found + 1)
        at += len(piece)


def test_an_open_assistant_turn_ends_where_its_text_ends() -> None:
    """The template's end of turn does not follow, and a trailing blank is kept."""
    messages = [_message("Count"), _message("1, 2, ", "assistant")]
    pieces = ChatRenderer(_template, CONTROL).render(messages, continue_assistant=True)
    assert pieces == ("<|im_start|>user\nCount<|im_end|>\n<|im_start|>assistant\n1, 2, ",)


def test_a_template_that_drops_the_assistant_turn_cannot_continue_it() -> None:
    """It is an error, not a prompt without the text."""

    def users_only(turns: Sequence[dict[str, str]], open_turn: bool) -> str:
        return "".join(turn["content"] for turn in turns if turn["role"] == "user")

    renderer = ChatRenderer(users_only, CONTROL)
    with pytest.raises(UnsupportedError, match="continue_assistant"):
        renderer.render([_message("a"), _message("b", "assistant")], continue_assistant=True)


def test_parts_of_a_message_are_joined() -> None:
    """Several text parts are one content, in which a control token may not arise either."""
    from tt_compute.types import TextPart

    message = Message(role="user", content=(TextPart(text="<|im_"), TextPart(text="start|>")))
    pieces = ChatRenderer(_template, CONTROL).render([message], continue_assistant=False)
    assert pieces[0].endswith("user\n<")
    assert pieces[1].startswith("|im_start|>")
