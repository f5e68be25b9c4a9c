"""What a terminal shows of a run while it goes on: downloads, loading, samples as they end."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress import (
    BarColumn,
    DownloadColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Bars
from rich.spinner import Spinner
from rich.text import Text

from tt_compute.cli.render import plan_lines, progress_view
from tt_compute.cli.shared import Output, printable
from tt_compute.planning.types import Candidate
from tt_compute.results import Progress, TextDelta
from tt_compute.watching import StreamEvent

__all__ = ["Screen"]

_REFRESHES_PER_S = 10
_ALL_ROWS = 1000
_SPARE_ROWS = 6
"""Left for bars and for what was printed before."""


class Screen:
    """The live part of standard error; use it as ``with``.

    Without a terminal, or with ``--json``, it only tells the phases of a download, a line for each.
    """

    def __init__(self, output: Output) -> None:
        self._console = output.err
        self._live = not output.as_json and output.err.is_terminal
        self._lock = threading.RLock()
        self._phases: dict[str, TaskID] = {}
        self._spinner: Spinner | None = None
        self._progress: Progress | None = None
        self._text = ""
        self._bars = Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=output.err,
        )
        self._display = Live(
            get_renderable=self.render,
            console=output.err,
            refresh_per_second=_REFRESHES_PER_S,
            transient=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def download(self, phase: str, done_bytes: int, total_bytes: int | None) -> None:
        """Show how far a download is, as a client's ``download_progress``; from any thread."""
        with self._lock:
            if phase not in self._phases:
                self._phases[phase] = self._bars.add_task(phase, total=total_bytes)
                if self._live:
                    self._display.start()
                else:
                    self._console.print(Text(f"{printable(phase)} ..."), soft_wrap=True)
            self._bars.update(self._phases[phase], completed=done_bytes, total=total_bytes)

    def show(self, event: StreamEvent) -> None:
        """Take in what happened."""
        if not self._live:
            return
        with self._lock:
            if isinstance(event, Progress):
                self._take(event)
            else:
                self._text = self._text + event.text if isinstance(event, TextDelta) else event.text

    def stop(self) -> None:
        """Leave the samples on the screen and nothing else; may be called twice."""
        self._display.stop()
        with self._lock:
            progress, self._progress = self._progress, None
            if progress is not None and progress.drawn:
                self._console.print(progress_view(progress, _ALL_ROWS), no_wrap=True)

    def render(self) -> RenderableType:
        """The live part as it is now; from any thread."""
        with self._lock:
            parts: list[RenderableType] = []
            if not self._bars.finished:
                parts.append(self._bars)
            progress, rows = self._progress, self._console.height - _SPARE_ROWS
            if progress is not None and progress.drawn:
                # Of several samples, none is the text until the end.
                if self._text and progress.plan.max_samples == 1:
                    parts.append(Text(self._tail(rows)))
                parts.append(progress_view(progress, rows))
            elif self._spinner is not None:
                parts.append(self._spinner)
            return Group(*parts)

    def _take(self, progress: Progress) -> None:
        if self._progress is None:
            self._introduce(progress.plan)
            self._display.start()
        self._progress = progress

    def _introduce(self, plan: Candidate) -> None:
        self._console.print(plan_lines(plan), soft_wrap=True)
        loading = f"loading {plan.model} ({plan.backend}) ..."
        self._spinner = Spinner("dots", Text(printable(loading), "dim"))

    def _tail(self, rows: int) -> str:
        """The last lines of the running text that fit."""
        room = max(1, rows - 2) * self._console.width
        lines = printable(self._text[-room:]).splitlines()
        return "\n".join(lines[-max(1, rows // 2) :])
