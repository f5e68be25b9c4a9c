"""What every command shares: its common options, where output goes, how errors end it."""

from __future__ import annotations

import functools
import json
import logging
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape

from tt_compute.errors import InfeasibleError, TTComputeError, UsageError

__all__ = ["Output", "command", "error_document", "example", "printable", "report"]


PIPE_WIDTH = 200
KEY_PATTERN = re.compile(r"\b(gsk|csk|sk|hf|key)[-_][A-Za-z0-9_-]{8,}")
"""The shapes of API keys in use; whatever looks like one is not logged."""


class Output(msgspec.Struct, frozen=True):
    """Where a command writes: one JSON document, or text for people."""

    as_json: bool
    config: Path | None

    @property
    def out(self) -> Console:
        """The answer: standard output."""
        return _console(stderr=False)

    @property
    def err(self) -> Console:
        """Everything else: progress, warnings, errors."""
        return _console(stderr=True)

    def document(self, document: object) -> None:
        """Print the one JSON document on standard output."""
        click.echo(json.dumps(msgspec.to_builtins(document), ensure_ascii=False, indent=2))

    def warn(self, message: str) -> None:
        self.err.print(f"[yellow]warning:[/] {escape(printable(message))}")


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal:
        # A file or a pipe has no width to fit into; nothing must be cut.
        console.width = PIPE_WIDTH
    return console


def error_document(error: TTComputeError) -> dict[str, Any]:
    """The ``error`` of a JSON document."""
    return {"type": type(error).__name__, "message": error.message, "hint": error.hint}


def example(*lines: str) -> str:
    """The example at the end of a command's help."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)


def command(run: Callable[..., None]) -> Callable[..., None]:
    """Give a command ``--json``, ``--config``, ``-v``, ``--debug``, and end it as the contract says."""

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
    @click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Configuration to use instead of the one that is found.",
    )
    @click.option("-v", "--verbose", count=True, help="Log to stderr; twice for debugging.")
    @click.option("--debug", is_flag=True, help="Show the traceback of an error.")
    @functools.wraps(run)
    def wrapped(**options: Any) -> None:
        _set_up_logging(options.pop("verbose"))
        debug: bool = options.pop("debug")
        output = Output(as_json=options.pop("as_json"), config=options.pop("config"))
        try:
            run(output, **options)
        except TTComputeError as error:
            if debug:
                raise
            report(output, error)
            sys.exit(error.exit_code)

    return wrapped


def report(output: Output, error: TTComputeError) -> None:
    """Say what went wrong, on stderr and in the document."""
    # A usage error prints no document: the caller's program is wrong, not its run.
    if output.as_json and not isinstance(error, UsageError):
        output.document({"error": error_document(error)})
    kind = "infeasible" if isinstance(error, InfeasibleError) else "error"
    output.err.print(f"[bold red]{kind}:[/] {escape(printable(error.message))}")
    if error.hint:
        output.err.print(f"[bold]hint:[/] {escape(printable(error.hint))}")


def printable(text: str) -> str:
    """Text with control characters made visible, so that a model or a file cannot drive the terminal."""
    return "".join(
        c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text
    )


class _Redact(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = KEY_PATTERN.sub(r"\1-***", record.getMessage())
        record.args = None
        return True


def _set_up_logging(verbose: int) -> None:
    if not verbose:
        return
    handler = RichHandler(console=Console(stderr=True), show_path=False)
    handler.addFilter(_Redact())
    logging.basicConfig(
        level=logging.DEBUG if verbose > 1 else logging.INFO,
        handlers=[handler],
        format="%(name)s: %(message)s",
        force=True,
    )
