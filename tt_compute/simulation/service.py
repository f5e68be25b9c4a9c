"""A service whose rows leave each other alone: each at its stated speed, within concurrency and rate limits."""

from __future__ import annotations

import math
import random
from collections import deque

from tt_compute.simulation.agenda import Agenda
from tt_compute.simulation.machine import Machine, RateLimit
from tt_compute.simulation.run import Run

__all__ = ["Bucket", "ServiceEngine"]


class Bucket:
    """A token bucket; more than it can ever hold is let through once it is full, and owed."""

    def __init__(self, limit: RateLimit) -> None:
        self.limit = limit
        self._level = limit.amount
        self._at = 0.0

    def ready_at(self, now: float, amount: float) -> float:
        """When so much can be taken."""
        self._fill(now)
        missing = min(amount, self.limit.amount) - self._level
        return now if missing <= 0 else now + missing / self.limit.per_s

    def take(self, now: float, amount: float) -> None:
        self._fill(now)
        self._level -= amount

    def _fill(self, now: float) -> None:
        gained = (now - self._at) * self.limit.per_s
        self._level = min(self.limit.amount, self._level + gained)
        self._at = now


class ServiceEngine:
    """One copy of a deployment at a service, or a mock.

    Attributes:
        backlog_s: Seconds that the samples which wait will take of the tightest limit.
        busy_s: How long anything ran.
        row_s: Seconds of all samples, added up.
        requests, tokens: What counted against the limits.
    """

    def __init__(self, machine: Machine, agenda: Agenda, rng: random.Random) -> None:
        self._machine = machine
        self._agenda = agenda
        self._rng = rng
        self._buckets = [Bucket(limit) for limit in machine.limits]
        self._max_rows = math.inf if machine.max_rows is None else machine.max_rows
        self._waiting: deque[tuple[Run, int, float]] = deque()
        self._rows = 0
        self._busy_since = 0.0
        self._wakes_at: float | None = None
        self.backlog_s = 0.0
        self.busy_s = 0.0
        self.row_s = 0.0
        self.requests = 0
        self.tokens = 0.0

    @property
    def rows(self) -> int:
        return self._rows

    def takes_at_once(self, now: float, run_rows: int, run_tokens: float) -> bool:
        """Whether a run of so many rows and tokens could begin without waiting."""
        if self._waiting or self._rows + run_rows > self._max_rows:
            return False
        return all(
            bucket.ready_at(now, run_tokens if bucket.limit.of_tokens else run_rows) <= now
            for bucket in self._buckets
        )

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
        first_s = self._first_token_s(run)
        run.live += len(samples)
        self.backlog_s += run.row_work_s * len(samples)
        for sample in samples:
            self._waiting.append((run, sample, first_s))

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
            allowed = self._allowed_at(now, counted)
            if allowed > now:
                if self._wakes_at is None:
                    self._wakes_at = allowed
                    self._agenda.add(allowed, self, None)
                return
            self._waiting.popleft()
            self.backlog_s = self.backlog_s - run.row_work_s if self._waiting else 0.0
            self._begin(now, (run, sample), first_s + (tokens - 1.0) * run.step_s, counted)

    def _allowed_at(self, now: float, tokens: float) -> float:
        allowed = now
        for bucket in self._buckets:
            at = bucket.ready_at(now, tokens if bucket.limit.of_tokens else 1.0)
            # What rounding leaves of a wait would be waited for without end.
            if at > allowed + allowed * 1e-12 + 1e-9:
                allowed = at
        return allowed

    def _begin(self, now: float, item: tuple[Run, int], seconds: float, counted: float) -> None:
        for bucket in self._buckets:
            bucket.take(now, counted if bucket.limit.of_tokens else 1.0)
        if not self._rows:
            self._busy_since = now
        self._rows += 1
        self.row_s += seconds
        self.requests += 1
        self.tokens += counted
        self._agenda.add(now + seconds, self, item)
