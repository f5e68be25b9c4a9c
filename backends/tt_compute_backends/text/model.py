"""How one model reads and writes text: its tokeniser, its vocabulary as bytes, its chat template."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
from tokenizers import Tokenizer

from tt_compute.errors import ModelLoadError
from tt_compute_backends.detokenize import TokenTable
from tt_compute_backends.gguf import read_gguf_header
from tt_compute_backends.text.folder import FolderText, read_folder_text
from tt_compute_backends.text.gguf_text import read_gguf_text
from tt_compute_backends.text.template import ChatTemplate
from tt_compute_backends.text.vocabulary import token_bytes

__all__ = ["TextModel", "open_text"]

_END_TEXTS = frozenset(
    (
        "<|im_end|>",
        "<|eot_id|>",
        "<|eom_id|>",
        "<|endoftext|>",
        "<|end_of_text|>",
        "</s>",
        "<|end|>",
    )
)
"""Control tokens that end a turn in the chat formats of the families we load, besides what the model's own
files name."""


class TextModel:
    """Text in and out of one model.

    Args:
        tokenizer_json: In the format of Hugging Face's tokenizers.
        end_tokens: As the model's files name them; known texts of such tokens are added.
        chat_template: Jinja text; None = the model has none, and takes a single user message as it is.
        bos_token: Text of the token that begins a prompt, for the template; None = there is none.
        eos_token: Text of the token that ends one, likewise.
        generates: Whether the model is to write anything, so that some token must end that.
    """

    def __init__(
        self,
        tokenizer_json: str,
        *,
        end_tokens: Sequence[int],
        chat_template: str | None,
        bos_token: str | None,
        eos_token: str | None,
        generates: bool = True,
    ) -> None:
        try:
            self._tokenizer: Tokenizer = Tokenizer.from_str(tokenizer_json)
        except Exception as error:
            raise ModelLoadError(f"the tokenizer cannot be read: {error}") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.tokenizer_json = tokenizer_json
        self.chat_template = chat_template
        self.bos_token, self.eos_token = bos_token, eos_token
        self.control_tokens = {
            number: token.content
            for number, token in self._tokenizer.get_added_tokens_decoder().items()
            if token.special
        }
        self._added = {
            token.content: number
            for number, token in self._tokenizer.get_added_tokens_decoder().items()
        }
        self.end_tokens = frozenset(end_tokens) | {
            number for number, text in self.control_tokens.items() if text in _END_TEXTS
        }
        if generates and not self.end_tokens:
            raise ModelLoadError("the model's files name no token that ends a completion")
        names = token_bytes(self._tokenizer, tokenizer_json)
        self.table = TokenTable(names, self.control_tokens)
        self._template = ChatTemplate(chat_template, bos_token=bos_token, eos_token=eos_token)

    def encode(self, text: str) -> list[int]:
        """Tokens of ``text``; texts of control tokens become those tokens, and none are added."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def added_token(self, text: str) -> int | None:
        """The token that stands for exactly this text, wherever it is written; None = it is read like any other."""
        return self._added.get(text)

    def encode_content(self, text: str, *, framed: bool = False) -> list[int]:
        """Tokens of text that nobody but a user wrote: texts of control tokens stay text.

        Args:
            text: It.
            framed: Add the tokens that the tokenizer puts around a text which stands by itself.
        """
        self._tokenizer.encode_special_tokens = True
        try:
            ids: list[int] = self._tokenizer.encode(text, add_special_tokens=framed).ids
        finally:
            self._tokenizer.encode_special_tokens = False
        return ids

    def render(self, turns: Sequence[dict[str, str]], open_turn: bool) -> str:  # noqa: FBT001 - RenderTemplate's shape
        """The conversation as the model's template writes it.

        Raises:
            InvalidRequestError: The template refuses it.
        """
        return self._template.render(turns, open_turn=open_turn)


def open_text(path: Path, *, chat_template: str | None = None, generates: bool = True) -> TextModel:
    """Read what a GGUF file or a Hugging Face folder says about text.

    Args:
        path: The file or folder.
        chat_template: Instead of the model's own.
        generates: As in ``TextModel``.

    Raises:
        ModelLoadError: Damaged, incomplete or of an unknown kind; the message says what.
    """
    found = read_folder_text(path) if path.is_dir() else read_gguf_text(read_gguf_header(path))
    if chat_template is not None:
        found = msgspec.structs.replace(found, chat_template=chat_template)
    return _text_model(found, path, generates=generates)


def _text_model(found: FolderText, path: Path, *, generates: bool) -> TextModel:
    try:
        return TextModel(
            found.tokenizer_json,
            end_tokens=found.end_tokens,
            chat_template=found.chat_template,
            bos_token=found.bos_token,
            eos_token=found.eos_token,
            generates=generates,
        )
    except ModelLoadError as error:
        raise ModelLoadError(f"{path}: {error.message}", hint=error.hint) from error
