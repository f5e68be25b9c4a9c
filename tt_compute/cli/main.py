"""``ttc``: the command line."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version

import click

from tt_compute.cli.ask import plan, solve
from tt_compute.cli.house import backends, config, doctor, init, store
from tt_compute.cli.library import models, profiles

__all__ = ["cli", "main"]

BAD_USAGE = 2
INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version("tt-compute"), prog_name="ttc")
def cli() -> None:
    """Spend the right amount of test-time compute on each request, on whatever hardware is there."""


for _command in (solve, plan, backends, profiles, models, doctor, init, config, store):
    cli.add_command(_command)


def main() -> None:
    """Run the command line and exit with its code; no traceback reaches the user."""
    try:
        cli.main(standalone_mode=False)
    except click.ClickException as exc:
        exc.show()
        sys.exit(BAD_USAGE)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has gone, as `head` does; the interpreter must not flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
