"""Standard streams as a parent may leave them: closed, of any encoding, their reader gone."""

from __future__ import annotations

import io
import os
import sys
from typing import cast

__all__ = ["drop_output", "make_streams_safe"]


def make_streams_safe() -> None:
    """Have output streams that take every character, also where a parent closed them."""
    sys.stdout = sys.stdout or _nowhere()
    sys.stderr = sys.stderr or _nowhere()
    stdout: object = sys.stdout
    if isinstance(stdout, io.TextIOWrapper):
        cast("io.TextIOWrapper", stdout).reconfigure(errors="replace")


def drop_output() -> None:
    """Send what is still in the buffers nowhere, lest the interpreter complain of it at its end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def _nowhere() -> io.TextIOWrapper:
    """Stays open for as long as the process lives."""
    return io.TextIOWrapper(io.FileIO(os.devnull, "w"), encoding="utf-8", write_through=True)
