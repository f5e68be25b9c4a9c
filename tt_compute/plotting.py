"""Pictures as PNG files, by matplotlib, which is imported when one is drawn."""

from __future__ import annotations

import importlib
import io
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tt_compute.errors import UsageError
from tt_compute.files import check_folder, write_file

__all__ = ["check_plotting", "new_figure", "save_figure"]

_DOTS_PER_INCH = 120


def check_plotting(picture: Path | None) -> None:
    """Say what stands in the way of a picture before anything is worked out for it; nothing, where there is none.

    Raises:
        UsageError: matplotlib is not installed, or there is no such folder.
    """
    if picture is None:
        return
    if find_spec("matplotlib") is None:
        raise UsageError(
            "a plot needs matplotlib, which is not installed", hint='pip install "tt-compute[plot]"'
        )
    check_folder(picture)


def new_figure(width: float, height: float) -> Any:
    """An empty matplotlib figure.

    Args:
        width: Inches.
        height: Inches.
    """
    library: Any = importlib.import_module("matplotlib.figure")
    return library.Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Any, path: Path) -> None:
    """Write it as a PNG, whatever the file's name; whole or not at all.

    Raises:
        UsageError: The file cannot be written.
    """
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=_DOTS_PER_INCH)
    write_file(path, picture.getvalue())
