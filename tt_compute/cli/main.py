"""``ttc``: the process's entry."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tt_compute.cli.codes import INTERRUPTED
from tt_compute.cli.interrupts import INTERRUPTS
from tt_compute.cli.streams import make_streams_safe

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code; no traceback reaches the user.

    Args:
        arguments: Without the program's name; None = those of the process, which ends with the command.
    """
    with INTERRUPTS.watched(to_the_end=arguments is None):
        code = _run(arguments)
    if code:
        sys.exit(code)


def _run(arguments: Sequence[str] | None) -> int:
    make_streams_safe()
    try:
        # A command says itself how it is interrupted; what is imported and parsed for it is not cut off.
        with INTERRUPTS.held():
            from tt_compute.cli.commands import run  # noqa: PLC0415 - takes most of the start

            code = run(arguments)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return INTERRUPTED
    return INTERRUPTED if INTERRUPTS.seen else code
