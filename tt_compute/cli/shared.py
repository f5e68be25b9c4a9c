"""What every command shares: its common options, where output goes, how it ends."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.text import Text

from tt_compute.cli.codes import BAD_USAGE, FAILED, INTERRUPTED
from tt_compute.cli.interrupts import INTERRUPTS, interrupted
from tt_compute.cli.streams import drop_output
from tt_compute.errors import InfeasibleError, TTComputeError

__all__ = [
    "Output",
    "command",
    "counted",
    "error_document",
    "example",
    "interruption",
    "printable",
]

PIPE_WIDTH = 200
"""Of the live view and bars; text that goes into a pipe is never wrapped or cut."""
KEY_PATTERN = re.compile(r"\b(gsk|csk|sk|hf|key)[-_][A-Za-z0-9_-]{8,}")
"""The shapes of API keys in use; whatever looks like one is not logged."""


class Output:
    """Where a command writes: one JSON document, or text for people.

    Args:
        as_json: Whether ``--json`` was given.
        config: The value of ``--config``.

    Attributes:
        out: For the answer: standard output.
        err: For everything else: progress, warnings, errors.
    """

    def __init__(self, *, as_json: bool, config: Path | None) -> None:
        self.as_json = as_json
        self.config = config
        self._stdout = sys.stdout
        self._documented = False
        self.out: Console = _Console(file=sys.stdout, highlight=False)
        self.err: Console = _Console(stderr=True, highlight=False)
        if not self.err.is_terminal:
            self.err.width = PIPE_WIDTH

    def document(self, document: object) -> None:
        """Print the one JSON document on standard output; a second one is not printed."""
        if self._documented:
            return
        self._documented = True
        encoding = (self._stdout.encoding or "").lower().replace("-", "")
        text = json.dumps(
            msgspec.to_builtins(document),
            ensure_ascii=encoding != "utf8",
            indent=2,
            allow_nan=False,
        )
        with INTERRUPTS.held():
            click.echo(text, file=self._stdout)

    def say(self, text: Text | str) -> None:
        """Print prose on standard output, as it is: no markup."""
        with INTERRUPTS.held():
            self.out.print(_text(text), soft_wrap=not self.out.is_terminal)

    def lay(self, table: Text) -> None:
        """Print a table on standard output; its lines are never wrapped at words."""
        with INTERRUPTS.held():
            self.out.print(table, soft_wrap=True)

    def tell(self, label: str, style: str, message: str) -> None:
        """Print on standard error."""
        text = Text.assemble((label, style), " ", printable(message))
        self.err.print(text, soft_wrap=not self.err.is_terminal)

    def warn(self, message: str) -> None:
        self.tell("warning:", "yellow", message)

    def wrote(self, path: Path) -> None:
        """Say so on standard error."""
        self.err.print(f"wrote {printable(str(path))}", markup=False, soft_wrap=True)

    def fail(self, error: TTComputeError) -> None:
        """Say what went wrong, also in the document: an error of usage has none, as no run began."""
        if self.as_json and error.exit_code != BAD_USAGE:
            self.document({"error": error_document(error)})
        kind = "infeasible:" if isinstance(error, InfeasibleError) else "error:"
        self.tell(kind, "bold red", error.message)
        if error.hint:
            self.tell("hint:", "bold", error.hint)

    def interrupted(self) -> None:
        """Say that the user ended the command."""
        if self.as_json:
            self.document({"error": interruption()})
        self.err.print("interrupted")


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to the command's end; rich's own way would end the program with an error."""
        raise BrokenPipeError


def error_document(error: TTComputeError) -> dict[str, Any]:
    """The ``error`` of a JSON document."""
    return {"type": type(error).__name__, "message": error.message, "hint": error.hint}


def interruption() -> dict[str, Any]:
    """The ``error`` of a command that the user ended."""
    return {"type": "Interrupted", "message": "interrupted", "hint": None}


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
        # What a user's verifier prints must not get between the document's lines.
        elsewhere = contextlib.redirect_stdout(sys.stderr if output.as_json else sys.stdout)
        try:
            with elsewhere:
                _end(output, functools.partial(run, output, **options), debug=debug)
        except BrokenPipeError:
            # Whoever read our output has gone, as `head` does.
            drop_output()

    return wrapped


def printable(text: str) -> str:
    """Text with control characters made visible, so that a model or a file cannot drive the terminal."""
    return "".join(
        c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}"
        for c in text.replace("\r\n", "\n")
    )


def counted(number: int, what: str) -> str:
    """``1 run``, ``2 runs``."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def _end(output: Output, run: Callable[[], None], *, debug: bool) -> None:
    """Run a command to whichever end it comes to."""
    try:
        with INTERRUPTS.meaning(interrupted):
            run()
        if INTERRUPTS.seen:
            interrupted()
    except TTComputeError as error:
        if debug:
            traceback.print_exception(error)
        output.fail(error)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        output.interrupted()
        sys.exit(INTERRUPTED)
    except click.ClickException:
        raise
    except Exception as error:
        # The outermost edge: a fault of ours or of a plugin.
        if isinstance(error, OSError) and error.filename is None:
            # Most likely standard output, which ``main`` sees to.
            raise
        if debug:
            traceback.print_exception(error)
        if INTERRUPTS.seen:
            # What a library makes of one, such as an import that it cut off.
            output.interrupted()
            sys.exit(INTERRUPTED)
        output.fail(_told(error))
        sys.exit(FAILED)


def _told(error: Exception) -> TTComputeError:
    if isinstance(error, OSError):
        # Such as a name that is too long; the system says what it is about.
        return TTComputeError(f"{error.filename}: {error.strerror}")
    return TTComputeError(
        f"{type(error).__name__}: {error}",
        hint="this is a fault in the program; --debug shows where, please report it",
    )


def _text(text: Text | str) -> Text:
    return Text(text) if isinstance(text, str) else text


class _Redact(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = KEY_PATTERN.sub(r"\1-***", printable(record.getMessage()))
        record.args = None
        return True


def _set_up_logging(verbose: int) -> None:
    if not verbose:
        return
    handler = logging.StreamHandler()
    handler.addFilter(_Redact())
    logging.basicConfig(
        level=logging.DEBUG if verbose > 1 else logging.INFO,
        handlers=[handler],
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        force=True,
    )
