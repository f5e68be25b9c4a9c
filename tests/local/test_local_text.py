"""Tokenisers and chat templates of Hugging Face folders, and what is refused about them."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from tt_compute.errors import InvalidRequestError, ModelLoadError
from tt_compute_backends.text.model import open_text
from tt_compute_backends.text.template import ChatTemplate

HELLO = [{"role": "user", "content": "hé"}]


@pytest.fixture
def folder(tiny: Any, tmp_path: Path) -> Path:
    made: Path = tiny.write_folder(tiny.TinyModel(), tmp_path / "m")
    return made


def test_a_folder_and_a_gguf_file_of_one_model_read_alike(
    tiny: Any, folder: Path, tmp_path: Path
) -> None:
    mine = open_text(folder)
    other = open_text(tiny.write_gguf(tiny.TinyModel(), tmp_path / "m.gguf"))
    for example in ("", "hello", "Größe 👋", "<|end|> a<|user|>", "\x00 \n"):
        assert mine.encode(example) == other.encode(example)
    assert mine.render(HELLO, True) == other.render(HELLO, True) == "<|user|>hé<|end|><|assistant|>"
    assert mine.end_tokens == other.end_tokens == {256}
    assert mine.control_tokens == other.control_tokens
    assert mine.table.bytes_of(mine.encode("Größe 👋")) == "Größe 👋".encode()


def test_control_tokens_add_nothing_to_a_text(folder: Path) -> None:
    text = open_text(folder)
    assert text.table.bytes_of(text.encode("a<|end|>b")) == b"ab"


def test_a_template_of_the_profile_replaces_the_models_own(folder: Path) -> None:
    text = open_text(folder, chat_template="{{ messages[0].content }}!")
    assert text.render(HELLO, True) == "hé!"


def test_a_template_file_comes_before_the_settings(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("from the file", encoding="utf-8")
    assert open_text(folder).render(HELLO, True) == "from the file"


def test_of_named_templates_the_default_is_taken(folder: Path) -> None:
    named = [{"name": "tools", "template": "no"}, {"name": "default", "template": "yes"}]
    settings = folder / "tokenizer_config.json"
    settings.write_text(json.dumps({"chat_template": named}), encoding="utf-8")
    assert open_text(folder).render(HELLO, True) == "yes"


def test_without_a_template_a_single_user_message_is_the_prompt(folder: Path) -> None:
    (folder / "tokenizer_config.json").unlink()
    text = open_text(folder)
    assert text.render(HELLO, True) == "hé"
    with pytest.raises(InvalidRequestError, match="no chat template"):
        text.render([*HELLO, *HELLO], True)


def test_several_tokens_may_end_a_completion(folder: Path) -> None:
    (folder / "generation_config.json").write_text('{"eos_token_id": [256, 257]}')
    assert open_text(folder).end_tokens == {256, 257}


def test_pieces_of_sentencepiece_stand_for_their_text_and_bytes(folder: Path) -> None:
    words = ["<unk>", "<0x41>", "<0xF0>", "\u2581the", "\u2581", "A", "<s>", "</s>"]
    made = Tokenizer(
        models.BPE({word: place for place, word in enumerate(words)}, [], byte_fallback=True)
    )
    made.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    any_made: Any = made
    any_made.add_special_tokens(["<s>", "</s>"])
    (folder / "tokenizer.json").write_text(made.to_str(), encoding="utf-8")
    table = open_text(folder).table
    assert [table.bytes_of([token]) for token in range(6)] == [
        b"<unk>",
        b"A",
        b"\xf0",
        b" the",
        b" ",
        b"A",
    ]


# --- what is refused -----------------------------------------------------------------------------


def test_a_vocabulary_whose_text_is_no_concatenation_is_refused(folder: Path) -> None:
    made = Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.decoder = decoders.WordPiece()
    (folder / "tokenizer.json").write_text(made.to_str(), encoding="utf-8")
    with pytest.raises(ModelLoadError, match="WordPiece"):
        open_text(folder)


@pytest.mark.parametrize("content", [b"", b"{}", b"{", b"[1]", b"\xff\xfe"])
def test_a_damaged_tokenizer_is_refused(folder: Path, content: bytes) -> None:
    (folder / "tokenizer.json").write_bytes(content)
    with pytest.raises(ModelLoadError, match="tokenizer"):
        open_text(folder)


def test_a_model_that_never_ends_is_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    del config["eos_token_id"]
    (folder / "config.json").write_text(json.dumps(config))
    made = Tokenizer.from_file(str(folder / "tokenizer.json"))
    words = json.loads(made.to_str())
    words["added_tokens"] = []
    (folder / "tokenizer.json").write_text(json.dumps(words), encoding="utf-8")
    with pytest.raises(ModelLoadError, match="ends a completion"):
        open_text(folder)


def test_a_pre_tokenizer_that_is_not_known_is_named(tiny: Any, tmp_path: Path) -> None:
    path = tiny.write_gguf(tiny.TinyModel(), tmp_path / "m.gguf")
    path.write_bytes(path.read_bytes().replace(b"gpt-2", b"other"))
    with pytest.raises(ModelLoadError, match="other"):
        open_text(path)


def test_a_template_with_a_mistake_is_refused_when_the_model_is_loaded() -> None:
    with pytest.raises(ModelLoadError, match="template"):
        ChatTemplate("{% for m in messages %}")


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{{ messages[7].content }}", "refuses"),
        ("{{ 1 / 0 }}", "refuses"),
        ("{{ messages.append(1) }}", "refuses"),
        ("{{ ''.__class__.__mro__ }}", "refuses"),
        ("{% for i in range(10**9) %}x{% endfor %}", "refuses"),
    ],
)
def test_a_template_that_fails_or_misbehaves_refuses_the_request(
    template: str, reason: str
) -> None:
    with pytest.raises(InvalidRequestError, match=reason):
        ChatTemplate(template).render(HELLO, open_turn=True)


def test_templates_learn_the_date_from_the_clock_they_are_given() -> None:
    template = ChatTemplate(
        "{{ strftime_now('%d %b %Y') }}", now=lambda: dt.datetime(2026, 11, 26, tzinfo=dt.UTC)
    )
    assert template.render(HELLO, open_turn=True) == "26 Nov 2026"
