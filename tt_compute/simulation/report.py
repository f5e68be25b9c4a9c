"""What a simulation says, in the units of its names; None is unknown, with the reason."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec

from tt_compute.planning.types import Prediction
from tt_compute.profiles.schema import TaskKind
from tt_compute.simulation.fleet import Member
from tt_compute.simulation.routes import Planned
from tt_compute.simulation.saturation import Saturation
from tt_compute.simulation.simulator import Played
from tt_compute.simulation.workload import Workload

__all__ = ["FleetEntry", "Latency", "PlanEntry", "Report", "SweepRow", "report_of", "sweep_row_of"]

_SECONDS_PER_HOUR = 3600


class WorkloadEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What arrived."""

    requests: int
    rate_per_s: float | None
    """Mean; None where all came at once."""
    duration_s: float
    """From the first arrival to the last answer."""
    seed: int


class PlanEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What was planned for a kind of request; all None where it cannot be served."""

    task: TaskKind
    input_tokens: int
    """Of the longest prompt that was planned so."""
    output_tokens: int | None
    """As stated, of the longest sample; None = as the model's profile has it."""
    requests: int
    deployment: str | None = None
    strategy: str | None = None
    max_samples: int | None = None
    feasible: bool | None = None
    """Whether the plan meets the objective."""
    predicted: Prediction | None = None
    """On an idle machine."""
    else_at: tuple[str, ...] = ()
    """Deployments that take it when it would have to wait."""


class FleetEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment, all its copies together."""

    deployment: str
    replicas: int
    requests: int
    samples: int
    utilisation: float | None
    """Share of what it could have done by its tightest limit."""
    busy: float | None
    """Share of the time in which anything ran, mean over the copies."""
    cost_usd: float | None
    energy_j: float | None
    busy_energy_j: float | None
    """The part of it without what idling takes."""


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Of the requests that were answered, from arrival to answer; None without one."""

    mean: float | None = None
    p50: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None


class SweepRow(msgspec.Struct, frozen=True, kw_only=True):
    """The same requests at another rate."""

    rate_per_s: float
    p50_s: float | None
    p95_s: float | None
    goodput_per_s: float | None
    throughput_per_s: float | None
    utilisation: float | None
    """Of the deployment that is used most."""
    cost_usd_per_hour: float | None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All of it."""

    workload: WorkloadEntry
    plans: tuple[PlanEntry, ...]
    fleet: tuple[FleetEntry, ...]
    served: int
    unserved: int
    latency_s: Latency
    goodput_per_s: float | None
    throughput_per_s: float | None
    cost_usd: float | None
    cost_usd_per_request: float | None
    energy_j: float | None
    samples_mean: float | None
    saturation: Saturation
    reasons: tuple[str, ...]
    """Why something is unknown, left out or not served."""
    sweep: tuple[SweepRow, ...] = ()


def report_of(
    workload: Workload,
    planned: Sequence[Planned],
    played: Played,
    saturation: Saturation,
    *,
    max_latency_s: float | None,
    seed: int,
) -> Report:
    """Add up what was played."""
    duration, served = played.duration_s, len(played.latencies_s)
    cost = _total(member.cost_usd(duration) for member in played.fleet)
    ordered = sorted(played.latencies_s)
    return Report(
        workload=WorkloadEntry(
            requests=len(workload),
            rate_per_s=workload.rate_per_s,
            duration_s=duration,
            seed=seed,
        ),
        plans=tuple(
            _plan(plan, count) for plan, count in zip(planned, workload.counts, strict=True)
        ),
        fleet=tuple(_entry(member, duration) for member in played.fleet),
        served=served,
        unserved=played.unserved,
        latency_s=_latency(ordered),
        goodput_per_s=_per(_good(ordered, max_latency_s), duration) if served else None,
        throughput_per_s=_per(served, duration) if served else None,
        cost_usd=cost if served else None,
        cost_usd_per_request=_per(cost, served),
        energy_j=_total(member.energy_j(duration) for member in played.fleet) if served else None,
        samples_mean=_per(sum(member.samples for member in played.fleet), served),
        saturation=saturation,
        reasons=tuple(_reasons(planned, played.fleet)),
    )


def sweep_row_of(report: Report) -> SweepRow:
    """The line of a report in the table of a sweep."""
    rate = report.workload.rate_per_s
    assert rate is not None
    used = [one.utilisation for one in report.fleet if one.utilisation is not None]
    per_s = _per(report.cost_usd, report.workload.duration_s)
    return SweepRow(
        rate_per_s=rate,
        p50_s=report.latency_s.p50,
        p95_s=report.latency_s.p95,
        goodput_per_s=report.goodput_per_s,
        throughput_per_s=report.throughput_per_s,
        utilisation=max(used, default=None),
        cost_usd_per_hour=None if per_s is None else per_s * _SECONDS_PER_HOUR,
    )


def _plan(plan: Planned, requests: int) -> PlanEntry:
    kind = plan.kind
    entry = PlanEntry(
        task=kind.task,
        input_tokens=kind.input_tokens,
        output_tokens=kind.output_tokens,
        requests=requests,
    )
    if not plan.routes:
        return entry
    chosen, *others = (route.candidate for route in plan.routes)
    return msgspec.structs.replace(
        entry,
        deployment=chosen.deployment,
        strategy=chosen.strategy,
        max_samples=chosen.max_samples,
        feasible=chosen.feasible,
        predicted=chosen.predicted,
        else_at=tuple(other.deployment for other in others),
    )


def _entry(member: Member, duration: float) -> FleetEntry:
    known = member.machine is not None
    return FleetEntry(
        deployment=member.spec.id,
        replicas=member.replicas,
        requests=member.requests,
        samples=member.samples,
        utilisation=member.utilisation(duration),
        busy=_per(member.busy_s, duration * member.replicas) if known else None,
        cost_usd=member.cost_usd(duration) if known else None,
        energy_j=member.energy_j(duration) if known else None,
        busy_energy_j=member.busy_energy_j() if known else None,
    )


def _latency(ordered: Sequence[float]) -> Latency:
    if not ordered:
        return Latency()
    return Latency(
        mean=math.fsum(ordered) / len(ordered),
        p50=_quantile(ordered, 0.5),
        p90=_quantile(ordered, 0.9),
        p95=_quantile(ordered, 0.95),
        p99=_quantile(ordered, 0.99),
    )


def _quantile(ordered: Sequence[float], level: float) -> float:
    """The least that so large a share does not exceed."""
    return ordered[max(0, math.ceil(level * len(ordered)) - 1)]


def _good(ordered: Sequence[float], limit_s: float | None) -> int:
    """Requests that were answered in time."""
    if limit_s is None:
        return len(ordered)
    return sum(latency <= limit_s for latency in ordered)


def _per(amount: float | None, of: float) -> float | None:
    return amount / of if amount is not None and of > 0 else None


def _total(amounts: Iterable[float | None]) -> float | None:
    known = list(amounts)
    found = [amount for amount in known if amount is not None]
    return math.fsum(found) if len(found) == len(known) else None


def _reasons(planned: Sequence[Planned], fleet: Sequence[Member]) -> Iterable[str]:
    said = dict.fromkeys(reason for plan in planned for reason in plan.reasons)
    for member in fleet:
        if member.machine is not None:
            for figure, reason in member.unknown.items():
                said.setdefault(f"{figure} of {member.spec.id}: {reason}")
    return said
