"""The deployments of a simulation, each with its copies, what ran on them, and what that took."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from tt_compute.planning.economics import HourlyPrice, Power, TokenPrice, power_of, price_of
from tt_compute.planning.roofline import UnknownFact
from tt_compute.profiles.schema import DeploymentSpec
from tt_compute.simulation.agenda import Agenda
from tt_compute.simulation.courses import Course
from tt_compute.simulation.engine import SharedEngine
from tt_compute.simulation.machine import Machine, assumed_capabilities
from tt_compute.simulation.service import ServiceEngine

__all__ = ["Engine", "Member", "make_fleet"]

Engine = SharedEngine | ServiceEngine


class Member:
    """One deployment of the fleet.

    Attributes:
        spec, replicas: Which, and how many copies of it.
        machine: None where its speed is unknown.
        engines: One for each copy; none where its speed is unknown.
        unknown: Why its cost or energy is unknown.
        requests, samples: That ended there.
    """

    def __init__(self, spec: DeploymentSpec, machine: Machine | None, replicas: int) -> None:
        self.spec = spec
        self.machine = machine
        self.replicas = replicas
        self.engines: list[Engine] = []
        self.unknown: dict[str, str] = {}
        self.requests: int = 0
        self.samples: int = 0
        self._tokens_usd = 0.0
        self._price = self._try_price()
        self._power = self._try_power()
        self._idle_w = self._try_idle_w()

    def settle(self, course: Course, scale: float, prompt: int) -> None:
        """Book a run that has ended."""
        self.requests += 1
        samples = len(course.tokens)
        self.samples += samples
        if isinstance(self._price, TokenPrice):
            prompts = self._price.prompts_usd(course.waves, samples)
            self._tokens_usd += prompts * prompt + self._price.output * course.total * scale

    def cost_usd(self, duration_s: float) -> float | None:
        """By the token; or by the hour, for every copy from the first arrival to the last answer."""
        if isinstance(self._price, HourlyPrice):
            return self._price.usd_per_s * self.replicas * duration_s
        return None if self._price is None else self._tokens_usd

    def busy_energy_j(self) -> float | None:
        """While something ran."""
        power = self._power
        if power is None:
            return None
        overhead_s = sum(
            engine.overhead_s for engine in self.engines if isinstance(engine, SharedEngine)
        )
        return power.peak_w * (self.busy_s - overhead_s) + power.idle_w * overhead_s

    def energy_j(self, duration_s: float) -> float | None:
        """Of all copies, idle ones too."""
        busy = self.busy_energy_j()
        if busy is None or self._idle_w is None:
            return None
        return busy + self._idle_w * max(0.0, self.replicas * duration_s - self.busy_s)

    @property
    def busy_s(self) -> float:
        """How long each copy was not idle, added up."""
        return sum(
            engine.prefill_s + engine.decode_s
            if isinstance(engine, SharedEngine)
            else engine.busy_s
            for engine in self.engines
        )

    def utilisation(self, duration_s: float) -> float | None:
        """Share of what it could have done in that time, by its tightest limit; None where no limit is known."""
        if self.machine is None or not duration_s:
            return None
        shares: list[float] = []
        for engine in self.engines:
            if isinstance(engine, SharedEngine):
                shares.append(engine.work_s / duration_s)
            else:
                shares += [_most_used(engine, self.machine, duration_s)]
        known = [share for share in shares if share >= 0]
        return min(1.0, sum(known) / len(known)) if known else None

    def _try_price(self) -> TokenPrice | HourlyPrice | None:
        try:
            return price_of(self.spec, assumed_capabilities(self.spec))
        except UnknownFact as unknown:
            self.unknown["cost_usd"] = unknown.reason
            return None

    def _try_power(self) -> Power | None:
        try:
            return power_of(self.spec)
        except UnknownFact as unknown:
            self.unknown["energy_j"] = unknown.reason
            return None

    def _try_idle_w(self) -> float | None:
        hardware = self.spec.hardware
        idle = hardware.power.idle_w.value
        if idle is None:
            self.unknown.setdefault("energy_j", f"power.idle_w of {hardware.id} is unknown")
            return None
        return idle * self.spec.deployment.placement.tensor_parallel

    @property
    def step_overhead_s(self) -> float:
        return 0.0 if self._power is None else self._power.step_overhead_s


def _most_used(engine: ServiceEngine, machine: Machine, duration_s: float) -> float:
    """Of a service's limits, the share of the one that was used most; below 0 where it has none."""
    shares = [
        (engine.gate.tokens if limit.of_tokens else engine.gate.requests)
        / (limit.per_s * duration_s)
        for limit in machine.limits
    ]
    if machine.max_rows is not None:
        shares.append(engine.row_s / (machine.max_rows * duration_s))
    return max(shares, default=-1.0)


def make_fleet(
    specs: Sequence[DeploymentSpec],
    machines: Mapping[str, Machine],
    replicas: Mapping[str, int],
    agenda: Agenda,
    rng: random.Random,
) -> list[Member]:
    """The fleet, idle.

    Args:
        specs: Its deployments.
        machines: Of those whose speed is known.
        replicas: Copies by deployment id; 1 of those that are not named.
        agenda: Where its engines note what is to come.
        rng: For what varies at services.
    """
    fleet = [Member(spec, machines.get(spec.id), replicas.get(spec.id, 1)) for spec in specs]
    for member in fleet:
        machine = member.machine
        if machine is not None:
            member.engines = [
                ServiceEngine(machine, agenda, rng)
                if machine.independent
                else SharedEngine(machine, agenda, member.step_overhead_s)
                for _ in range(member.replicas)
            ]
    return fleet
