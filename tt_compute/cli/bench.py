"""``ttc bench``: what deployments do with waves of samples."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import click

from tt_compute.bench.demand import cost_usd, demand
from tt_compute.bench.energy import EnergyMeter
from tt_compute.bench.measure import Bench
from tt_compute.bench.plot import plot
from tt_compute.bench.report import BenchReport, BenchSettings
from tt_compute.bench.save import save
from tt_compute.cli.bench_view import report_view
from tt_compute.cli.codes import BAD_USAGE
from tt_compute.cli.interrupts import INTERRUPTS
from tt_compute.cli.loop import run_async
from tt_compute.cli.screen import Screen
from tt_compute.cli.shared import (
    Output,
    command,
    error_document,
    example,
    interruption,
    printable,
)
from tt_compute.client import AsyncClient
from tt_compute.clock import SystemClock
from tt_compute.config import Config
from tt_compute.errors import BackendUnavailable, TTComputeError, UsageError
from tt_compute.paths import config_dir
from tt_compute.plotting import check_plotting
from tt_compute.profiles.schema import DeploymentSpec
from tt_compute.registry import Registry, parse_options
from tt_compute.setup import Setup

__all__ = ["Session", "bench", "check_measurable", "measurable"]

_WIDEST = 256
_FOLDER = "bench"
_BESIDE_THE_CONFIG = ""
"""What ``--save`` without a folder gives."""
_CHECK = "check"
"""The one phase of the model store in which nothing is fetched or made."""


def _widths(_context: click.Context, _option: click.Parameter, text: str) -> tuple[int, ...]:
    try:
        widths = tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no list of numbers such as 1,4,16") from error
    if not all(1 <= width <= _WIDEST for width in widths):
        raise click.BadParameter(f"each width must be from 1 to {_WIDEST}, got {text}")
    if list(widths) != sorted(set(widths)):
        raise click.BadParameter(f"the widths must rise, each given once, got {text}")
    return widths


@click.command("bench", epilog=example("ttc bench --waves 1,4,16"))
@click.option("--deployment", help="Id of the only deployment to measure; default: the configured.")
@click.option(
    "--waves",
    callback=_widths,
    default="1,2,4,8,16,32",
    show_default=True,
    metavar="WIDTHS",
    help="How many samples to draw together.",
)
@click.option(
    "--prompt-tokens",
    type=click.IntRange(16, 100_000),
    default=200,
    show_default=True,
    help="About how long the prompts are.",
)
@click.option(
    "--new-tokens",
    type=click.IntRange(2, 100_000),
    default=128,
    show_default=True,
    help="Most tokens of a sample.",
)
@click.option(
    "--rounds",
    type=click.IntRange(1, 100),
    default=3,
    show_default=True,
    help="How often each figure is measured.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of prompts and samples.")
@click.option(
    "--plot",
    "picture",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw tokens/s and J/token into this PNG.",
)
@click.option(
    "--save",
    "folder",
    is_flag=False,
    flag_value=_BESIDE_THE_CONFIG,
    metavar="[FOLDER]",
    help="Keep JSON and YAML, in FOLDER or beside the configuration.",
)
@click.option("--yes", is_flag=True, help="Spend money at deployments that are not local.")
@command
def bench(
    output: Output,
    *,
    deployment: str | None,
    waves: tuple[int, ...],
    prompt_tokens: int,
    new_tokens: int,
    rounds: int,
    seed: int,
    picture: Path | None,
    folder: str | None,
    yes: bool,
) -> None:
    """Measure speed, latency, memory and energy of deployments; writes nothing unless asked to."""
    config = Config.load(output.config, available=lambda name: Registry().probe(name).available)
    specs = (config.spec(deployment),) if deployment else measurable(output, config)
    settings = BenchSettings(
        waves=waves,
        prompt_tokens=prompt_tokens,
        new_tokens=new_tokens,
        rounds=rounds,
        seed=seed,
    )
    for spec in specs:
        check_measurable(spec, settings, yes=yes)
    check_plotting(picture)
    place = None if folder is None else _made(_place(config, folder))
    session = Session(output, config, settings)
    try:
        run_async(session.run, specs)
    except (KeyboardInterrupt, TTComputeError) as end:
        _tell(output, session.reports, end)
        raise
    _tell(output, session.reports, None)
    with INTERRUPTS.held():
        _keep(output, session.reports, picture, place)


class Session:
    """Measures one deployment after the other, each with engines of its own."""

    def __init__(self, output: Output, config: Config, settings: BenchSettings) -> None:
        self._output = output
        self._config = config
        self._settings = settings
        self._benches: list[Bench] = []

    @property
    def reports(self) -> list[BenchReport]:
        """What has been measured so far."""
        return [bench.report for bench in self._benches]

    async def run(self, specs: Sequence[DeploymentSpec]) -> None:
        with Screen(self._output) as screen:
            for spec in specs:
                await self._measure(spec, screen)

    async def _measure(self, spec: DeploymentSpec, screen: Screen) -> None:
        phases: set[str] = set()

        def download(phase: str, done_bytes: int, total_bytes: int | None) -> None:
            phases.add(phase)
            screen.download(phase, done_bytes, total_bytes)

        def tell(what: str) -> None:
            if self._output.err.is_terminal:
                self._output.err.print(f"{printable(spec.id)}: {what} ...", markup=False)

        clock = SystemClock()
        async with AsyncClient(self._config, clock=clock, download_progress=download) as client:
            bench = Bench(
                client,
                spec,
                self._settings,
                clock=clock,
                meter=_meter(spec),
                tell=tell,
                fetched=lambda: bool(phases - {_CHECK}),
            )
            self._benches.append(bench)
            await bench.run()


def _meter(spec: DeploymentSpec) -> EnergyMeter:
    if not spec.hardware.local or spec.hardware.device == "mock":
        return EnergyMeter((), reason="the model does not run on this machine")
    return EnergyMeter.of_this_machine()


def measurable(output: Output, config: Config) -> tuple[DeploymentSpec, ...]:
    """The configured deployments without those whose models draw no samples, of which it is told."""
    left_out = run_async(_not_generating, config)
    for spec in left_out:
        what = f"{spec.id} is left out: its model draws no samples"
        output.err.print(printable(what), markup=False, soft_wrap=True)
    return tuple(spec for spec in config.deployments if spec not in left_out)


async def _not_generating(config: Config) -> list[DeploymentSpec]:
    """What cannot be looked at is told of when it is measured."""
    setup = Setup(config)
    found: list[DeploymentSpec] = []
    try:
        for spec in config.deployments:
            with suppress(TTComputeError):
                if not (await setup.capabilities(spec)).generates:
                    found.append(spec)
    finally:
        await setup.aclose()
    return found


def check_measurable(spec: DeploymentSpec, settings: BenchSettings, *, yes: bool) -> None:
    """Refuse before anything runs what could not be measured, or costs money that nobody agreed to."""
    registry = Registry()
    probe = registry.probe(spec.backend)
    if not probe.available:
        raise BackendUnavailable(
            f"{spec.id} cannot run here: {probe.reason}", hint=probe.install or None
        )
    parse_options(registry.load(spec.backend), spec)
    wanted, context = settings.prompt_tokens + settings.new_tokens, spec.max_context_tokens
    if context is not None and wanted > context:
        raise UsageError(
            f"prompts and samples of {wanted} tokens exceed the context of {spec.id}, {context} tokens",
            hint="lower --prompt-tokens or --new-tokens",
        )
    if not spec.hardware.local and not yes:
        raise _costs_money(spec, settings)


def _costs_money(spec: DeploymentSpec, settings: BenchSettings) -> UsageError:
    wanted = demand(spec, settings)
    cost = cost_usd(spec, wanted)
    money = "no price by the token is known" if cost is None else f"{cost:.4f} USD"
    return UsageError(
        f"{spec.id} is not local: this would draw {wanted.samples} samples, up to"
        f" {wanted.input_tokens} tokens of input and {wanted.output_tokens} of output; {money}",
        hint="give --yes to spend that, another --deployment, or fewer --waves and --rounds",
    )


def _place(config: Config, folder: str) -> Path:
    if folder != _BESIDE_THE_CONFIG:
        return Path(folder)
    beside = config_dir(os.environ) if config.file is None else config.file.parent
    return beside / _FOLDER


def _made(folder: Path) -> Path:
    """Before anything is measured, so that nothing is measured in vain."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder} cannot be made: {error.strerror or error}") from error
    return folder


def _tell(output: Output, reports: Sequence[BenchReport], end: BaseException | None) -> None:
    """Print what was measured, also where the run ended before its end."""
    begun = [report for report in reports if report.waves]
    if output.as_json:
        usage = isinstance(end, TTComputeError) and end.exit_code == BAD_USAGE
        if begun or not usage:
            output.document({"deployments": reports, **_error(end)})
    else:
        for place, report in enumerate(begun):
            if place:
                output.say("")
            output.lay(report_view(report))
    for report in reports:
        for warning in report.warnings:
            output.warn(f"{report.deployment}: {warning}")


def _error(end: BaseException | None) -> dict[str, object]:
    if end is None:
        return {}
    return {"error": error_document(end) if isinstance(end, TTComputeError) else interruption()}


def _keep(
    output: Output, reports: Sequence[BenchReport], picture: Path | None, folder: Path | None
) -> None:
    as_of = datetime.now(UTC).date().isoformat()
    written: list[Path] = []
    if picture is not None:
        plot(reports, picture)
        written.append(picture)
    if folder is not None:
        for report in reports:
            written += save(report, folder, as_of=as_of)
    for path in written:
        output.wrote(path)
