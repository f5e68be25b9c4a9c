"""``ttc``: the commands."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

import click

from tt_compute.cli.codes import BAD_USAGE, FAILED, INTERRUPTED
from tt_compute.cli.streams import drop_output

__all__ = ["cli", "run"]

_COMMANDS = {
    "solve": ("ask", "Answer a prompt with as much compute as the objective asks for."),
    "plan": ("ask", "Show how a prompt would be answered and why; runs nothing."),
    "backends": ("house", "List the backends: available, or why not."),
    "profiles": ("library", "Hardware, models and deployments, as YAML has them."),
    "models": ("library", "Weights of local models: what is here, fetch more."),
    "bench": ("bench", "Measure speed, latency, memory and energy of deployments."),
    "calibrate": ("calibrate", "Measure this machine, so that predictions come true."),
    "simulate": ("simulate", "What-if: a workload on a fleet that need not be here."),
    "report": ("report", "Predicted against actual, over past runs."),
    "estimates": ("estimates", "What past runs taught: show, export, import, reset."),
    "record": ("record", "Keep samples of a file of questions, for replays."),
    "replay": ("replay", "Strategies over recorded samples: accuracy, tokens, latency, cost."),
    "mock": ("mock", "Scenarios of mock deployments, for programs that are not Python."),
    "doctor": ("house", "Check that the configured deployments can run here."),
    "init": ("house", "Write a commented ttc.yaml to begin with."),
    "config": ("house", "The configuration in force."),
    "store": ("house", "The receipts of past runs."),
}
"""Command -> its module in ``tt_compute.cli`` and what it does, so that ``ttc --help`` imports none of them."""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in _COMMANDS:
            return None
        module = import_module(f"tt_compute.cli.{_COMMANDS[cmd_name][0]}")
        found: click.Command = getattr(module, cmd_name)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


def _show_version(ctx: click.Context, _option: click.Parameter, asked: bool) -> None:  # noqa: FBT001 - click's signature
    if asked and not ctx.resilient_parsing:
        from importlib.metadata import version  # noqa: PLC0415 - importing it costs 20 ms

        click.echo(f"ttc, version {version('tt-compute')}")
        ctx.exit()


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog='\b\nExample:\n  ttc solve "What is 9 times 7?"',
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
def cli() -> None:
    """Spend the right amount of test-time compute on each request, on whatever hardware is there."""


def run(arguments: Sequence[str] | None) -> int:
    """Run a command line and return its exit code.

    Args:
        arguments: Without the program's name; None = those of the process.
    """
    try:
        cli.main(args=arguments, prog_name="ttc", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as exc:
        exc.show()
        return BAD_USAGE
    except click.Abort:
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except OSError as exc:
        drop_output()
        click.echo(f"error: {exc}", err=True)
        return FAILED
    except SystemExit as end:
        return FAILED if isinstance(end.code, str) else end.code or 0
    return 0
