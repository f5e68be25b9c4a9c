"""``ttc simulate``: a workload played through on a fleet that need not be here."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import click
import msgspec

from tt_compute.cli.interrupts import INTERRUPTS
from tt_compute.cli.shared import Output, command, example
from tt_compute.cli.simulate_plot import plot_sweep
from tt_compute.cli.simulate_view import report_view
from tt_compute.clock import SystemClock
from tt_compute.config import Config
from tt_compute.errors import InvalidRequestError, UsageError
from tt_compute.planning.types import Objective, Preference
from tt_compute.plotting import check_plotting
from tt_compute.profiles.schema import DeploymentSpec, TaskKind
from tt_compute.simulation.report import Report
from tt_compute.simulation.routes import Asked
from tt_compute.simulation.simulation import Simulation
from tt_compute.simulation.workload import Kind, Workload, poisson, read_trace

__all__ = ["simulate"]

REQUESTS = 10_000
INPUT_TOKENS = 200
MAX_REPLICAS = 1000
MAX_SEED = 2**63 - 1
_ANY_RATE = 1.0
"""Of a sweep that nobody stated a rate for, until the end of the fleet is known."""
_HALFWAY = 0.5
"""Of the highest rate: what such a sweep reports on besides its rows."""
_TOKENS = click.IntRange(1, 10_000_000)

_OPTIONS: tuple[Callable[..., Any], ...] = (
    click.option("--rate", type=float, help="Arrivals per second, independent of each other."),
    click.option(
        "--requests", type=int, help=f"How many arrive at that rate (default {REQUESTS})."
    ),
    click.option(
        "--trace",
        type=click.Path(path_type=Path),
        help='Arrivals from a file, one object a line: {"at_s": 1.5, "task": "math", ...}.',
    ),
    click.option(
        "--deployment", "deployments", multiple=True, help="Id of one of the fleet; repeatable."
    ),
    click.option(
        "--replicas", multiple=True, metavar="ID=N", help="Copies of a deployment; repeatable."
    ),
    click.option(
        "--task",
        type=click.Choice(get_args(TaskKind)),
        default="open",
        help="Kind of task, where the trace states none (default open).",
    ),
    click.option(
        "--input-tokens",
        type=_TOKENS,
        default=INPUT_TOKENS,
        help=f"Of a prompt, where the trace states none (default {INPUT_TOKENS}).",
    ),
    click.option(
        "--output-tokens",
        type=_TOKENS,
        help="Mean of a sample, in the place of what the profiles say.",
    ),
    click.option("--quality", type=float, help="Wanted P(answer correct), between 0 and 1."),
    click.option("--max-cost-usd", type=float, help="Most to spend on a request, when planning."),
    click.option("--max-latency-s", type=float, help="What is answered later is not good."),
    click.option("--max-energy-j", type=float, help="Most energy for a request, when planning."),
    click.option("--max-samples", type=int, help="Largest sample budget (default 16)."),
    click.option("--locality", type=click.Choice(("any", "local")), help="Where prompts may go."),
    click.option(
        "--prefer",
        type=click.Choice(get_args(Preference)),
        help="What decides among plans that meet every constraint.",
    ),
    click.option("--strategy", help="single, majority or best_of_n; default: the plan's choice."),
    click.option(
        "--stop",
        "stop_rule",
        help="Stop rule, such as beta:0.99, esc or ppr:0.05,5; of best_of_n: threshold or pandora.",
    ),
    click.option(
        "--seed", type=click.IntRange(0, MAX_SEED), default=0, help="Of all draws (default 0)."
    ),
    click.option("--sweep", is_flag=True, help="Also at rising rates, up to saturation."),
    click.option(
        "--plot",
        "picture",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Draw latency and goodput against the rate into this PNG; implies --sweep.",
    ),
)


def _asking(run: Callable[..., None]) -> Callable[..., None]:
    return functools.reduce(lambda wrapped, option: option(wrapped), reversed(_OPTIONS), run)


@click.command(
    epilog=example(
        "ttc simulate --deployment vllm/llama-3.1-8b-h100 --output-tokens 300 --rate 20 --sweep"
    )
)
@_asking
@command
def simulate(output: Output, *, picture: Path | None, sweep: bool, **given: Any) -> None:
    """Play a workload through on a fleet, here or not: latency, goodput, cost, energy, saturation."""
    if picture is not None:
        check_plotting(picture)
        sweep = True
    config = Config.load(output.config)
    asked = _asked(config, given)
    specs = _fleet(config, given["deployments"])
    replicas = _replicas(given["replicas"], specs)
    workload = _workload(given, sweep=sweep)
    simulation = Simulation(workload, specs, replicas, asked, SystemClock())
    report = _run(simulation, stated=_states_rate(given), sweep=sweep)
    if picture is not None:
        with INTERRUPTS.held():
            plot_sweep(report, picture)
    if output.as_json:
        output.document(report)
    else:
        output.lay(report_view(report))
    for reason in report.reasons:
        output.warn(reason)
    _warn_of_plans(output, report)


def _run(simulation: Simulation, *, stated: bool, sweep: bool) -> Report:
    if not sweep:
        return simulation.run()
    most = simulation.saturation.rate_per_s
    if stated:
        return simulation.sweep()
    if most is None:
        raise UsageError(
            f"there is no highest rate to sweep up to: {simulation.saturation.reason}",
            hint="; ".join(simulation.reasons) or "give --rate",
        )
    return simulation.sweep(most * _HALFWAY)


def _states_rate(given: Mapping[str, Any]) -> bool:
    return given["rate"] is not None or given["trace"] is not None


def _workload(given: Mapping[str, Any], *, sweep: bool) -> Workload:
    rate, requests, trace = given["rate"], given["requests"], given["trace"]
    if trace is not None:
        for name in ("rate", "requests"):
            if given[name] is not None:
                raise InvalidRequestError(f"a trace has its own {name}: give --{name} or --trace")
        return read_trace(trace, task=given["task"], input_tokens=given["input_tokens"])
    if rate is None and not sweep:
        raise InvalidRequestError(
            "nothing arrives", hint="give --rate, --trace, or --sweep for rates up to saturation"
        )
    return poisson(
        Kind(given["task"], given["input_tokens"], None),
        rate_per_s=_ANY_RATE if rate is None else rate,
        requests=REQUESTS if requests is None else requests,
        seed=given["seed"],
    )


def _asked(config: Config, given: Mapping[str, Any]) -> Asked:
    """The command line's objective on top of the configuration's."""
    names = {field.name for field in msgspec.structs.fields(Objective)}
    wanted = {name: value for name, value in given.items() if name in names and value is not None}
    return Asked(
        objective=msgspec.structs.replace(config.objective, **wanted),
        strategy=given["strategy"],
        stop_rule=given["stop_rule"],
        output_tokens=given["output_tokens"],
        seed=given["seed"],
    )


def _fleet(config: Config, deployments: Sequence[str]) -> tuple[DeploymentSpec, ...]:
    for deployment in deployments:
        if deployments.count(deployment) > 1:
            raise InvalidRequestError(
                f"--deployment {deployment} is given twice",
                hint=f"--replicas {deployment}={deployments.count(deployment)} makes copies",
            )
    return tuple(map(config.spec, deployments)) or config.deployments


def _replicas(stated: Sequence[str], specs: Sequence[DeploymentSpec]) -> dict[str, int]:
    found: dict[str, int] = {}
    known = [spec.id for spec in specs]
    for text in stated:
        deployment, _, number = text.rpartition("=")
        if deployment not in known:
            raise InvalidRequestError(
                f"--replicas {text}: expected ID=N with a deployment of the fleet",
                hint=f"the fleet: {', '.join(known)}",
            )
        if not (number.isascii() and number.isdigit() and 1 <= int(number[:9]) <= MAX_REPLICAS):
            raise InvalidRequestError(
                f"--replicas {text}: expected a whole number from 1 to {MAX_REPLICAS}"
            )
        if deployment in found:
            raise InvalidRequestError(f"--replicas of {deployment} is given twice")
        found[deployment] = int(number)
    return found


def _warn_of_plans(output: Output, report: Report) -> None:
    missed = [plan for plan in report.plans if plan.feasible is False]
    if missed:
        count = sum(plan.requests for plan in missed)
        output.warn(f"no plan meets the objective of {count} requests; the nearest ones run")
    if report.unserved:
        output.warn(f"{report.unserved} of {report.workload.requests} requests cannot be served")
