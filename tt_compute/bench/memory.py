"""Resident memory of a process and its children, as Linux tells it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

__all__ = ["process_tree_bytes"]

_PROC: Final = Path("/proc")


def process_tree_bytes(root_pid: int | None = None, proc: Path = _PROC) -> int | None:
    """Resident memory of a process and all below it; None where there is no ``/proc``.

    Pages that several of them share are counted in each.

    Args:
        root_pid: None = this process.
        proc: Where processes are listed.
    """
    resident: dict[int, int] = {}
    parents: dict[int, int] = {}
    for folder in proc.glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
            pages = int((folder / "statm").read_text(encoding="ascii").split()[1])
        except (OSError, IndexError, ValueError):
            # It ended while we looked, or it is no process.
            continue
        parents[int(folder.name)] = int(fields[1])
        resident[int(folder.name)] = pages * os.sysconf("SC_PAGE_SIZE")
    root = os.getpid() if root_pid is None else root_pid
    if root not in resident:
        return None
    return sum(size for pid, size in resident.items() if _below(pid, root, parents))


def _below(pid: int, root: int, parents: dict[int, int]) -> bool:
    seen: set[int] = set()
    while pid not in seen:
        if pid == root:
            return True
        seen.add(pid)
        pid = parents.get(pid, 0)
    return False
