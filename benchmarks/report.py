"""What every benchmark prints with its figures: when, where, with which versions; and how sure they are."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tt_compute.reporting import wilson

__all__ = ["conditions", "markdown", "percent", "write"]

_PACKAGES = ("tt-compute", "openvino-genai", "msgspec", "anyio")


def conditions(*packages: str) -> str:
    """Date, machine and versions, of ``packages`` too, in one line."""
    found = [f"Python {platform.python_version()}"]
    for package in (*_PACKAGES, *packages):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    today = datetime.now(UTC).date().isoformat()
    return f"{today}, {_processor()}, {cores} cores, {platform.system()}; {', '.join(found)}"


def percent(right: int, n: int) -> str:
    """A proportion with its 95 % interval."""
    found = wilson(right, n)
    return f"{100 * found.share:.0f} % ({100 * found.low:.0f}-{100 * found.high:.0f})"


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
