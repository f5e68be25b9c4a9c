"""How much memory this process may still take."""

from __future__ import annotations

from pathlib import Path
from typing import Final

__all__ = ["free_memory_bytes"]

_UNKNOWN_BYTES: Final = 4 << 30
"""Where the system does not tell: enough for a small model's caches."""
_CGROUP: Final = Path("/sys/fs/cgroup")


def free_memory_bytes(meminfo: Path = Path("/proc/meminfo"), cgroup: Path = _CGROUP) -> int:
    """The lower of what the machine has available and what the control group leaves; a guess off Linux."""
    limits = [free for free in (_available(meminfo), _group_left(cgroup)) if free is not None]
    return min(limits, default=_UNKNOWN_BYTES)


def _available(meminfo: Path) -> int | None:
    try:
        for line in meminfo.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        return None
    return None


def _group_left(cgroup: Path) -> int | None:
    """Version 2's files; "max" is no limit."""
    try:
        limit = int((cgroup / "memory.max").read_text(encoding="ascii"))
        return max(0, limit - int((cgroup / "memory.current").read_text(encoding="ascii")))
    except (OSError, ValueError):
        return None
