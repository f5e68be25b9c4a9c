"""A workload played through on a fleet."""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Callable, Mapping, Sequence

from tt_compute.profiles.schema import DeploymentSpec
from tt_compute.simulation.agenda import Agenda
from tt_compute.simulation.courses import Course
from tt_compute.simulation.demand import step_s, work_s
from tt_compute.simulation.fleet import Engine, Member, make_fleet
from tt_compute.simulation.machine import Machine
from tt_compute.simulation.routes import Planned, Route
from tt_compute.simulation.run import Run
from tt_compute.simulation.workload import Arrival, Kind, Typical, Workload

__all__ = ["Played", "play"]


class Played:
    """What came of a workload.

    Attributes:
        fleet: With what ran on it.
        latencies_s: Of the requests that were answered, in the order of their answers.
        unserved: Requests that no deployment can take.
        duration_s: From the first arrival to the last answer.
    """

    def __init__(self, fleet: Sequence[Member], unserved: int) -> None:
        self.fleet = fleet
        self.latencies_s: array[float] = array("d")
        self.unserved = unserved
        self.duration_s: float = 0.0


class _Way:
    """A route with all that is worked out once for its kind."""

    def __init__(self, route: Route, kind: Kind, typical: Typical, member: Member) -> None:
        courses = route.courses
        self.member = member
        self.engines = member.engines
        self.pool = courses.pool
        self.latency_s = route.latency_s
        self.rows = min(route.candidate.wave, math.ceil(courses.rows_alive))
        self.tokens = self.rows * courses.row_tokens + kind.input_tokens
        self.run_work_s = work_s(route, typical)
        self.row_work_s = self.run_work_s / courses.samples
        self.half_row = courses.row_tokens / 2
        self.step_s = step_s(route, typical, route.candidate.wave)
        self.planned_tokens = kind.output_tokens

    def engine(self) -> Engine:
        """The copy with the least before it."""
        if len(self.engines) == 1:
            return self.engines[0]
        return min(self.engines, key=_before)

    def finish_s(self, engine: Engine, now: float) -> float:
        """Seconds until a request that goes there now would be answered, as far as is known beforehand."""
        turn_s = 0.0 if engine.takes_at_once(now, self.rows, self.tokens) else self.run_work_s
        return engine.wait_s(now) + turn_s + self.latency_s


def _before(engine: Engine) -> tuple[float, int]:
    return engine.backlog_s, engine.rows


def play(
    workload: Workload,
    planned: Sequence[Planned],
    specs: Sequence[DeploymentSpec],
    machines: Mapping[str, Machine],
    replicas: Mapping[str, int],
    *,
    seed: int,
) -> Played:
    """Let every request of the workload arrive, and run all to their ends.

    A request goes where it was planned to go. When it would have to wait there it goes to the way, among those
    of its plan, on which it is predicted to be answered first.
    """
    rng = random.Random(f"{seed}:runs")  # noqa: S311 - tries things out, guards nothing
    agenda = Agenda()
    fleet = make_fleet(specs, machines, replicas, agenda, rng)
    by_id = {member.spec.id: member for member in fleet}
    ways = [
        [
            _Way(route, plan.kind, typical, by_id[route.candidate.deployment])
            for route in plan.routes
        ]
        for plan, typical in zip(planned, workload.typical, strict=True)
    ]
    unserved = sum(count for mine, count in zip(ways, workload.counts, strict=True) if not mine)
    played = Played(fleet, unserved)
    for arrival in workload:
        mine = ways[arrival.kind]
        if mine:
            agenda.go_on_until(arrival.at_s)
            _begin(played, mine, arrival, rng)
    agenda.go_on_until(math.inf)
    played.duration_s = max(played.duration_s, workload.arrivals[0][-1])
    return played


def _begin(played: Played, ways: Sequence[_Way], arrival: Arrival, rng: random.Random) -> None:
    now = arrival.at_s
    way = ways[0]
    engine = way.engine()
    if len(ways) > 1 and not engine.takes_at_once(now, way.rows, way.tokens):
        way = min(ways, key=lambda one: one.finish_s(one.engine(), now))
        engine = way.engine()
    course = way.pool[int(rng.random() * len(way.pool))]
    scale = arrival.output_tokens / way.planned_tokens if way.planned_tokens else 1.0
    prompt = arrival.input_tokens
    run = Run(
        course,
        scale=scale,
        prompt=prompt,
        context=prompt + scale * way.half_row,
        row_work_s=way.row_work_s,
        step_s=way.step_s,
        ended=_settling(played, way.member, course, (now, scale, prompt)),
    )
    engine.submit(now, run, course.begin)


def _settling(
    played: Played, member: Member, course: Course, of: tuple[float, float, int]
) -> Callable[[float], None]:
    """What is to be done when a run ends."""
    begun, scale, prompt = of

    def settle(ended: float) -> None:
        played.latencies_s.append(ended - begun)
        played.duration_s = ended
        member.settle(course, scale, prompt)

    return settle
