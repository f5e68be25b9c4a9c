"""How a run and a plan look on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tt_compute.cli.shared import printable
from tt_compute.planning.types import Candidate, Plan, Prediction
from tt_compute.results import Progress, Receipt, Result, SampleRecord

__all__ = ["live_view", "plan_line", "plan_view", "predicted_line", "receipt_table", "result_view"]

_TEXT_WIDTH = 48
_VOTE_MARKS = 40
_MANY_SAMPLES = 24


def plan_line(chosen: Candidate) -> str:
    """The decision in one line."""
    if chosen.max_samples == 1:
        return f"{chosen.deployment}: {chosen.strategy}"
    rule = f", stop rule {chosen.stop_rule}" if chosen.stop_rule else ""
    return (
        f"{chosen.deployment}: {chosen.strategy} of up to {chosen.max_samples}"
        f"{rule}, at most {chosen.wave} at once"
    )


def predicted_line(predicted: Prediction) -> str:
    """What is expected, in one line."""
    p95 = "" if predicted.latency_p95_s is None else f" (p95 {_seconds(predicted.latency_p95_s)})"
    return ", ".join(
        (
            f"quality {_number(predicted.quality)}",
            f"{_number(predicted.samples_mean, 1)} samples",
            f"{_seconds(predicted.latency_p50_s)}{p95}",
            _usd(predicted.cost_usd),
            f"{_number(predicted.energy_j, 1)} J",
        )
    )


def live_view(progress: Progress) -> RenderableType:
    """The run so far: samples as they end, the vote, what was stopped."""
    parts: list[RenderableType] = [_samples_table(progress.finished[-_MANY_SAMPLES:])]
    if progress.votes:
        parts.append(_votes_table(progress.votes))
    state = (
        f"{len(progress.finished)} of {progress.drawn} drawn have ended, {progress.live} running"
    )
    if progress.posterior is not None:
        state += f"; the leader is right about the vote with {progress.posterior:.3f}"
    if progress.stopped:
        state += f"; settled, stopping {len(progress.stopped)}"
    parts.append(Text(state, style="dim"))
    return Group(*parts)


def result_view(result: Result) -> RenderableType:
    """Answer, how it was reached, receipt."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    answer = "none found" if result.answer is None else printable(result.answer)
    table.add_row("Answer", Text(answer, style="bold green"))
    if result.confidence is not None:
        table.add_row("Confidence", f"{result.confidence:.2f} (estimated P(correct))")
    table.add_row("Reached by", _how(result))
    return Group(table, Text(), receipt_table(result.receipt))


def receipt_table(receipt: Receipt) -> Table:
    """Predicted beside actual."""
    predicted = receipt.predicted
    table = Table("Receipt", "predicted", "actual", box=None, padding=(0, 2))
    rows: Sequence[tuple[str, str, str]] = (
        (
            "samples",
            _number(predicted.samples_mean, 1),
            f"{receipt.samples_drawn} ({receipt.samples_cancelled} cancelled, {receipt.samples_failed} failed)",
        ),
        ("latency", _seconds(predicted.latency_p50_s), _seconds(receipt.latency_s)),
        ("first token", "", _seconds(receipt.first_token_s)),
        ("cost", _usd(predicted.cost_usd), _usd(receipt.cost_usd)),
        (
            "energy",
            _joules(predicted.energy_j),
            "not measured" if receipt.energy_j is None else _joules(receipt.energy_j),
        ),
        (
            "tokens",
            "",
            f"{receipt.input_tokens} in, {receipt.output_tokens} out ({receipt.cancelled_tokens} cancelled)",
        ),
        ("quality", _number(predicted.quality), ""),
        ("seed", "", str(receipt.seed)),
    )
    for row in rows:
        table.add_row(*row)
    return table


def plan_view(plan: Plan, rows: Iterable[tuple[Candidate, bool]]) -> RenderableType:
    """The candidates worth looking at; the chosen one is marked."""
    table = Table(
        "", "deployment", "strategy", "n", "wave", "quality", "p50", "p95", "cost", "energy", "samples",
        box=None, padding=(0, 1),
    )  # fmt: skip
    for candidate, chosen in rows:
        predicted = candidate.predicted
        table.add_row(
            "→" if chosen else "",
            candidate.deployment,
            candidate.strategy,
            str(candidate.max_samples),
            str(candidate.wave),
            _number(predicted.quality),
            _seconds(predicted.latency_p50_s),
            _seconds(predicted.latency_p95_s),
            _usd(predicted.cost_usd),
            _joules(predicted.energy_j),
            _number(predicted.samples_mean, 1),
            style="bold green" if chosen else ("" if candidate.feasible else "dim"),
        )
    rejected = [f"{item.deployment}: {item.reason}" for item in plan.rejected]
    return Group(table, *(Text(f"rejected  {line}", style="dim") for line in rejected))


def _samples_table(samples: Sequence[SampleRecord]) -> Table:
    table = Table.grid(padding=(0, 2))
    for sample in samples:
        text = " ".join(printable(sample.text).split())
        short = text if len(text) <= _TEXT_WIDTH else text[: _TEXT_WIDTH - 1] + "…"
        table.add_row(
            f"#{sample.index}",
            Text("-" if sample.answer is None else printable(sample.answer), style="bold"),
            Text(short),
            Text(sample.finish_reason or "failed", style="dim"),
            Text(f"{sample.output_tokens} tokens", style="dim"),
        )
    return table


def _votes_table(votes: Sequence[tuple[str, int]]) -> Table:
    table = Table.grid(padding=(0, 2))
    for place, (answer, count) in enumerate(votes[:5]):
        style = "green" if place == 0 else "dim"
        marks = "●" * min(count, _VOTE_MARKS)
        table.add_row(
            Text("votes" if place == 0 else "", style="bold"),
            Text(printable(answer), style=style),
            Text(marks, style=style),
            str(count),
        )
    return table


def _how(result: Result) -> str:
    receipt = result.receipt
    reasons = {
        "settled": "the vote was settled",
        "budget": "the whole budget was drawn",
        "deadline": "the deadline passed; this is the best so far",
        "cost": "the cost limit was reached",
        "verifier": "the verifier accepted a sample",
        "interrupted": "interrupted; this is the best so far",
        "failed": "the run failed",
    }
    posterior = (
        "" if receipt.stop_posterior is None else f" (posterior {receipt.stop_posterior:.3f})"
    )
    votes = sum(sample.answer is not None for sample in result.samples)
    return (
        f"{receipt.samples_drawn} samples, {votes} with an answer;"
        f" {reasons[receipt.stop_reason]}{posterior}"
    )


def _number(value: float | None, digits: int = 2) -> str:
    return "unknown" if value is None else f"{value:.{digits}f}"


def _seconds(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f} s"


def _joules(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1f} J"


def _usd(value: float | None) -> str:
    if value is None:
        return "unknown cost"
    return "$0" if value == 0 else f"${value:.6f}"
