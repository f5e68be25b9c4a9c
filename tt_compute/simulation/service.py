"""A service whose rows leave each other alone: each at its stated speed, within concurrency and rate limits."""

from __future__ import annotations

import math
import random
from collections import deque

from tt_compute.simulation.agenda import Agenda
from tt_compute.simulation.gate import Gate
from tt_compute.simulation.machine import Machine
from tt_compute.simulation.run import Run

__all__ = ["ServiceEngine"]


class ServiceEngine:
    """One copy of a deployment at a service, or a mock.

    Attributes:
        backlog_s: Seconds that the samples which wait will take of the tightest limit.
        busy_s: How long anything ran.
        row_s: Seconds of all samples, added up.
        gate: Its rate limits.
    """

    def __init__(self, machine: Machine, agenda: Agenda, rng: random.Random) -> None:
        self._machine = machine
        self._agenda = agenda
        self._rng = rng
        self.gate: Gate = Gate(machine)
        self._max_rows = math.inf if machine.max_rows is None else machine.max_rows
        self._waiting: deque[tuple[Run, int, float]] = deque()
        self._rows = 0
        self._busy_since = 0.0
        self._wakes_at: float | None = None
        self.backlog_s: float = 0.0
        self.busy_s: float = 0.0
        self.row_s: float = 0.0

    @property
    def rows(self) -> int:
        return self._rows

    def takes_at_once(self, now: float, run_rows: int, run_tokens: float) -> bool:
        """Whether a run of so many rows and tokens could begin without waiting."""
        if self._waiting or self._rows + run_rows > self._max_rows:
            return False
        return self.gate.opens_at(now, run_rows, run_tokens) <= now

    def wait_s(self, now: float) -> float:  # noqa: ARG002 - as an engine's
        """Seconds until what waits now is through."""
        return self.backlog_s

    def submit(self, now: float, run: Run, samples: tuple[int, ...]) -> None:
        """Samples of a run that can be drawn now; those of one moment see the same time to first token."""
        self._enqueue(run, samples)
        self._go_on(now)

    def fire(self, now: float, item: tuple[Run, int] | None) -> None:
        """What was on the agenda for now: a sample that ends, or a limit that lets the next one through."""
        if item is None:
            self._wakes_at = None
        else:
            run, sample = item
            self._rows -= 1
            if not self._rows:
                self.busy_s += now - self._busy_since
            following = run.course.then[sample]
            run.live -= 1
            if following:
                self._enqueue(run, following)
            elif not run.live:
                run.end(now)
        self._go_on(now)

    def _enqueue(self, run: Run, samples: tuple[int, ...]) -> None:
        """Behind the others; before them where the run has begun, lest all be begun and none ended."""
        begun = run.prompted
        first_s = self._first_token_s(run)
        run.live += len(samples)
        self.backlog_s += run.row_work_s * len(samples)
        if begun:
            self._waiting.extendleft((run, sample, first_s) for sample in reversed(samples))
        else:
            self._waiting.extend((run, sample, first_s) for sample in samples)

    def _first_token_s(self, run: Run) -> float:
        """Log-normal through p50 and p95; 0 for what follows in a run whose samples share its prompt."""
        if run.prompted and self._machine.prompt_once:
            return 0.0
        run.prompted = True
        p50, spread = self._machine.first_token_s(run.prompt)
        return p50 * math.exp(spread * self._rng.normalvariate()) if spread else p50

    def _go_on(self, now: float) -> None:
        while self._waiting and self._rows < self._max_rows:
            run, sample, first_s = self._waiting[0]
            tokens = run.tokens(sample)
            counted = tokens + run.prompt
            allowed = self.gate.opens_at(now, 1, counted)
            if allowed > now:
                if self._wakes_at is None:
                    self._wakes_at = allowed
                    self._agenda.add(allowed, self, None)
                return
            self._waiting.popleft()
            self.backlog_s = self.backlog_s - run.row_work_s if self._waiting else 0.0
            self.gate.take(now, counted)
            self._begin(now, (run, sample), first_s + (tokens - 1.0) * run.step_s)

    def _begin(self, now: float, item: tuple[Run, int], seconds: float) -> None:
        if not self._rows:
            self._busy_since = now
        self._rows += 1
        self.row_s += seconds
        self._agenda.add(now + seconds, self, item)
