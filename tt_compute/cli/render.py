"""How a plan, a run and its result look on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.text import Text

from tt_compute.cli.shared import counted, printable
from tt_compute.cli.table import Cell, columns
from tt_compute.planning.types import Candidate, Plan
from tt_compute.results import Progress, Receipt, Result, SampleRecord
from tt_compute.stopping import Thresholded, is_score_rule, parse_stop_rule
from tt_compute.strategies.naming import family

__all__ = [
    "ahead_marks",
    "plan_lines",
    "plan_view",
    "progress_view",
    "result_view",
    "short_strategy",
    "usd",
    "where",
]

_ANSWER_WIDTH = 24
_TEXT_WIDTH = 200
_VOTE_MARKS = 40
_VOTE_ROWS = 5
_HALF_PERCENT = 0.005
_MINUTE_S = 60
_TASKS_OF_TEXT = {"open", "code"}
"""Kinds of task whose text is what was asked for; that of the others is the way to the answer."""
_REASONS = {
    "settled": "the vote was settled",
    "budget": "the whole budget was drawn",
    "deadline": "the deadline passed; this is the best so far",
    "cost": "the cost limit was reached",
    "verifier": "the verifier accepted a sample",
    "interrupted": "interrupted; this is the best so far",
    "failed": "the run failed",
}
_REASONS_OF = {
    ("panel", "budget"): "everybody was asked",
    ("mixture", "settled"): "one answer was made of the others",
    ("mixture", "budget"): "no proposal came, and the question was asked plainly",
    ("mixture", "failed"): "no answer was made of the proposals",
}
"""Of strategies that have their own."""


def plan_lines(chosen: Candidate) -> Text:
    """The decision and what is expected of it, in three lines."""
    what = _weighed(chosen)
    if chosen.max_samples > 1:
        what += f" of up to {chosen.first_samples}, {chosen.wave} at once"
    if chosen.stop_rule:
        what += f", stop rule {chosen.stop_rule}"
    if chosen.ahead < 1:
        what += f", ahead from {chosen.ahead:.0%}"
    where = ", ".join(_places(chosen))
    if chosen.then is not None:
        then, share = chosen.then, chosen.then.share
        often = "" if share is None else f" (for {_percent(share)} of such questions)"
        where += f", then {then.deployment}{often}: {then.strategy} of up to {then.max_samples}"
    predicted = chosen.predicted
    p95 = "" if predicted.latency_p95_s is None else f" (p95 {_seconds(predicted.latency_p95_s)})"
    figures = (
        f"quality {_probability(predicted.quality)}",
        f"samples {_number(predicted.samples_mean)}",
        f"latency {_seconds(predicted.latency_p50_s)}{p95}",
        f"cost {usd(predicted.cost_usd)}",
    )
    rows = (
        (Text("Plan", "bold"), printable(what)),
        (Text("on", "bold"), printable(where)),
        (Text("predicted", "bold"), ", ".join(figures)),
    )
    return columns(rows)


def plan_view(plan: Plan, rows: Iterable[tuple[Candidate, bool]]) -> Text:
    """The candidates worth looking at, by deployment; the chosen one is marked."""
    shown = list(rows)
    lines: list[Sequence[Cell] | Text] = []
    marks = ahead_marks(candidate for candidate, _ in shown)
    places = dict.fromkeys(where(candidate) for candidate, _ in shown)
    for place in places:
        lines.append(Text(printable(place), "bold"))
        lines += [
            _candidate_row(candidate, marks[candidate.ahead], chosen=chosen)
            for candidate, chosen in shown
            if where(candidate) == place
        ]
    header = "", "strategy", "n", "wave", "quality", "p50", "p95", "cost", "energy", "samples"
    table = columns(lines, header=header, right=range(2, len(header)))
    key = [] if plan.chosen is None else ["→ chosen"]
    if any(not candidate.feasible for candidate, _ in shown):
        key.append("x misses the objective")
    ahead = ", ".join(f"{mark} {level:.0%}" for level, mark in marks.items() if mark)
    key += [f"draws ahead what it needs with a chance of {ahead}"] if ahead else []
    rejected = [f"rejected  {item.deployment}: {item.reason}" for item in plan.rejected]
    notes = [Text(printable(line), "dim") for line in ("   ".join(key), *rejected)]
    return Text("\n").join([table, *notes])


def ahead_marks(candidates: Iterable[Candidate]) -> dict[float, str]:
    """How far a vote draws ahead of need -> what stands behind its wave: the farther, the longer."""
    levels = sorted({candidate.ahead for candidate in candidates} - {1.0}, reverse=True)
    return {1.0: "", **{level: "+" * place for place, level in enumerate(levels, 1)}}


def progress_view(progress: Progress, rows: int) -> Text:
    """The run so far: samples as they end, the vote, what was stopped.

    Args:
        progress: Where it stands.
        rows: Most lines to use; the samples that ended last are shown.
    """
    votes = _votes(progress.votes)
    state = [
        f"{progress.drawn} drawn",
        f"{len(progress.finished)} ended",
        f"{progress.live} running",
    ]
    if progress.posterior is not None:
        state.append(f"posterior {_share(progress.posterior)}")
    if progress.stopped:
        state.append(f"settled, stopping {len(progress.stopped)}")
    room = max(1, rows - len(votes) - 1)
    samples = [_sample_row(sample) for sample in progress.finished[-room:]]
    parts = [columns(part) for part in (samples, votes) if part]
    return Text("\n").join([*parts, Text(", ".join(state), "dim")])


def result_view(result: Result) -> Text:
    """Answer, the text it stands in where that is more than a way to it, how it was reached, receipt."""
    answer = "none found" if result.answer is None else printable(result.answer)
    shown = {"Answer": Text(answer, "bold green")}
    text = printable(result.text.strip())
    if result.task in _TASKS_OF_TEXT and text != answer:
        shown["Text"] = Text(text)
    if result.confidence is not None:
        figure = f"{_probability(result.confidence)} (estimated P(correct))"
        shown["Confidence"] = Text(figure)
    shown["Reached by"] = Text(_how(result))
    # Several lines stand as they are, so that they can be copied.
    long = {name: text for name, text in shown.items() if "\n" in text.plain}
    above = [line for name, text in long.items() for line in (Text(name, "bold"), text, Text())]
    rows = [(Text(name, "bold"), text) for name, text in shown.items() if name not in long]
    return Text("\n").join([*above, columns(rows), Text(), _receipt(result.receipt)])


def short_strategy(candidate: Candidate) -> str:
    """Without the deployments that ``where`` lists, and of the rule ``beta`` only a threshold that is not its own."""
    rule = candidate.stop_rule or ""
    if rule.startswith("beta"):
        return candidate.strategy + rule.removeprefix("beta")
    asked = [member.deployment for member in candidate.members]
    if asked and len(asked) == len(set(asked)):
        return candidate.strategy.partition("=")[0]
    return f"{_weighed(candidate)} {rule}".rstrip()


def _weighed(candidate: Candidate) -> str:
    return candidate.strategy + (f" by {candidate.weight}" if candidate.weight else "")


def where(candidate: Candidate) -> str:
    """Its deployments, in the order in which they are asked."""
    then, places = candidate.then, ", ".join(_places(candidate))
    return places if then is None else f"{places} → {then.deployment}"


def _places(candidate: Candidate) -> Iterable[str]:
    """The deployment, or those that the strategy names, each once."""
    return dict.fromkeys(
        [candidate.deployment, *(member.deployment for member in candidate.members)]
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _candidate_row(candidate: Candidate, mark: str, *, chosen: bool) -> Sequence[Cell]:
    predicted = candidate.predicted
    style = "bold green" if chosen else ("" if candidate.feasible else "dim")
    cells = (
        f"{'→' if chosen else ' '}{' ' if candidate.feasible else 'x'}",
        short_strategy(candidate),
        str(candidate.max_samples),
        f"{candidate.wave}{mark}",
        _probability(predicted.quality),
        _seconds(predicted.latency_p50_s),
        _seconds(predicted.latency_p95_s),
        usd(predicted.cost_usd),
        _joules(predicted.energy_j),
        _number(predicted.samples_mean),
    )
    return [Text(cell, style) for cell in cells]


def _sample_row(sample: SampleRecord) -> Sequence[Cell]:
    tokens = counted(sample.output_tokens, "token")
    return (
        f"#{sample.index}",
        Text("-" if sample.answer is None else _short(sample.answer, _ANSWER_WIDTH), "bold"),
        Text(sample.finish_reason or "failed", "dim"),
        Text(tokens, "dim"),
        _short(sample.text, _TEXT_WIDTH),
    )


def _votes(votes: Sequence[tuple[str, int]]) -> list[Sequence[Cell]]:
    return [
        (
            Text("votes" if place == 0 else "", "bold"),
            Text(_short(answer, _ANSWER_WIDTH), "green" if place == 0 else "dim"),
            Text(f"{'●' * min(count, _VOTE_MARKS)} {count}", "green" if place == 0 else "dim"),
        )
        for place, (answer, count) in enumerate(votes[:_VOTE_ROWS])
    ]


def _how(result: Result) -> str:
    receipt = result.receipt
    posterior = (
        "" if receipt.stop_posterior is None else f" (posterior {_share(receipt.stop_posterior)})"
    )
    answered = sum(sample.answer is not None for sample in result.samples)
    return (
        f"{counted(receipt.samples_drawn, 'sample')}, {answered} with an answer;"
        f" {_reason(result)}{posterior}"
    )


def _reason(result: Result) -> str:
    receipt, chosen = result.receipt, result.plan.chosen
    if chosen is None:
        return _REASONS[receipt.stop_reason]
    if receipt.stop_reason == "budget" and chosen.max_samples == 1:
        return "as planned"
    if chosen.stop_rule is None:
        return (
            _REASONS_OF.get((family(chosen.strategy), receipt.stop_reason))
            or (_REASONS[receipt.stop_reason])
        )
    if receipt.stop_reason == "settled":
        if is_score_rule(chosen.stop_rule):
            return "a sample's score was good enough"
        rule, posterior = parse_stop_rule(chosen.stop_rule), receipt.stop_posterior
        if posterior is not None and isinstance(rule, Thresholded) and posterior < rule.threshold:
            return "the leader could no longer be caught"
    return _REASONS[receipt.stop_reason]


def _receipt(receipt: Receipt) -> Text:
    """Predicted beside actual."""
    predicted = receipt.predicted
    drawn = (
        f"{receipt.samples_drawn} ({receipt.samples_cancelled} cancelled,"
        f" {receipt.samples_failed} failed)"
    )
    tokens = (
        f"{receipt.input_tokens} in, {receipt.output_tokens} out"
        f" ({receipt.cancelled_tokens} cancelled)"
    )
    energy = "not measured" if receipt.energy_j is None else _joules(receipt.energy_j)
    rows = (
        ("samples", _number(predicted.samples_mean), drawn),
        ("latency", _seconds(predicted.latency_p50_s), _seconds(receipt.latency_s)),
        ("first token", "", _seconds(receipt.first_token_s)),
        ("cost", usd(predicted.cost_usd), usd(receipt.cost_usd)),
        ("energy", _joules(predicted.energy_j), energy),
        ("tokens", "", tokens),
        ("quality", _probability(predicted.quality), ""),
        ("seed", "", str(receipt.seed)),
    )
    return columns(rows, header=("Receipt", "predicted", "actual"))


def _short(text: str, width: int) -> str:
    """In one line; a longer text is cut."""
    line = " ".join(printable(text[: 8 * width]).split())
    return line if len(line) <= width else f"{line[: width - 1]}…"


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1f}"


def _probability(value: float | None) -> str:
    """Two digits; what is not certain is never shown as 0 or 1."""
    if value is None:
        return "unknown"
    if 1 - _HALF_PERCENT <= value < 1:
        return ">0.99"
    if 0 < value < _HALF_PERCENT:
        return "<0.01"
    return f"{value:.2f}"


def _share(value: float) -> str:
    """Three digits; rounded down, so that nothing is certain before it is."""
    return f"{int(value * 1000) / 1000:.3f}"


def _seconds(value: float | None) -> str:
    if value is None:
        return "unknown"
    if value < 1:
        return f"{value * 1000:.0f} ms"
    return f"{value:.2f} s" if value < _MINUTE_S else f"{value:.0f} s"


def _joules(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1f} J"


def usd(value: float | None) -> str:
    """An amount of US dollars, to a millionth."""
    if value is None:
        return "unknown"
    return "$0" if value == 0 else f"${value:.6f}"
