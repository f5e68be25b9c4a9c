"""The bytes that each token of a vocabulary stands for."""

from __future__ import annotations

import re
from typing import Any, Final, cast

import msgspec
from tokenizers import Tokenizer

from tt_compute.errors import ModelLoadError

__all__ = ["token_bytes"]

_BYTE_TOKEN: Final = re.compile(r"<0x([0-9A-F]{2})>")
_SPACE: Final = "\u2581"
"""How SentencePiece writes a space."""


def token_bytes(tokenizer: Tokenizer, tokenizer_json: str) -> list[bytes]:
    """Bytes by token number; added tokens stand for their own text.

    Raises:
        ModelLoadError: The tokeniser is neither byte-level nor of SentencePiece's kind, so that its text is not
            the concatenation of its tokens.
    """
    decoders = _decoder_kinds(tokenizer_json)
    if "ByteLevel" in decoders:
        convert = _byte_level
    elif "ByteFallback" in decoders or "Metaspace" in decoders:
        convert = _sentence_piece
    else:
        raise ModelLoadError(
            f"the tokenizer decodes by {', '.join(sorted(decoders)) or 'nothing'}; "
            "byte-level and SentencePiece vocabularies are read"
        )
    vocabulary: dict[str, int] = tokenizer.get_vocab(with_added_tokens=True)
    added = tokenizer.get_added_tokens_decoder()
    names = [b""] * (max(vocabulary.values(), default=-1) + 1)
    for token, number in vocabulary.items():
        names[number] = token.encode() if number in added else convert(token)
    return names


def _decoder_kinds(tokenizer_json: str) -> set[str]:
    document: Any = msgspec.json.decode(tokenizer_json)
    decoder: object = document.get("decoder")
    if not isinstance(decoder, dict):
        return set()
    node = cast("dict[str, Any]", decoder)
    return {str(part.get("type")) for part in (node, *node.get("decoders", ()))}


def _byte_level(token: str) -> bytes:
    return (
        bytes(_BYTES[character] for character in token)
        if set(token) <= _BYTES.keys()
        else token.encode()
    )


def _sentence_piece(token: str) -> bytes:
    byte = _BYTE_TOKEN.fullmatch(token)
    if byte is not None:
        return bytes([int(byte[1], 16)])
    return token.replace(_SPACE, " ").encode()


def _byte_characters() -> dict[str, int]:
    """GPT-2's readable stand-ins for bytes: printable ones are themselves, the others follow U+0100.

    Source: ``bytes_to_unicode`` in https://github.com/openai/gpt-2/blob/master/src/encoder.py.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printable]
    pairs = [(chr(byte), byte) for byte in printable]
    return dict(pairs + [(chr(0x100 + place), byte) for place, byte in enumerate(others)])


_BYTES: Final = _byte_characters()
