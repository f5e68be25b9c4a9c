"""Where a fleet saturates: the highest rate of arrivals that some way of sharing them out keeps up with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from tt_compute.simulation.demand import Use, uses_of
from tt_compute.simulation.routes import Planned
from tt_compute.simulation.simplex import maximise
from tt_compute.simulation.workload import Workload

__all__ = ["Saturation", "saturation_of"]


class Saturation(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a fleet."""

    rate_per_s: float | None = None
    """None where nothing is known to limit it, or nothing can be served."""
    deployment: str | None = None
    binds: str | None = None
    """Path of the limit of that deployment, or ``prefill`` or ``decode``: what to raise first."""
    reason: str | None = None
    """Why the rate is unknown."""


_Limit = tuple[str, str]
"""(deployment, its resource)."""


class _Group:
    """Requests that may go to the same deployments, and are shared out alike."""

    def __init__(self) -> None:
        self.share = 0.0
        """Of all requests."""
        self.seconds: dict[_Limit, float] = {}
        """Of each limit that a second of such arrivals, one in each second, takes where it goes there."""

    def add(self, share: float, deployment: str, uses: Sequence[Use], replicas: int) -> None:
        for use in uses:
            limit = (deployment, use.resource)
            self.seconds[limit] = self.seconds.get(limit, 0.0) + share * use.seconds / replicas


def saturation_of(
    workload: Workload, planned: Sequence[Planned], replicas: Mapping[str, int]
) -> Saturation:
    """Solve for the rate at which the requests' demands, shared out at will, use up every limit that matters.

    A linear programme over the rate and the part of each group that goes to each deployment. What binds is the
    limit with the highest shadow price.
    """
    groups: dict[tuple[str, ...], _Group] = {}
    labels: dict[_Limit, tuple[float, str]] = {}
    for plan, count, typical in zip(planned, workload.counts, workload.typical, strict=True):
        names = tuple(sorted(route.candidate.deployment for route in plan.routes))
        share = count / len(workload)
        groups.setdefault(names, _Group()).share += share
        for route in plan.routes:
            uses, name = uses_of(route, typical), route.candidate.deployment
            groups[names].add(share, name, uses, replicas.get(name, 1))
            for use in uses:
                label = (share * use.seconds, use.binds)
                labels[name, use.resource] = max(labels.get((name, use.resource), label), label)
    groups.pop((), None)
    if not groups:
        return Saturation(reason="no request can be served")
    return _solved(groups, labels)


class _Part(NamedTuple):
    """A variable: what of a group goes to a deployment, as a rate over that group's whole share."""

    group: _Group
    deployment: str


def _solved(
    groups: Mapping[tuple[str, ...], _Group], labels: Mapping[_Limit, tuple[float, str]]
) -> Saturation:
    parts = [_Part(group, name) for names, group in groups.items() for name in names]
    limits = sorted(labels)
    # The rate is at most what the parts of each group add up to.
    spread = [[1.0, *(-1.0 * (part.group is group) for part in parts)] for group in groups.values()]
    used = [
        [
            0.0,
            *(part.group.seconds.get(limit, 0.0) * (part.deployment == limit[0]) for part in parts),
        ]
        for limit in limits
    ]
    bounds = [*[0.0] * len(spread), *[1.0] * len(used)]
    found = maximise([1.0, *[0.0] * len(parts)], [*spread, *used], bounds)
    if found is None:
        return Saturation(reason="no limit of a deployment that takes these requests is known")
    worth = found.worth[len(spread) :]
    deployment, resource = limits[max(range(len(limits)), key=worth.__getitem__)]
    return Saturation(
        rate_per_s=found.value, deployment=deployment, binds=labels[deployment, resource][1]
    )
