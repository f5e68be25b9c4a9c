"""What the runs of a failed test did, as a section of its report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from tt_compute.cli.render import plan_lines, progress_view, result_view, usd
from tt_compute.cli.shared import counted
from tt_compute.planning.explain import explain
from tt_compute.results import Progress, Result
from tt_compute.testing.trial import Spent

__all__ = ["runs_section"]

_RUNS = 5
_SAMPLES = 20


def runs_section(results: Sequence[Result], spent: Spent) -> str:
    """The latest runs with plan, samples and receipt, and what all runs took."""
    shown = results[-_RUNS:]
    left_out = len(results) - len(shown)
    lines = [f"(not shown: {counted(left_out, 'earlier run')})"] if left_out else []
    for number, result in enumerate(shown, left_out + 1):
        lines += [f"run {number} of {len(results)}, {result.task} task", *_run(result), ""]
    taken = f"{counted(spent.samples, 'sample')}, {counted(spent.tokens, 'token')}"
    lines.append(f"all together: {taken}, cost {usd(spent.usd)}")
    return "\n".join(lines)


def _run(result: Result) -> Iterable[str]:
    chosen = result.plan.chosen
    if chosen is not None:
        yield plan_lines(chosen).plain
        yield from (f"  {reason}" for reason in explain(result.plan).reasons)
        samples = Progress(plan=chosen, drawn=len(result.samples), live=0, finished=result.samples)
        yield ""
        yield progress_view(samples, rows=_SAMPLES).plain
    yield ""
    yield result_view(result).plain
    failures = Counter(
        (one.deployment, one.status) for one in result.receipt.attempts if one.status is not None
    )
    for (deployment, status), count in failures.items():
        yield f"failed at {deployment}: {counted(count, 'attempt')}, {status}"
    yield from (f"warning: {warning}" for warning in result.warnings)
