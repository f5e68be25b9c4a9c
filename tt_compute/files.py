"""Files of the user: found where he says, and written whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from tt_compute.errors import UsageError

__all__ = ["check_folder", "expanded", "replace_file", "write_file"]


def expanded(path: Path | str) -> Path:
    """The path with the user's home in the place of ``~``; where there is no such home it stays, as in a shell."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - pathlib raises a RuntimeError there


def check_folder(file: Path) -> None:
    """Refuse, before anything is worked out for it, a file whose folder is not there.

    Raises:
        UsageError: There is none.
    """
    if not file.parent.is_dir():
        raise UsageError(f"there is no folder {file.parent} to write {file.name} into")


def write_file(file: Path, data: bytes) -> None:
    """Write one that a user named: a link stays one, and what is no file, such as /dev/stdout, is written to.

    Raises:
        UsageError: It cannot be written.
    """
    target = Path(os.path.realpath(file))
    try:
        if target.exists() and not target.is_file():
            target.write_bytes(data)
        else:
            replace_file(target, data)
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror or error}") from error


def replace_file(target: Path, data: bytes) -> None:
    """Write a file whole or not at all; one that is there is replaced.

    Raises:
        OSError: It cannot be written.
    """
    # Not the target's name and more: that may be as long as a name can be.
    scratch = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with scratch.open("xb") as stream:
            stream.write(data)
        scratch.replace(target)
    finally:
        scratch.unlink(missing_ok=True)
