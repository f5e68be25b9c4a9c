"""An engine whose rows share a device: continuous batching, as processor sharing in virtual time.

All rows that are alive advance by one token in each decode step, and the step is the longer the more of them there
are. So one clock counts the steps that every row has seen: a row that begins at v and takes t tokens ends when the
clock shows v + t, whatever happens in between. Events need the earliest such end only, so that each costs
O(log rows). A new prompt is computed at once and holds everybody up meanwhile.
"""

from __future__ import annotations

import heapq
import math
from collections import deque

from tt_compute.simulation.agenda import Agenda
from tt_compute.simulation.gate import Gate
from tt_compute.simulation.machine import Machine
from tt_compute.simulation.run import Run

__all__ = ["SharedEngine"]

_NO_MORE = 1e-6
"""Tokens that are less than what a sum of many can tell from nothing."""
_ROUNDING = 1e-15


class SharedEngine:
    """One copy of a deployment on hardware of one's own.

    Attributes:
        backlog_s: Seconds that the samples which wait will take of the whole engine.
        prefill_s, decode_s: How long it was busy.
        overhead_s: The part of ``decode_s`` in which the device idled between kernels.
        work_s: What its samples take of an engine that is full.
    """

    def __init__(self, machine: Machine, agenda: Agenda, overhead_s: float) -> None:
        assert machine.max_rows is not None
        self._machine = machine
        self._agenda = agenda
        self._gate = Gate(machine)
        self._max_rows = machine.max_rows
        self._room = machine.kv_tokens
        self._step_overhead_s = overhead_s
        self._fixed = [0.0, *(step.fixed_s for step in machine.steps)]
        self._per_row = [
            0.0,
            *(step.per_context_token_s / rows for rows, step in enumerate(machine.steps, start=1)),
        ]
        self._waiting: deque[tuple[Run, int]] = deque()
        self._live: list[tuple[float, int, Run, int]] = []
        self._rows = 0
        self._context = 0.0
        self._held = 0.0
        self._virtual = 0.0
        self._step_s = 1.0
        self._at = 0.0
        self._busy_until = 0.0
        self._pending = math.inf
        self.backlog_s: float = 0.0
        self.prefill_s: float = 0.0
        self.decode_s: float = 0.0
        self.overhead_s: float = 0.0
        self.work_s: float = 0.0

    @property
    def rows(self) -> int:
        return self._rows

    def takes_at_once(self, now: float, run_rows: int, run_tokens: float) -> bool:
        """Whether a run of so many rows and tokens could begin without waiting."""
        if self._waiting or self._rows + run_rows > self._max_rows:
            return False
        if self._room is not None and self._rows and self._held + run_tokens > self._room:
            return False
        return self._gate.opens_at(now, run_rows, run_tokens) <= now

    def wait_s(self, now: float) -> float:
        """Seconds until what waits now, and the prompts that are being computed, are through."""
        return self.backlog_s + max(0.0, self._busy_until - now)

    def submit(self, now: float, run: Run, samples: tuple[int, ...]) -> None:
        """Samples of a run that can be drawn now."""
        self._advance(now)
        self._enqueue(run, samples)
        self._go_on(now)

    def fire(self, now: float, _item: tuple[Run, int] | None) -> None:
        """What was on the agenda for now: samples that end."""
        if now != self._pending:
            return
        self._pending = math.inf
        self._advance(now)
        live = self._live
        # What time itself cannot tell from now has ended too.
        reached = self._virtual + _NO_MORE + now * _ROUNDING / self._step_s
        while live and live[0][0] <= reached:
            _, _, run, sample = heapq.heappop(live)
            self._end(now, run, sample)
        self._go_on(now)

    def _end(self, now: float, run: Run, sample: int) -> None:
        self._rows -= 1
        self._held -= run.tokens(sample)
        self._context = self._context - run.context if self._rows else 0.0
        following = run.course.then[sample]
        run.live -= 1
        if following:
            self._enqueue(run, following)
        elif not run.live:
            self._held -= run.prompt
            run.end(now)

    def _enqueue(self, run: Run, samples: tuple[int, ...]) -> None:
        """Behind the others; before them where the run has begun, lest all be begun and none ended."""
        begun = run.prompted
        run.live += len(samples)
        self.backlog_s += run.row_work_s * len(samples)
        if begun:
            self._waiting.extendleft((run, sample) for sample in reversed(samples))
        else:
            self._waiting.extend((run, sample) for sample in samples)

    def _advance(self, now: float) -> None:
        """Let the rows decode until now, but for the time in which prompts are computed."""
        since = max(self._busy_until, self._at)
        if self._rows and now > since:
            passed = now - since
            steps = passed / self._step_s
            self._virtual += steps
            self.decode_s += passed
            if self._step_overhead_s:
                self.overhead_s += steps * min(self._step_overhead_s, self._step_s)
        self._at = now

    def _go_on(self, now: float) -> None:
        """Begin what there is room for, and say when to look again."""
        opens = now
        while self._waiting and self._has_room():
            run, sample = self._waiting[0]
            tokens = run.tokens(sample)
            opens = self._gate.opens_at(now, 1, tokens + run.prompt)
            if opens > now:
                break
            self._waiting.popleft()
            self._begin(now, run, sample, tokens)
        due = opens if opens > now else math.inf
        rows = self._rows
        if rows:
            self._step_s = self._fixed[rows] + self._per_row[rows] * self._context
            since = max(self._busy_until, now)
            ends = since + (self._live[0][0] - self._virtual) * self._step_s
            due = max(now, min(due, ends))
        if due < self._pending:
            self._pending = due
            self._agenda.add(due, self, None)

    def _has_room(self) -> bool:
        """For the next one; an engine without rows takes it whatever its size."""
        if not self._rows:
            return True
        if self._rows == self._max_rows:
            return False
        return self._room is None or self._held + self._needed(*self._waiting[0]) <= self._room

    def _needed(self, run: Run, sample: int) -> float:
        """Tokens whose keys and values it adds; those of the prompt once, for as long as the run goes on."""
        tokens = run.tokens(sample)
        return tokens if run.prompted else tokens + run.prompt

    def _begin(self, now: float, run: Run, sample: int, tokens: float) -> None:
        self._gate.take(now, tokens + run.prompt)
        self.backlog_s = self.backlog_s - run.row_work_s if self._waiting else 0.0
        self.work_s += run.row_work_s
        self._held += self._needed(run, sample)
        if not run.prompted or not self._machine.prompt_once:
            self._compute_prompt(now, run)
        entry = (self._virtual + tokens - 1.0, self._agenda.number(), run, sample)
        heapq.heappush(self._live, entry)
        self._rows += 1
        self._context += run.context

    def _compute_prompt(self, now: float, run: Run) -> None:
        seconds = self._machine.prefill.seconds(run.prompt)[0]
        self._busy_until = seconds + max(self._busy_until, now)
        self.prefill_s += seconds
        run.prompted = True
