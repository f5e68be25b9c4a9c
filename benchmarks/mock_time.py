"""Measures how long simulated minutes take: solves at a mock whose every sample takes a minute.

    python benchmarks/mock_time.py --solves 100 --latency-s 60

Prints the seconds of wall time beside those of virtual time. The first solve, which loads what the others
share, is told apart. The goal is 100 solves of a minute each in under 2 s.
"""

from __future__ import annotations

import argparse
import asyncio
import time

import tt_compute as tt
from tt_compute.testing import Latency, MockAbility, MockDeployment, QuestionSet, Scenario
from tt_compute.testing.time import VirtualClock


def scenario(solves: int, latency_s: float) -> Scenario:
    mock = MockDeployment(
        id="slow", ability=MockAbility(success_rate=0.8), latency=Latency(ttft_s=latency_s)
    )
    return Scenario(deployments=(mock,), questions=QuestionSet(count=solves))


async def measure(solves: int, latency_s: float, strategy: str) -> tuple[float, float, float]:
    """Wall seconds of the first solve and of all, and virtual seconds of all."""
    played = scenario(solves, latency_s)
    clock = VirtualClock()
    started, first_s = time.perf_counter(), 0.0
    async with tt.AsyncClient(played.ready(environ={}), clock=clock, environ={}) as client:
        for number, question in enumerate(played.asked()):
            await client.solve(
                question.prompt,
                strategy=strategy,
                seed=number,
                objective=tt.Objective(max_samples=8),
            )
            if number == 0:
                first_s = time.perf_counter() - started
    return first_s, time.perf_counter() - started, clock.now()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--solves", type=int, default=100)
    parser.add_argument("--latency-s", type=float, default=60.0)
    given = parser.parse_args()
    print("strategy  solves  virtual_s  wall_s  first_wall_s")
    for strategy in ("single", "majority"):
        first_s, wall_s, virtual_s = asyncio.run(measure(given.solves, given.latency_s, strategy))
        print(f"{strategy:8}  {given.solves:6}  {virtual_s:9.0f}  {wall_s:6.2f}  {first_s:12.2f}")


if __name__ == "__main__":
    main()
