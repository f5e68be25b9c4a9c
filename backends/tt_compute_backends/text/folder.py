"""What the small files of a Hugging Face folder say about text."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import msgspec

from tt_compute.errors import ModelLoadError

__all__ = ["FolderText", "read_folder_text", "read_json"]


class FolderText(msgspec.Struct, frozen=True, kw_only=True):
    """A tokeniser and what goes with it, wherever it came from."""

    tokenizer_json: str
    end_tokens: tuple[int, ...]
    chat_template: str | None = None
    bos_token: str | None = None
    eos_token: str | None = None


def read_folder_text(folder: Path) -> FolderText:
    """Read ``tokenizer.json`` and the settings beside it.

    Raises:
        ModelLoadError: A file is missing or damaged.
    """
    path = folder / "tokenizer.json"
    try:
        tokenizer_json = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelLoadError(
            f"{path} cannot be read: {error}",
            hint="the tokenizer must be in the format of the tokenizers library (tokenizer.json)",
        ) from error
    settings = read_json(folder / "tokenizer_config.json")
    return FolderText(
        tokenizer_json=tokenizer_json,
        end_tokens=_end_tokens(folder),
        chat_template=_chat_template(folder, settings),
        bos_token=_token_text(settings, "bos_token"),
        eos_token=_token_text(settings, "eos_token"),
    )


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; a missing file is an empty one.

    Raises:
        ModelLoadError: Damaged, or not an object.
    """
    try:
        document: object = msgspec.json.decode(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, msgspec.DecodeError, RecursionError) as error:
        raise ModelLoadError(f"{path} cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise ModelLoadError(f"{path} does not hold a JSON object")
    return cast("dict[str, Any]", document)


def _end_tokens(folder: Path) -> tuple[int, ...]:
    """Of ``generation_config.json``, else of ``config.json``; a number or a list of them."""
    for name in ("generation_config.json", "config.json"):
        value: object = read_json(folder / name).get("eos_token_id")
        if isinstance(value, int):
            return (value,)
        if isinstance(value, list):
            return tuple(token for token in cast("list[object]", value) if isinstance(token, int))
    return ()


def _chat_template(folder: Path, settings: dict[str, Any]) -> str | None:
    try:
        return (folder / "chat_template.jinja").read_text(encoding="utf-8")
    except FileNotFoundError:
        pass
    except (OSError, UnicodeDecodeError) as error:
        raise ModelLoadError(f"{folder / 'chat_template.jinja'} cannot be read: {error}") from error
    template: object = settings.get("chat_template")
    if isinstance(template, list):
        template = _default_of(cast("list[object]", template))
    return template if isinstance(template, str) else None


def _default_of(templates: list[object]) -> object:
    """Of several named ones the one that is used without a name."""
    for entry in templates:
        named = cast("dict[str, object]", entry) if isinstance(entry, dict) else {}
        if named.get("name") == "default":
            return named.get("template")
    return None


def _token_text(settings: dict[str, Any], key: str) -> str | None:
    value: object = settings.get(key)
    if isinstance(value, dict):
        value = cast("dict[str, object]", value).get("content")
    return value if isinstance(value, str) else None
