"""The progress bar of a model that is being fetched."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

__all__ = ["DownloadBars"]


class DownloadBars:
    """Shows one bar per phase of a download; nothing before the first byte. Called from any thread."""

    def __init__(self, console: Console) -> None:
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def __call__(self, phase: str, done_bytes: int, total_bytes: int | None) -> None:
        with self._lock:
            if phase not in self._tasks:
                self._bars.start()
                self._tasks[phase] = self._bars.add_task(phase, total=total_bytes)
            self._bars.update(self._tasks[phase], completed=done_bytes, total=total_bytes)

    def stop(self) -> None:
        """End the bars; a later call of the callback begins new ones."""
        with self._lock:
            if self._tasks:
                self._bars.stop()
                self._tasks.clear()
