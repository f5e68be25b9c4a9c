"""What the machine's energy counters tell while a model runs: RAPL of processors, NVML of NVIDIA GPUs.

https://docs.kernel.org/power/powercap/powercap.html and ``nvmlDeviceGetTotalEnergyConsumption`` of
https://docs.nvidia.com/deploy/nvml-api/
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

__all__ = ["Counter", "EnergyMeter", "Unreadable", "nvml_counters", "rapl_counters"]

_POWERCAP: Final = Path("/sys/class/powercap")


class Unreadable(Exception):
    """Counters are not there or may not be read; the text says why. Never leaves the package."""


class Counter(Protocol):
    """Counts the energy of one part of the machine."""

    @property
    def part(self) -> str:
        """Of the machine, such as ``package-0``."""
        ...

    def joules(self) -> float:
        """Since the counter was made.

        Raises:
            Unreadable: It no longer can be read.
        """
        ...


class EnergyMeter:
    """The sum of all counters that can be read.

    Attributes:
        source: What is counted; None = nothing is.
        reason: What is not counted, and why; None = all that we know of is.

    Args:
        finders: Each gives its counters or raises ``Unreadable``; none = nothing is counted.
        reason: Why nothing is to be counted.
    """

    def __init__(
        self, finders: Sequence[Callable[[], Sequence[Counter]]], *, reason: str | None = None
    ) -> None:
        self._counters: list[Counter] = []
        reasons = [] if reason is None else [reason]
        for find in finders:
            try:
                self._counters += find()
            except Unreadable as error:
                reasons.append(str(error))
        self.source = ", ".join(counter.part for counter in self._counters) or None
        self.reason = "; ".join(reasons) or None

    @classmethod
    def of_this_machine(cls) -> EnergyMeter:
        return cls((rapl_counters, nvml_counters))

    def joules(self) -> float | None:
        """Since the meter was made; None when nothing can be read, or no longer."""
        if not self._counters:
            return None
        try:
            return sum(counter.joules() for counter in self._counters)
        except Unreadable as error:
            # A sum without one of its parts would be another quantity.
            self._counters.clear()
            self.source, self.reason = None, str(error)
            return None


def rapl_counters(folder: Path = _POWERCAP) -> list[Counter]:
    """Of each processor package, and of memory where it is counted apart from them.

    Raises:
        Unreadable: There are none, or they may not be read.
    """
    counters: list[Counter] = []
    try:
        for zone in sorted(folder.glob("*-rapl:*")):
            name = (zone / "name").read_text(encoding="utf-8").strip()
            # Cores and integrated graphics are parts of a package, and psys holds the packages.
            if name.startswith("package") or name == "dram":
                counters.append(_RaplCounter(zone, name))
    except (OSError, ValueError) as error:
        raise Unreadable(f"RAPL: {error}") from error
    if not counters:
        raise Unreadable(f"RAPL: no energy counters of processors in {folder}")
    return counters


class _RaplCounter:
    """A zone of the kernel's powercap interface. It wraps after minutes to hours, so it is read more often."""

    def __init__(self, zone: Path, name: str) -> None:
        self.part = f"RAPL {name}"
        self._file = zone / "energy_uj"
        self._range_uj = _number(zone / "max_energy_range_uj")
        self._last_uj = _number(self._file)
        self._joules = 0.0

    def joules(self) -> float:
        try:
            now_uj = _number(self._file)
        except (OSError, ValueError) as error:
            raise Unreadable(f"RAPL: {error}") from error
        passed_uj = now_uj - self._last_uj
        # The counter begins again at 0 after its greatest value.
        self._joules += (passed_uj if passed_uj >= 0 else passed_uj + self._range_uj) / 1e6
        self._last_uj = now_uj
        return self._joules


def nvml_counters(import_module: Callable[[str], Any] = importlib.import_module) -> list[Counter]:
    """Of each NVIDIA GPU that this process may see.

    Args:
        import_module: Finds ``pynvml``.

    Raises:
        Unreadable: The library or a driver is missing, or a GPU does not count.
    """
    try:
        library = import_module("pynvml")
    except ImportError as error:
        raise Unreadable("NVML: pynvml is not installed") from error
    try:
        library.nvmlInit()
        handles = map(library.nvmlDeviceGetHandleByIndex, range(library.nvmlDeviceGetCount()))
        counters: list[Counter] = [
            _NvmlCounter(library, handle, f"NVML GPU {place}")
            for place, handle in enumerate(handles)
        ]
    except library.NVMLError as error:
        raise Unreadable(f"NVML: {error}") from error
    if not counters:
        raise Unreadable("NVML: no GPU")
    return counters


class _NvmlCounter:
    """Counts from the driver's start on."""

    def __init__(self, library: Any, handle: Any, part: str) -> None:
        self.part = part
        self._library = library
        self._handle = handle
        self._start_mj: int = library.nvmlDeviceGetTotalEnergyConsumption(handle)

    def joules(self) -> float:
        try:
            now_mj: int = self._library.nvmlDeviceGetTotalEnergyConsumption(self._handle)
        except self._library.NVMLError as error:
            raise Unreadable(f"{self.part}: {error}") from error
        return (now_mj - self._start_mj) / 1e3


def _number(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))
