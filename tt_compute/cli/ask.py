"""``ttc solve`` and ``ttc plan``."""

from __future__ import annotations

import functools
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, cast

import click
import msgspec
from rich.console import Console
from rich.live import Live
from rich.text import Text

from tt_compute.cli.downloads import DownloadBars
from tt_compute.cli.render import live_view, plan_line, plan_view, predicted_line, result_view
from tt_compute.cli.shared import Output, command, error_document, example, printable, report
from tt_compute.client import Client
from tt_compute.errors import InvalidRequestError, TTComputeError
from tt_compute.options import SolveOptions
from tt_compute.planning.explain import explain
from tt_compute.planning.types import Objective
from tt_compute.results import Progress, Result
from tt_compute.sync import SyncRun

__all__ = ["plan", "solve"]

INTERRUPTED = 130
TASKS = ("math", "choice", "code", "json", "open")
MAX_PROMPT_BYTES = 16 * 1024 * 1024
"""Far above any context; keeps a wrong file from filling the memory."""

_OPTIONS: tuple[Callable[..., Any], ...] = (
    click.argument("prompt", required=False),
    click.option("--file", type=click.Path(path_type=Path), help="Read the prompt from a file."),
    click.option("--system", help="System prompt."),
    click.option("--task", type=click.Choice(TASKS), help="Kind of task; default: detected."),
    click.option("--quality", type=float, help="Wanted P(answer correct), between 0 and 1."),
    click.option("--max-cost-usd", type=float, help="Most to spend on this request."),
    click.option("--max-latency-s", type=float, help="Limit of the predicted p95; the deadline."),
    click.option("--max-energy-j", type=float, help="Most energy for this request."),
    click.option("--max-samples", type=int, help="Largest sample budget (default 16)."),
    click.option("--locality", type=click.Choice(("any", "local")), help="Where prompts may go."),
    click.option(
        "--prefer",
        type=click.Choice(("quality", "cost", "latency", "energy")),
        help="What decides among plans that meet every constraint.",
    ),
    click.option("--strategy", help="single, majority or best_of_n; default: the plan's choice."),
    click.option("--stop", help="Stop rule of a vote, such as beta or beta:0.99."),
    click.option("--verifier", help="What judges samples: exact=GOLD, or module:function."),
    click.option("--seed", type=int, help="Makes the samples reproducible where the runtime can."),
    click.option("--temperature", type=float, help="0 is greedy."),
    click.option("--max-tokens", type=int, help="Most completion tokens of one sample."),
    click.option("--deployment", help="Id of the only deployment to consider."),
    click.option("--strict", is_flag=True, help="Exit 3 when no plan meets the objective."),
)


def _asking(run: Callable[..., None]) -> Callable[..., None]:
    return functools.reduce(lambda wrapped, option: option(wrapped), reversed(_OPTIONS), run)


@click.command(epilog=example('ttc solve "What is 9 times 7?" --max-latency-s 10'))
@_asking
@command
def solve(output: Output, **given: Any) -> None:
    """Answer PROMPT ("-" reads standard input) with as much compute as the objective asks for."""
    prompt = _prompt(given)
    with (
        DownloadBars(output.err) as bars,
        Client(output.config, download_progress=bars) as client,
        client.stream(prompt, **_options(client, given)) as run,
    ):
        error = _watch(output, run, bars)
        result = run.partial
    if output.as_json:
        _print_document(output, result, error)
    elif result is not None and (error is None or result.samples):
        output.out.print(result_view(result))
    for warning in () if result is None else result.warnings:
        output.warn(warning)
    _exit(output, result, error)


@click.command(epilog=example('ttc plan "What is 9 times 7?" --quality 0.9'))
@_asking
@command
def plan(output: Output, **given: Any) -> None:
    """Show how PROMPT would be answered and why; runs nothing."""
    prompt = _prompt(given)
    with Client(output.config) as client:
        decided = client.plan(prompt, **_options(client, given))
    if output.as_json:
        output.document(decided.to_dict())
    else:
        explanation = explain(decided)
        output.out.print(plan_view(decided, explanation.rows))
        for line in explanation.reasons:
            output.out.print(Text(line))
    if decided.chosen is None:
        output.err.print(f"[bold red]infeasible:[/] {decided.advice}")
        sys.exit(3)


def _options(client: Client, given: dict[str, Any]) -> SolveOptions:
    """The command line's objective on top of the configuration's, and the other options as they are."""
    names = {field.name for field in msgspec.structs.fields(Objective)}
    objective = {key: value for key, value in given.items() if key in names and value is not None}
    passed = ("system", "task", "deployment", "strategy", "stop", "verifier", "seed", "temperature")
    options: dict[str, Any] = {
        key: given[key] for key in (*passed, "max_tokens") if given[key] is not None
    }
    if objective:
        options["objective"] = msgspec.structs.replace(client.config.objective, **objective)
    if given.get("strict"):
        options["strict"] = True
    return cast("SolveOptions", options)


def _prompt(given: dict[str, Any]) -> str:
    text, file = given.pop("prompt"), given.pop("file")
    if (text is None) == (file is None):
        raise InvalidRequestError(
            "give one prompt: as an argument, `-` for standard input, or --file"
        )
    if text is not None and text != "-":
        return str(text)
    try:
        with sys.stdin.buffer if file is None else file.open("rb") as stream:
            data = stream.read(MAX_PROMPT_BYTES + 1)
        if len(data) > MAX_PROMPT_BYTES:
            raise InvalidRequestError(f"the prompt is larger than {MAX_PROMPT_BYTES} bytes")
        return data.decode("utf-8")
    except OSError as exc:
        raise InvalidRequestError(f"cannot read {file}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise InvalidRequestError(f"the prompt is not UTF-8: {exc.reason}") from exc


def _watch(output: Output, run: SyncRun, bars: DownloadBars) -> TTComputeError | None:
    """Show the run while it goes on; Ctrl-C ends it with what there is. Returns how it failed."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        run.interrupt()

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        _show(output.err, run, bars, live=not output.as_json and output.err.is_terminal)
    except TTComputeError as exc:
        return exc
    finally:
        signal.signal(signal.SIGINT, before)
    return None


def _show(err: Console, run: SyncRun, bars: DownloadBars, *, live: bool) -> None:
    planned = False
    view = Live(console=err, refresh_per_second=12, transient=False)
    for event in run:
        if not isinstance(event, Progress) or not live:
            continue
        if not planned:
            planned = True
            bars.stop()
            err.print(f"[bold]Plan[/]  {plan_line(event.plan)}")
            err.print(f"[dim]      predicted {predicted_line(event.plan.predicted)}[/]")
            view.start()
        view.update(live_view(event))
    view.stop()


def _print_document(output: Output, result: Result | None, error: TTComputeError | None) -> None:
    document: dict[str, Any] = {} if result is None else result.to_dict()
    if error is not None:
        document["error"] = error_document(error)
    elif result is None or result.receipt.stop_reason == "interrupted":
        document["error"] = {"type": "Interrupted", "message": "interrupted", "hint": None}
    output.document(document)


def _exit(output: Output, result: Result | None, error: TTComputeError | None) -> None:
    if error is not None:
        report(Output(as_json=False, config=output.config), error)
        sys.exit(error.exit_code)
    if result is None or result.receipt.stop_reason == "interrupted":
        output.err.print(printable("interrupted"))
        sys.exit(INTERRUPTED)
