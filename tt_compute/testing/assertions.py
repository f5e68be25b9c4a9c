"""Assertions about plans and results that say what was there instead.

Each raises ``AssertionError`` whose message holds the actual values; of a choice, also why it was made.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tt_compute.errors import UsageError
from tt_compute.planning.explain import explain
from tt_compute.planning.types import Candidate, Plan
from tt_compute.results import Attempt, Result

__all__ = [
    "assert_cost_at_most",
    "assert_fell_back",
    "assert_no_fallback",
    "assert_plan",
    "assert_rejected",
    "assert_samples",
    "assert_stopped_early",
]


def assert_plan(
    decided: Plan | Result,
    *,
    deployment: str | None = None,
    strategy: str | None = None,
    stop_rule: str | None = None,
    max_samples: int | None = None,
    ahead: float | None = None,
    feasible: bool | None = None,
    why: str | None = None,
) -> None:
    """Check what was chosen. What is None is not looked at.

    Args:
        decided: The plan, or a result, whose plan counts.
        deployment: Id of the chosen deployment.
        strategy: Its strategy.
        stop_rule: Its stop rule, as the plan shows it.
        max_samples: Its budget.
        ahead: The chance from which on its vote draws ahead of need.
        feasible: Whether it meets every constraint of the objective.
        why: A piece of the explanation that ``ttc plan`` gives, such as ``"the least cost"``.
    """
    __tracebackhide__ = True
    plan = decided.plan if isinstance(decided, Result) else decided
    chosen = plan.chosen
    if chosen is None:
        raise AssertionError(f"nothing was chosen\n{_why(plan)}")
    wanted: dict[str, object] = {
        "deployment": deployment,
        "strategy": strategy,
        "stop_rule": stop_rule,
        "max_samples": max_samples,
        "ahead": ahead,
        "feasible": feasible,
    }
    wrong = [
        f"{name} is {getattr(chosen, name)!r}, not {value!r}"
        for name, value in wanted.items()
        if value is not None and getattr(chosen, name) != value
    ]
    if why is not None and not any(why in reason for reason in explain(plan).reasons):
        wrong.append(f"no reason for the choice says {why!r}")
    if wrong:
        rival = _best_of(plan, deployment)
        raise AssertionError("\n".join(["; ".join(wrong), _shown(chosen), *rival, _why(plan)]))


def assert_rejected(decided: Plan | Result, deployment: str, *, why: str = "") -> None:
    """Check that a deployment was not even weighed.

    Args:
        decided: The plan, or a result, whose plan counts.
        deployment: Its id.
        why: A piece of the reason.
    """
    __tracebackhide__ = True
    plan = decided.plan if isinstance(decided, Result) else decided
    reasons = {one.deployment: one.reason for one in plan.rejected}
    if deployment not in reasons:
        weighed = sorted({one.deployment for one in plan.candidates})
        what = "was weighed" if deployment in weighed else "was not there"
        raise AssertionError(
            f"{deployment} {what}; weighed: {_listed(weighed)}; rejected: {_listed(reasons)}"
        )
    if why not in reasons[deployment]:
        raise AssertionError(
            f"{deployment} was rejected for another reason than {why!r}: {reasons[deployment]}"
        )


def assert_samples(
    result: Result,
    *,
    drawn: int | None = None,
    at_least: int | None = None,
    at_most: int | None = None,
    failed: int | None = None,
    cancelled: int | None = None,
) -> None:
    """Check how many samples a run drew, all of them counted: finished, cancelled and failed.

    Args:
        result: Of the run.
        drawn: Exactly so many.
        at_least: No fewer.
        at_most: No more.
        failed: Exactly so many of them failed.
        cancelled: Exactly so many of them were cancelled, or stopped by the deadline.

    Raises:
        UsageError: No count is stated, so that nothing would be checked.
    """
    __tracebackhide__ = True
    if {drawn, at_least, at_most, failed, cancelled} == {None}:
        raise UsageError(
            "assert_samples was given no count to check",
            hint="state one: drawn, at_least, at_most, failed or cancelled",
        )
    receipt = result.receipt
    count = receipt.samples_drawn
    wrong: list[str] = []
    if drawn is not None and count != drawn:
        wrong.append(f"{count} samples were drawn, not {drawn}")
    if at_least is not None and count < at_least:
        wrong.append(f"{count} samples were drawn, fewer than {at_least}")
    if at_most is not None and count > at_most:
        wrong.append(f"{count} samples were drawn, more than {at_most}")
    if failed is not None and receipt.samples_failed != failed:
        wrong.append(f"{receipt.samples_failed} samples failed, not {failed}")
    if cancelled is not None and receipt.samples_cancelled != cancelled:
        wrong.append(f"{receipt.samples_cancelled} samples were cancelled, not {cancelled}")
    if wrong:
        raise AssertionError("\n".join(["; ".join(wrong), _ran(result)]))


def assert_stopped_early(result: Result, *, reason: str | None = None) -> None:
    """Check that a run ended before its budget was drawn to the end.

    Args:
        result: Of the run.
        reason: Its stop reason, such as ``settled``; None = any but ``failed``.
    """
    __tracebackhide__ = True
    receipt, chosen = result.receipt, result.plan.chosen
    assert chosen is not None, "a run has a plan"
    wrong: list[str] = []
    if receipt.samples_finished >= chosen.max_samples:
        wrong.append(f"all {chosen.max_samples} samples of the budget were drawn to their ends")
    if reason is not None and receipt.stop_reason != reason:
        wrong.append(f"the run ended with {receipt.stop_reason!r}, not {reason!r}")
    if receipt.stop_reason == "failed":
        wrong.append("the run failed")
    if wrong:
        raise AssertionError("\n".join(["; ".join(wrong), _ran(result)]))


def assert_fell_back(
    result: Result,
    *,
    source: str | None = None,
    to: str | None = None,
    because: str | None = None,
) -> None:
    """Check that samples were planned for one deployment and drawn at another.

    Nothing falls back where the strategy itself asks several deployments, such as a panel's: each is asked for itself.

    Args:
        result: Of the run.
        source: The deployment that was planned; None = whichever it was.
        to: One that samples came from in its place; None = any other.
        because: Class of the error that an attempt at the planned one ended with, such as ``RateLimitError``.
    """
    __tracebackhide__ = True
    chosen = _chosen(result)
    planned, named = chosen.deployment, [member.deployment for member in chosen.members]
    others = sorted({one.deployment for one in result.samples} - {planned, *named})
    errors = {
        one.status for one in result.receipt.attempts if one.deployment == planned and one.status
    }
    wrong: list[str] = []
    if source is not None and source != planned:
        wrong.append(f"the plan was for {planned}, not for {source}")
    if not others:
        wrong.append(f"every sample came from {_listed(named or [planned])}, as planned")
    elif to is not None and to not in others:
        wrong.append(f"samples came from {_listed(others)}, and none from {to}")
    if because is not None and because not in errors:
        wrong.append(f"attempts at {planned} failed with {_listed(sorted(errors))}, not {because}")
    if wrong:
        raise AssertionError("\n".join(["; ".join(wrong), _ran(result)]))


def assert_no_fallback(result: Result) -> None:
    """Check that every sample came from where it was planned.

    The second deployment of a cascade is planned, too, and so are all that a strategy names.
    """
    __tracebackhide__ = True
    places = _places(result)
    others = sorted({one.deployment for one in result.samples} - {*places})
    if others:
        raise AssertionError(
            f"samples that were planned for {_listed(places)} came from {_listed(others)}\n{_ran(result)}"
        )


def assert_cost_at_most(result: Result, usd: float) -> None:
    """Check what a run cost, all attempts and verifiers included; an unknown cost is not at most anything."""
    __tracebackhide__ = True
    cost = result.receipt.cost_usd
    if cost is None:
        raise AssertionError(
            f"what the run cost is not known, so it is not at most ${usd:g}\n{_listed(result.warnings)}"
        )
    if cost > usd:
        raise AssertionError(f"the run cost ${cost:.6g}, more than ${usd:g}\n{_ran(result)}")


def _chosen(result: Result) -> Candidate:
    chosen = result.plan.chosen
    assert chosen is not None, "a run has a plan"
    return chosen


def _places(result: Result) -> list[str]:
    """All deployments that samples were planned for."""
    chosen = _chosen(result)
    then = [] if chosen.then is None else [chosen.then]
    further = [stage.deployment for stage in (*chosen.members, *then)]
    return [*dict.fromkeys([chosen.deployment, *further])]


def _best_of(plan: Plan, deployment: str | None) -> Iterable[str]:
    """What the plan held of the deployment that was wanted."""
    chosen = plan.chosen
    if deployment is None or (chosen is not None and chosen.deployment == deployment):
        return
    rejected = {one.deployment: one.reason for one in plan.rejected}
    if deployment in rejected:
        yield f"{deployment} was rejected: {rejected[deployment]}"
        return
    weighed = [one for one in plan.candidates if one.deployment == deployment]
    if not weighed:
        yield f"{deployment} was not there; weighed: {_listed(sorted({one.deployment for one in plan.candidates}))}"
        return
    best = max(weighed, key=lambda one: (one.feasible, one.predicted.quality or 0.0))
    yield f"the best of {deployment}: {_figures(best)}"


def _shown(candidate: Candidate) -> str:
    return (
        f"chosen: {candidate.strategy} of up to {candidate.max_samples} at {candidate.deployment}, "
        f"{_figures(candidate)}"
    )


def _figures(candidate: Candidate) -> str:
    predicted = candidate.predicted
    figures = (
        ("quality", predicted.quality),
        ("p95 latency s", predicted.latency_p95_s),
        ("cost USD", predicted.cost_usd),
    )
    shown = [
        f"{name} {'unknown' if value is None else format(value, '.3g')}" for name, value in figures
    ]
    if candidate.violates:
        shown.append(f"violates {_listed(candidate.violates)}")
    return ", ".join(shown)


def _why(plan: Plan) -> str:
    return "\n".join(f"  {reason}" for reason in explain(plan).reasons)


def _ran(result: Result) -> str:
    """What a run did, in a few lines."""
    receipt = result.receipt
    ended = (
        f"{receipt.samples_finished} finished + {receipt.samples_cancelled} cancelled + "
        f"{receipt.samples_failed} failed"
    )
    lines = [
        f"planned: {', '.join(_places(result))}; stop reason: {receipt.stop_reason}",
        f"drawn: {receipt.samples_drawn} = {ended}",
        *(
            f"  sample {one.index} at {one.deployment}: {one.finish_reason or 'failed'}, answer {one.answer!r}"
            for one in result.samples
        ),
        *_failures(receipt.attempts),
    ]
    return "\n".join(lines)


def _failures(attempts: Sequence[Attempt]) -> Iterable[str]:
    for one in attempts:
        if one.status is not None:
            yield f"  an attempt at {one.deployment} failed: {one.status}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
