"""What every benchmark prints with its figures: when, where, with which versions; and how sure they are."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["conditions", "markdown", "percent", "wilson", "write"]

_Z95 = 1.959964
_PACKAGES = ("tt-compute", "openvino-genai", "msgspec", "anyio")


def conditions() -> str:
    """Date, machine and versions, in one line."""
    found = [f"Python {platform.python_version()}"]
    for package in _PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    today = datetime.now(UTC).date().isoformat()
    return f"{today}, {_processor()}, {cores} cores, {platform.system()}; {', '.join(found)}"


def wilson(right: int, n: int) -> tuple[float, float]:
    """Wilson's score interval of a proportion, 95 % (Wilson 1927)."""
    p, z2 = right / n, _Z95**2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return centre - half, centre + half


def percent(right: int, n: int) -> str:
    """A proportion with its 95 % interval."""
    low, high = wilson(right, n)
    return f"{100 * right / n:.0f} % ({100 * low:.0f}-{100 * high:.0f})"


def markdown(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def write(path: Path | None, text: str) -> None:
    """Print a report, and keep it where the documentation shows it."""
    print(text)
    if path is not None:
        path.write_text(text + "\n", encoding="utf-8")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
