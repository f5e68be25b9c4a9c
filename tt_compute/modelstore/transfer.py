"""What every source shares: its work order, its failure, and a child process that fills a folder."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tt_compute.profiles.schema import ModelFile

__all__ = ["ProgressCallback", "SourceFailed", "Transfer", "run_child"]

ProgressCallback = Callable[[str, int, int | None], None]
"""``(phase, done_bytes, total_bytes)``, called from a worker thread; total None = not known yet."""

_POLL_S = 0.1
_GRACE_S = 2.0
_CREDENTIALS = re.compile(r"(://)[^/@\s]+@")


class SourceFailed(Exception):
    """One source could not deliver; the next one is tried. Never leaves the package."""


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """One file to be fetched."""

    file: ModelFile
    folder: Path
    """For partial files. It outlives an interrupted pull, so a source may go on from what is there."""
    progress: ProgressCallback
    check_cancelled: Callable[[], None]
    """Raises when the caller no longer wants the file; called several times a second."""
    environ: Mapping[str, str]


def run_child(
    command: Sequence[str],
    *,
    environ: Mapping[str, str],
    logs: Path,
    check_cancelled: Callable[[], None],
    on_poll: Callable[[], None],
) -> None:
    """Run ``command`` to its end; it is stopped when ``check_cancelled`` raises.

    Its output goes to ``logs/stdout`` and ``logs/stderr``, never to our own: stdout may be carrying
    somebody's JSON.

    Args:
        command: Program and arguments; no shell.
        environ: All of the child's environment.
        logs: An existing folder.
        check_cancelled: Called while it runs.
        on_poll: Called while it runs, to report how far it is.

    Raises:
        SourceFailed: It could not be started or failed; the message is the last it said.
    """
    with (logs / "stdout").open("wb") as out, (logs / "stderr").open("wb") as err:
        try:
            child = subprocess.Popen(  # noqa: S603 - no shell; the arguments were checked
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=environ,
            )
        except OSError as exc:
            raise SourceFailed(f"{command[0]} cannot be started ({exc.strerror})") from exc
        try:
            status = _wait(child, check_cancelled, on_poll)
        finally:
            _stop(child)
    if status != 0:
        raise SourceFailed(_last_words(logs / "stderr") or f"ended with status {status}")


def _wait(
    child: subprocess.Popen[bytes],
    check_cancelled: Callable[[], None],
    on_poll: Callable[[], None],
) -> int:
    while True:
        try:
            return child.wait(timeout=_POLL_S)
        except subprocess.TimeoutExpired:
            check_cancelled()
            on_poll()


def _stop(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(timeout=_GRACE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _last_words(log: Path) -> str:
    """The last error line, without the credentials that a URL in it may hold."""
    lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR:")]
    said = errors or [line for line in lines if line]
    return _CREDENTIALS.sub(r"\1****@", said[-1]) if said else ""


def largest_file_bytes(folder: Path) -> int:
    """Size of the biggest file below ``folder``; a file that vanishes meanwhile counts as 0."""
    largest = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                largest = max(largest, (Path(parent) / name).stat().st_size)
            except FileNotFoundError:
                continue
    return largest
