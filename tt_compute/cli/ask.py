"""``ttc solve`` and ``ttc plan``."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, cast

import click
import msgspec

from tt_compute.cli.codes import BAD_USAGE, INTERRUPTED
from tt_compute.cli.interrupts import INTERRUPTS
from tt_compute.cli.plan_files import about, load, refuse_without_prompt
from tt_compute.cli.plan_plot import plot_plan
from tt_compute.cli.render import plan_view, result_view
from tt_compute.cli.screen import Screen
from tt_compute.cli.shared import (
    Output,
    command,
    error_document,
    example,
    interruption,
    printable,
)
from tt_compute.client import Client
from tt_compute.errors import InfeasibleError, InvalidRequestError, TTComputeError
from tt_compute.options import SolveOptions
from tt_compute.planning.explain import explain
from tt_compute.planning.plan_file import save_plan
from tt_compute.planning.types import Candidate, Objective, Plan
from tt_compute.plotting import check_plotting
from tt_compute.results import Result
from tt_compute.sync import SyncRun

__all__ = ["plan", "solve"]

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
    click.option(
        "--strategy",
        help="Such as single, majority, best_of_n, beam or beam:steps=DEPLOYMENT; default: the plan's choice.",
    ),
    click.option(
        "--stop",
        help="Stop rule, such as beta:0.99, esc or ppr:0.05,5; of best_of_n: threshold or pandora.",
    ),
    click.option(
        "--weight",
        help="What votes weigh by: logprob, certainty, tail or verifier, each also with a temperature (:T).",
    ),
    click.option(
        "--ahead",
        type=float,
        help="Chance from which on a vote draws samples before it is sure to need them: 1 none, 0 all at once; "
        "default: the plan's choice.",
    ),
    click.option(
        "--equal",
        help="Which answers vote together: exact, numeric, math, semantic=DEPLOYMENT,THRESHOLD, or module:function; "
        "default: as the kind of task compares them.",
    ),
    click.option(
        "--verifier",
        help="What judges samples: exact=, numeric=, math=, choice=, regex=, json-schema=, code=, judge=, "
        "scorer=, steps=, or module:function.",
    ),
    click.option("--seed", type=int, help="Makes the samples reproducible where the runtime can."),
    click.option("--temperature", type=float, help="0 is greedy."),
    click.option("--max-tokens", type=int, help="Most completion tokens of one sample."),
    click.option("--deployment", help="Id of the only deployment to consider."),
    click.option("--strict", is_flag=True, help="Exit 3 when no plan meets the objective."),
    click.option(
        "--load",
        "saved",
        type=click.Path(path_type=Path),
        help="The plan in this file, as it stands, instead of a new one.",
    ),
)


def _asking(run: Callable[..., None]) -> Callable[..., None]:
    return functools.reduce(lambda wrapped, option: option(wrapped), reversed(_OPTIONS), run)


@click.command(epilog=example('ttc solve "What is 9 times 7?" --max-latency-s 10'))
@_asking
@command
def solve(output: Output, *, saved: Path | None, **given: Any) -> None:
    """Answer PROMPT ("-" reads standard input) with as much compute as the objective asks for."""
    made = load(saved, given)
    prompt = _prompt(given)
    with (
        about(saved),
        Screen(output) as screen,
        Client(output.config, download_progress=screen.download) as client,
        client.stream(prompt, show_at=None, **_options(client, given, made)) as run,
    ):
        error = _watch(run, screen)
        # Told before the engines end, which takes a moment.
        _tell(output, run.partial, error)


@click.command(epilog=example('ttc plan "What is 9 times 7?" --quality 0.9'))
@_asking
@click.option(
    "--save",
    "target",
    type=click.Path(path_type=Path),
    help="Write the plan into this file, for --load.",
)
@click.option(
    "--plot",
    "picture",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw the candidates and their frontier into this PNG.",
)
@command
def plan(
    output: Output, *, saved: Path | None, target: Path | None, picture: Path | None, **given: Any
) -> None:
    """Show how PROMPT would be answered and why; runs nothing.

    With --load and without PROMPT: show what the file says.
    """
    check_plotting(picture)
    made = load(saved, given, target=target)
    decided = _decide(output, made, saved, given)
    if picture is not None:
        with INTERRUPTS.held():
            plot_plan(decided, picture)
    error = None if decided.chosen is not None else InfeasibleError(decided.advice)
    if target is not None and error is None:
        with INTERRUPTS.held():
            save_plan(decided, target)
            output.wrote(target)
    _explain(output, decided, error)
    if error is not None:
        raise error


def _decide(output: Output, made: Plan | None, saved: Path | None, given: dict[str, Any]) -> Plan:
    if made is not None and given["prompt"] is None and given["file"] is None:
        refuse_without_prompt(given)
        return made
    prompt = _prompt(given)
    with about(saved), Client(output.config) as client:
        return client.plan(prompt, **_options(client, given, made))


def _options(client: Client, given: dict[str, Any], made: Plan | None) -> SolveOptions:
    """The command line's objective on top of the configuration's, and the other options as they are."""
    names = {field.name for field in msgspec.structs.fields(Objective)}
    stated = {name: value for name, value in given.items() if value is not None}
    objective = {name: value for name, value in stated.items() if name in names}
    options = {name: value for name, value in stated.items() if name not in names}
    if objective:
        options["objective"] = msgspec.structs.replace(client.config.objective, **objective)
    if made is not None:
        options["plan"] = made
    return cast("SolveOptions", options)


def _prompt(given: dict[str, Any]) -> str:
    text, file = given.pop("prompt"), given.pop("file")
    if (text is None) == (file is None):
        raise InvalidRequestError(
            "give one prompt", hint="as an argument, `-` for standard input, or --file"
        )
    if text is not None and text != "-":
        return str(text)
    try:
        with _opened(file) as stream:
            data = stream.read(MAX_PROMPT_BYTES + 1)
        if len(data) > MAX_PROMPT_BYTES:
            raise InvalidRequestError(f"the prompt is larger than {MAX_PROMPT_BYTES} bytes")
        return data.decode("utf-8")
    except OSError as exc:
        source = "standard input" if file is None else file
        raise InvalidRequestError(f"cannot read {source}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise InvalidRequestError(
            f"the prompt is not UTF-8: {exc.reason} at byte {exc.start}"
        ) from exc


def _opened(file: Path | None) -> BinaryIO:
    if file is not None:
        return file.open("rb")
    # None where whoever started the program closed it.
    if sys.stdin is None:  # pyright: ignore[reportUnnecessaryComparison] - typeshed leaves this case out
        raise InvalidRequestError("standard input is closed")
    if sys.stdin.isatty():
        click.echo("reading the prompt from the terminal; Ctrl-D ends it", err=True)
    return sys.stdin.buffer


def _watch(run: SyncRun, screen: Screen) -> TTComputeError | None:
    """Show the run while it goes on; Ctrl-C ends it with what there is. Returns how it failed."""
    try:
        with INTERRUPTS.meaning(run.interrupt):
            for event in run:
                screen.show(event)
    except TTComputeError as exc:
        return exc
    finally:
        screen.stop()
    return None


def _tell(output: Output, result: Result | None, error: TTComputeError | None) -> None:
    """Print what came of a run and end the command with its code.

    Raises:
        TTComputeError: How the run failed.
    """
    ended = result is None or result.receipt.stop_reason == "interrupted"
    if output.as_json and (error is None or error.exit_code != BAD_USAGE):
        output.document(_document(result, error, interrupted=ended))
    elif result is not None and (error is None or result.samples):
        output.lay(result_view(result))
    for warning in () if result is None else result.warnings:
        output.warn(warning)
    if error is not None:
        raise error
    if ended:
        output.interrupted()
        sys.exit(INTERRUPTED)


def _document(
    result: Result | None, error: TTComputeError | None, *, interrupted: bool
) -> dict[str, Any]:
    document = {} if result is None else result.to_dict()
    if error is not None:
        document["error"] = error_document(error)
    elif interrupted:
        document["error"] = interruption()
    return document


def _explain(output: Output, decided: Plan, error: TTComputeError | None) -> None:
    explanation = explain(decided)
    for warning in decided.warnings:
        output.warn(warning)
    if output.as_json:
        document = {
            **decided.to_dict(),
            "margins": [margin.to_dict() for margin in explanation.margins],
        }
        output.document(document if error is None else {**document, "error": error_document(error)})
        return
    rows = list(explanation.rows)
    baseline = _baseline(decided)
    if baseline is not None and all(baseline != row for row, _ in rows):
        rows.append((baseline, False))
    output.lay(plan_view(decided, rows))
    for line in explanation.reasons:
        output.say(printable(line))


def _baseline(decided: Plan) -> Candidate | None:
    """One sample on the chosen deployment: what every other plan is measured by."""
    return next(
        (
            candidate
            for candidate in decided.candidates
            if candidate.strategy == "single"
            and (decided.chosen is None or candidate.deployment == decided.chosen.deployment)
        ),
        None,
    )
