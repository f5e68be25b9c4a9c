"""What the machine tells about itself while a model runs: memory and energy, or why it does not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

__all__ = ["EnergyMeter", "process_tree_bytes"]

_POWERCAP: Final = Path("/sys/class/powercap")
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


class EnergyMeter:
    """Joules that the processor packages have taken, by Intel's and AMD's RAPL counters.

    Kernel interface: https://docs.kernel.org/power/powercap/powercap.html

    Args:
        folder: Where the kernel shows them.
    """

    def __init__(self, folder: Path = _POWERCAP) -> None:
        self.source = "RAPL, processor packages"
        self.reason: str | None = None
        """Why nothing can be read; None = it can."""
        self._domains = [
            path for path in sorted(folder.glob("*-rapl:*")) if path.name.count(":") == 1
        ]
        self._wraps: dict[Path, int] = {}
        self._last: dict[Path, int] = {}
        self._joules = 0.0
        if not self._domains:
            self.reason = "this machine shows no energy counters (RAPL)"
            return
        try:
            for domain in self._domains:
                self._wraps[domain] = _number(domain / "max_energy_range_uj")
                self._last[domain] = _number(domain / "energy_uj")
        except (OSError, ValueError) as error:
            self.reason = f"the energy counters cannot be read: {error}"

    def joules(self) -> float | None:
        """Since the meter was made; None when nothing can be read. Called at least once per wrap (minutes)."""
        if self.reason is not None:
            return None
        for domain in self._domains:
            now = _number(domain / "energy_uj")
            passed = now - self._last[domain]
            # The counter begins again at 0 after its greatest value.
            self._joules += (passed if passed >= 0 else passed + self._wraps[domain]) / 1e6
            self._last[domain] = now
        return self._joules


def _number(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))
