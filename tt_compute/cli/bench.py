"""``ttc bench``: what a deployment does with waves of samples."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import anyio
import click
from rich.text import Text

from tt_compute.bench.machine import EnergyMeter
from tt_compute.bench.measure import BenchReport, BenchSettings, Spread, WaveFigures, measure
from tt_compute.bench.save import check_plotting, plot, save
from tt_compute.cli.shared import Output, command, example, printable
from tt_compute.cli.table import columns
from tt_compute.client import AsyncClient
from tt_compute.clock import SystemClock
from tt_compute.config import Config
from tt_compute.errors import ConfigError, UsageError
from tt_compute.profiles.schema import DeploymentSpec

__all__ = ["bench"]

_WIDEST = 256
_HEADER = ("samples", "tokens/s", "low-high", "first token", "per token", "mean length", "J/token")


class _Waves(click.ParamType[tuple[int, ...]]):
    name = "widths"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return tuple(int(str(width)) for width in value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] - click gives back what was converted
        try:
            widths = sorted({int(part) for part in str(value).split(",")})
        except ValueError:
            self.fail(f"{value!r} is no list of numbers such as 1,4,16", param, ctx)
        if not 1 <= widths[0] <= widths[-1] <= _WIDEST:
            self.fail(f"widths must be from 1 to {_WIDEST}, got {value}", param, ctx)
        return tuple(widths)


@click.command("bench", epilog=example("ttc bench --waves 1,4,16"))
@click.option("--deployment", help="Id; default: the configuration's only or first one.")
@click.option(
    "--waves", type=_Waves(), default="1,2,4,8,16,32", show_default=True, help="Samples at once."
)
@click.option("--prompt-tokens", type=click.IntRange(8, 100_000), default=200, show_default=True)
@click.option("--new-tokens", type=click.IntRange(2, 100_000), default=128, show_default=True)
@click.option("--rounds", type=click.IntRange(1, 100), default=3, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Of prompts and samples.")
@click.option(
    "--plot", "picture", type=click.Path(path_type=Path, dir_okay=False), help="Write a PNG here."
)
@click.option(
    "--save",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep JSON, YAML and a PNG in this folder.",
)
@click.option("--yes", is_flag=True, help="Spend money at a deployment that is not local.")
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
    folder: Path | None,
    yes: bool,
) -> None:
    """Measure speed, latency, memory and energy of a deployment; writes nothing unless asked to."""
    if picture is not None:
        check_plotting()
    config = Config.load(output.config)
    spec = config.spec(deployment) if deployment else config.deployments[0]
    settings = BenchSettings(
        waves=waves,
        prompt_tokens=prompt_tokens,
        new_tokens=new_tokens,
        rounds=rounds,
        seed=seed,
    )
    if not spec.hardware.local and not yes:
        raise _costs_money(spec, settings)
    if folder is not None:
        _make(folder)
    measured: list[WaveFigures] = []
    try:
        report = anyio.run(_measure, output, config, spec, settings, measured)
    except KeyboardInterrupt:
        if measured and not output.as_json:
            output.lay(_table(measured))
        raise
    if output.as_json:
        output.document(report)
    else:
        _show(output, report)
    _keep(output, report, picture, folder)


def _make(folder: Path) -> None:
    """Before anything is measured, so that nothing is measured in vain."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot be made: {error.strerror or error}", file=folder) from error


async def _measure(
    output: Output,
    config: Config,
    spec: DeploymentSpec,
    settings: BenchSettings,
    measured: list[WaveFigures],
) -> BenchReport:
    def tell(what: str) -> None:
        if output.err.is_terminal:
            output.err.print(printable(f"{spec.id}: {what} ..."))

    async with AsyncClient(config) as client:
        return await measure(
            client,
            spec.id,
            settings,
            clock=SystemClock(),
            meter=EnergyMeter(),
            tell=tell,
            done=measured.append,
        )


def _costs_money(spec: DeploymentSpec, settings: BenchSettings) -> UsageError:
    samples = settings.rounds * (sum(settings.waves) + 2) + min(settings.waves)
    tokens = samples * settings.new_tokens
    return UsageError(
        f"{spec.id} is not local: this would draw {samples} samples, up to {tokens} tokens of output",
        hint="give --yes to spend that, or fewer --waves and --rounds",
    )


def _show(output: Output, report: BenchReport) -> None:
    output.lay(_table(report.waves))
    facts = {
        "model load": f"{report.load_s:.2f} s",
        "prompt": f"{report.prompt_tokens} tokens",
        "prefill": _unit(report.prefill_tokens_per_s, "tokens/s"),
        "late draw": "unknown"
        if report.late_first_token_s is None
        else f"{_seconds(report.late_first_token_s)} to its first token",
        "memory": "unknown"
        if report.memory_bytes is None
        else f"{report.memory_bytes / 1e6:.0f} MB resident, engines included",
        "energy": report.energy_reason or f"{report.energy_source}; idle {report.idle_w:.1f} W",
    }
    output.say("")
    output.lay(columns([(name, printable(value)) for name, value in facts.items()]))


def _table(waves: Sequence[WaveFigures]) -> Text:
    rows = [_row(wave) for wave in waves]
    return columns(rows, header=_HEADER, right=set(range(len(_HEADER))))


def _row(wave: WaveFigures) -> tuple[str, ...]:
    speed = wave.tokens_per_s
    return (
        str(wave.width),
        f"{speed.median:.0f}",
        f"{speed.low:.0f}-{speed.high:.0f}",
        _seconds(wave.first_token_s),
        "unknown" if wave.token_s is None else _seconds(wave.token_s),
        f"{wave.mean_tokens:.0f}",
        "unknown" if wave.j_per_token is None else f"{wave.j_per_token:.2f}",
    )


def _seconds(spread: Spread) -> str:
    return f"{spread.median * 1000:.1f} ms" if spread.median < 1 else f"{spread.median:.2f} s"


def _unit(value: float | None, unit: str) -> str:
    return "unknown" if value is None else f"{value:.0f} {unit}"


def _keep(output: Output, report: BenchReport, picture: Path | None, folder: Path | None) -> None:
    try:
        if picture is not None:
            plot(report, picture)
            output.err.print(printable(f"wrote {picture}"))
        if folder is not None:
            as_of = datetime.now(UTC).date().isoformat()
            for path in save(report, folder, as_of=as_of):
                output.err.print(printable(f"wrote {path}"))
    except OSError as error:
        raise ConfigError(
            f"cannot be written: {error.strerror or error}", file=picture or folder
        ) from error
