"""A simulation from its parts: plan every kind of request, find the end of the fleet, play the workload."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from tt_compute.errors import InvalidRequestError
from tt_compute.profiles.schema import DeploymentSpec
from tt_compute.simulation.report import Report, report_of, sweep_row_of
from tt_compute.simulation.routes import Asked, Planned, Router
from tt_compute.simulation.saturation import Saturation, saturation_of
from tt_compute.simulation.simulator import play
from tt_compute.simulation.workload import Workload
from tt_compute.types import Clock

__all__ = ["Simulation"]

_SWEEP = (0.1, 0.25, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0)
"""Shares of the highest rate."""


class Simulation:
    """A workload on a fleet.

    Args:
        workload: What arrives.
        specs: The deployments.
        replicas: Copies by deployment id; 1 of those that are not named.
        asked: What requests want.
        clock: For the planner's own timing; nothing else looks at it.

    Attributes:
        planned: Each kind of the workload, planned.
        saturation: The end of the fleet.

    Raises:
        UsageError: The strategy, the stop rule or the objective is wrong.
    """

    def __init__(
        self,
        workload: Workload,
        specs: Sequence[DeploymentSpec],
        replicas: Mapping[str, int],
        asked: Asked,
        clock: Clock,
    ) -> None:
        self._workload = workload
        self._specs = specs
        self._replicas = replicas
        self._asked = asked
        self._router = Router(specs, asked, clock)
        self.planned: tuple[Planned, ...] = tuple(map(self._router.plan, workload.kinds))
        self.saturation: Saturation = saturation_of(workload, self.planned, replicas)

    def run(self, rate_per_s: float | None = None) -> Report:
        """Play the workload.

        Args:
            rate_per_s: Of its arrivals; None = as they are.

        Raises:
            InvalidRequestError: The rate is out of range.
        """
        workload = self._workload if rate_per_s is None else self._workload.at_rate(rate_per_s)
        played = play(
            workload,
            self.planned,
            self._specs,
            self._router.machines,
            self._replicas,
            seed=self._asked.seed,
        )
        return report_of(
            workload,
            self.planned,
            played,
            self.saturation,
            max_latency_s=self._asked.objective.max_latency_s,
            seed=self._asked.seed,
        )

    def sweep(self, rate_per_s: float | None = None) -> Report:
        """Play the workload also at rising rates, up to the end of the fleet.

        Args:
            rate_per_s: The rate that the rest of the report is about, and the highest one where the end of
                the fleet is unknown; None = that of the workload.

        Raises:
            InvalidRequestError: There is no such rate, or it is out of range.
        """
        most = self.saturation.rate_per_s or rate_per_s or self._workload.rate_per_s
        if most is None:
            raise InvalidRequestError(
                f"there is no highest rate to sweep up to: {self.saturation.reason}"
            )
        rows = tuple(sweep_row_of(self.run(most * share)) for share in _SWEEP)
        return msgspec.structs.replace(self.run(rate_per_s), sweep=rows)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why deployments were left out, or requests cannot be served."""
        return tuple(dict.fromkeys(reason for plan in self.planned for reason in plan.reasons))
