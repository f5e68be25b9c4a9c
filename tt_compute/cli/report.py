"""``ttc report``: predicted against actual, over past runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from tt_compute.cli.interrupts import INTERRUPTS
from tt_compute.cli.loop import run_async
from tt_compute.cli.shared import Output, command, counted, example, printable
from tt_compute.cli.table import columns
from tt_compute.errors import StoreError
from tt_compute.plotting import check_plotting, new_figure, save_figure
from tt_compute.reporting import GroupReport, Quantity, Share, report_groups
from tt_compute.setup import Setup

__all__ = ["report"]

_SECONDS_PER_DAY = 86_400.0


@click.command(epilog=example("ttc report --since-days 7"))
@click.option("--since-days", type=click.FloatRange(min=0), help="Only runs younger than this.")
@click.option("--deployment", help="Only runs planned for this deployment.")
@click.option("--mock", is_flag=True, help="Of mock deployments instead of real ones.")
@click.option(
    "--plot",
    "picture",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw confidence against correctness, and latency, into this PNG.",
)
@command
def report(
    output: Output,
    *,
    since_days: float | None,
    deployment: str | None,
    mock: bool,
    picture: Path | None,
) -> None:
    """Show how well predictions came true: quality, latency, cost, samples, energy; warn of drift."""
    if picture is not None:
        check_plotting(picture)
    since = 0.0 if since_days is None else time.time() - since_days * _SECONDS_PER_DAY

    async def read() -> Sequence[GroupReport]:
        setup = Setup(output.config)
        try:
            store = await setup.store()
            if store.unusable is not None:
                raise StoreError(f"there is no store: {store.unusable}")
            return report_groups(await store.runs(since=since, deployment=deployment, mock=mock))
        finally:
            await setup.aclose()

    groups = run_async(read)
    if picture is not None:
        with INTERRUPTS.held():
            _draw(groups, picture)
    if output.as_json:
        output.document({"groups": msgspec.to_builtins(groups)})
        return
    if not groups:
        output.say("no runs; `ttc solve` makes some")
    for place, group in enumerate(groups):
        if place:
            output.say("")
        _tell(output, group)


def _tell(output: Output, group: GroupReport) -> None:
    output.say(printable(f"{_name(group)}: {counted(group.runs, 'run')}, {group.judged} judged"))
    rows = [
        ("quality", _number(group.quality_predicted, "{:.0%}"), _share(group.quality)),
        *(_row(name, quantity) for name, quantity in _quantities(group) if quantity is not None),
        ("over p50", "50%", _share(group.over_p50)),
        ("over p95", "5%", _share(group.over_p95)),
    ]
    output.lay(columns(rows, header=("", "predicted", "actual")))
    for warning in group.warnings:
        output.warn(f"{_name(group)}: {warning}")


def _name(group: GroupReport) -> str:
    """Whose runs; the strategy's own deployments stand in its name."""
    return f"{group.strategy or group.deployment}, {group.task}"


def _quantities(group: GroupReport) -> list[tuple[str, Quantity | None]]:
    return [
        ("latency, s", group.latency_s),
        ("cost, USD", group.cost_usd),
        ("samples", group.samples),
        ("energy, J", group.energy_j),
    ]


def _row(name: str, quantity: Quantity) -> tuple[str, str, str]:
    typical = (
        "" if quantity.ratio_median is None else f" (x{quantity.ratio_median:.2f} in a typical run)"
    )
    return name, f"{quantity.predicted:.3g}", f"{quantity.actual:.3g}{typical}"


def _share(share: Share | None) -> str:
    if share is None:
        return "unknown"
    return f"{share.share:.0%} ({share.low:.0%}-{share.high:.0%} of {share.n})"


def _number(value: float | None, form: str) -> str:
    return "unknown" if value is None else form.format(value)


def _draw(groups: Sequence[GroupReport], path: Path) -> None:
    figure = new_figure(9, 4)
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], linestyle=":", color="grey")
    for group in groups:
        name = _name(group)
        if group.calibration:
            bins = group.calibration
            left.plot(
                [one.confidence for one in bins],
                [one.correct for one in bins],
                marker="o",
                label=name,
            )
        if group.latency_s is not None:
            right.scatter([group.latency_s.predicted], [group.latency_s.actual], label=name)
    left.set_xlabel("confidence")
    left.set_ylabel("share that was right")
    right.set_xlabel("predicted latency, s")
    right.set_ylabel("actual latency, s")
    right.axline((0, 0), slope=1, linestyle=":", color="grey")
    for axes in (left, right):
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize="small")
    save_figure(figure, path)
