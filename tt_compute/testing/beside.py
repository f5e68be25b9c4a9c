"""Where files that belong to a test lie."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Protocol

__all__ = ["file_beside"]

_LONGEST = 100
"""Characters of a test's name that a file's name holds; file systems allow 255 bytes of it all."""


class _Node(Protocol):
    """As much of a test as is asked for."""

    @property
    def path(self) -> Path: ...
    @property
    def nodeid(self) -> str: ...


def file_beside(node: _Node, folder: str) -> Path:
    """The file of a test, in a folder beside its module: ``folder/module/Class.test_name-parameters.json``."""
    name = node.nodeid.partition("::")[2].replace("::", ".")
    clean = re.sub(r"[^\w.-]+", "-", name).strip("-.")
    plain = name.replace("[", "-").rstrip("]")
    if clean != plain or len(clean) > _LONGEST:
        # Two names may have become one.
        clean = f"{clean[:_LONGEST]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return node.path.parent / folder / node.path.stem / f"{clean}.json"
