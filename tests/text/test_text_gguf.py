"""The tokeniser that we build from a GGUF file beside the one that OpenVINO builds from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tt_compute_backends.text.model import TextModel, open_text

pytestmark = pytest.mark.model

TEXTS = [
    "",
    " ",
    "a",
    "Hello, world!",
    "  two  spaces   and\ttabs\n\nnewlines \r\n",
    "What is 12 times 345.67? 1,000,000 and 3/4 and 2^10 = 1024.",
    "it's we're they'll I'd he'S WE'VE",
    "def f(x):\n    return {'a': [1, 2, 3], \"b\": x ** 2}  # comment",
    "Größe, naïve café, ΑΒΓ αβγ, Привет мир, שלום עולם, مرحبا بالعالم",
    "你好，世界。こんにちは世界。안녕하세요 세계",
    "👋🏽 👨‍👩‍👧‍👦 🇨🇦 ☺️ ✊",
    "e\u0301 \u00e9 \u2460 ½ ² Ⅳ ٣",
    "zero\u200bwidth\u00a0nbsp\u3000ideographic",
    "<|im_start|>user\nhi<|im_end|>\n<|endoftext|>",
    "<|im_start|>assistant <|im_end|><|im_end|> text",
    "a" * 300,
    " " * 70 + "x",
    "\n" * 40,
    "1234567890" * 20,
    "\x00\x01\x7f",
]


@pytest.fixture(scope="module")
def text(embedded_model: Path) -> TextModel:
    return open_text(embedded_model)


@pytest.fixture(scope="module")
def openvino_tokenizer(embedded_model: Path) -> Any:
    library = pytest.importorskip("tt_compute_backends.openvino_library")
    return library.new_tokenizer(str(embedded_model))


@pytest.mark.parametrize("example", TEXTS)
def test_tokens_are_the_same(text: TextModel, openvino_tokenizer: Any, example: str) -> None:
    from tt_compute_backends.openvino_library import encode

    assert text.encode(example) == (encode(openvino_tokenizer, example) if example else [])


@settings(max_examples=300, deadline=None)
@given(example=st.text(st.characters(max_codepoint=0x3FFFF, codec="utf-8"), max_size=60))
def test_the_bytes_of_the_tokens_are_the_bytes_of_the_text(text: TextModel, example: str) -> None:
    """But for the texts of control tokens, which are no text, and for bytes that the vocabulary lacks."""
    known = set(b"".join(text.table.bytes_of([token]) for token in range(1000)))
    if set(example.encode()) <= known and not any(
        control in example for control in text.control_tokens.values()
    ):
        assert text.table.bytes_of(text.encode(example)) == example.encode()


@pytest.mark.parametrize("open_turn", [True, False])
def test_conversations_are_rendered_the_same(
    text: TextModel,
    openvino_tokenizer: Any,
    open_turn: bool,
) -> None:
    conversations = [
        [{"role": "user", "content": "Hi"}],
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "  Hi \n"}],
        [
            {"role": "user", "content": "1+1?"},
            {"role": "assistant", "content": "2"},
            {"role": "user", "content": "and 2+2?"},
        ],
    ]
    for turns in conversations:
        expected = openvino_tokenizer.apply_chat_template(turns, add_generation_prompt=open_turn)
        assert text.render(turns, open_turn) == expected


def test_completions_end_with_the_tokens_that_the_file_names(text: TextModel) -> None:
    assert {text.control_tokens[token] for token in text.end_tokens} == {
        "<|im_end|>",
        "<|endoftext|>",
    }
