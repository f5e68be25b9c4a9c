"""Builds a tokeniser from the tables inside a GGUF file.

Keys: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. How a text is split before byte-pair merging is
not in the file, only its name (``tokenizer.ggml.pre``); the expressions are those of llama.cpp's
``llama-vocab.cpp``, which are those of the models' own ``tokenizer.json``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

import msgspec
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from tt_compute.errors import ModelLoadError
from tt_compute_backends.gguf import GgufHeader
from tt_compute_backends.text.folder import FolderText

__all__ = ["read_gguf_text", "splitter_name"]

_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _BYTE = 1, 2, 3, 4, 6
"""GGUF's types of tokens."""

_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2 = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")


def _gpt2() -> Any:
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)


def _digits_then_gpt2() -> Any:
    return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), _gpt2()])


def _split(expression: str) -> Any:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(expression), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


_SPLITTERS: Final[dict[str, Callable[[], Any]]] = {
    "gpt-2": _gpt2,
    "smollm": _digits_then_gpt2,
    "llama-bpe": lambda: _split(_LLAMA3),
    "qwen2": lambda: _split(_QWEN2),
}
_COMPOSED: Final = frozenset({"qwen2"})
"""Those that bring text into Unicode's composed form first."""
_WHOLE_WORDS: Final = frozenset({"llama-bpe"})
"""Those that take a word which is a token as it is, without merging."""


def splitter_name(document: Any) -> str | None:
    """GGUF's name of the way in which a ``tokenizer.json`` splits text; None = it has none that we know."""
    for name, make in _SPLITTERS.items():
        probe = Tokenizer(models.BPE())
        probe.pre_tokenizer = make()
        ours: Any = msgspec.json.decode(probe.to_str())["pre_tokenizer"]
        if _rules(ours) == _rules(document.get("pre_tokenizer")):
            return name
    return None


def _rules(node: Any) -> list[tuple[object, ...]]:
    """What a pre-tokeniser does, without the settings that only move offsets."""
    if not isinstance(node, dict):
        return []
    kind = cast("dict[str, Any]", node)
    if kind.get("type") == "Sequence":
        return [rule for part in kind["pretokenizers"] for rule in _rules(part)]
    said = ("type", "use_regex", "add_prefix_space", "individual_digits", "behavior", "invert")
    pattern = cast("dict[str, Any]", kind.get("pattern") or {}).get("Regex")
    return [(*(kind.get(key) for key in said), pattern)]


def read_gguf_text(header: GgufHeader) -> FolderText:
    """The tokeniser of a GGUF file.

    Raises:
        ModelLoadError: Its kind is not one of ours, or its tables contradict each other.
    """
    kind = header.text("tokenizer.ggml.model")
    if kind != "gpt2":
        raise ModelLoadError(
            f"{header.path}: tokenizer {kind!r}; only 'gpt2' (byte-level BPE) is read from GGUF files",
            hint="give the model's Hugging Face folder instead",
        )
    tokens, types = _tokens(header)
    tokenizer = _tokenizer(header, tokens)
    for special in (True, False):
        wanted = _CONTROL if special else _USER_DEFINED
        added = [
            AddedToken(token, special=special, normalized=False)
            for token, kind_of in zip(tokens, types, strict=True)
            if kind_of == wanted
        ]
        cast("Any", tokenizer).add_tokens(added)
    return FolderText(
        tokenizer_json=tokenizer.to_str(),
        end_tokens=_end_tokens(header),
        chat_template=header.text("tokenizer.chat_template"),
        bos_token=_named(header, tokens, "tokenizer.ggml.bos_token_id"),
        eos_token=_named(header, tokens, "tokenizer.ggml.eos_token_id"),
    )


def _tokens(header: GgufHeader) -> tuple[list[str], list[int]]:
    tokens = [str(token) for token in header.array("tokenizer.ggml.tokens")]
    types = [int(str(kind)) for kind in header.array("tokenizer.ggml.token_type")]
    if not tokens or len(tokens) != len(types):
        raise ModelLoadError(f"{header.path}: {len(tokens)} tokens and {len(types)} token types")
    if len(set(tokens)) != len(tokens):
        raise ModelLoadError(f"{header.path}: a token stands twice in its vocabulary")
    return tokens, types


def _tokenizer(header: GgufHeader, tokens: list[str]) -> Tokenizer:
    name = header.text("tokenizer.ggml.pre")
    splitter = _SPLITTERS.get(name or "")
    if splitter is None:
        raise ModelLoadError(
            f"{header.path}: pre-tokenizer {name!r}; those read from GGUF files are {', '.join(_SPLITTERS)}",
            hint="give the model's Hugging Face folder instead",
        )
    merges: list[tuple[str, str]] = []
    for merge in header.array("tokenizer.ggml.merges"):
        left, _, right = str(merge).partition(" ")
        merges.append((left, right))
    vocabulary = {token: number for number, token in enumerate(tokens)}
    try:
        model = models.BPE(vocab=vocabulary, merges=merges, ignore_merges=name in _WHOLE_WORDS)
    except Exception as error:
        raise ModelLoadError(f"{header.path}: its merges do not fit its tokens: {error}") from error
    tokenizer = Tokenizer(model)
    if name in _COMPOSED:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = splitter()
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _end_tokens(header: GgufHeader) -> tuple[int, ...]:
    keys = (
        "tokenizer.ggml.eos_token_id",
        "tokenizer.ggml.eot_token_id",
        "tokenizer.ggml.eom_token_id",
    )
    numbers = (header.integer(key) for key in keys)
    return tuple(number for number in numbers if number is not None)


def _named(header: GgufHeader, tokens: list[str], key: str) -> str | None:
    number = header.integer(key)
    return tokens[number] if number is not None and number < len(tokens) else None
