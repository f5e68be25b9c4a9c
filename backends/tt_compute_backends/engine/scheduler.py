"""Which samples run next to each other: admission, fairness, cancellation, deadlines, failures.

The rules, in the order in which a step applies them:

* ``Draw`` only queues. ``Cancel`` and a passed deadline end a sample between two steps, at once.
* At most ``max_rows`` rows are in the runtime. A row that was cancelled counts until the next step, which
  is when the runtime frees it.
* A free row goes to the waiting prompt with the fewest live rows; among equals, to the one that has waited
  longest since it began to wait or last got a row. So the rows are shared evenly between requests, however
  many samples each asked for, and no request starves. Live rows are never taken away: when all rows are
  held, a newcomer waits until the first of them ends, and is then served first. While rows are free nobody
  is held back: a wider batch costs its neighbours little.
* While the runtime has no memory for a row of the prompt whose turn it is, that row and those behind it
  wait for a running one to end; with none running it is tried, and fails if it can never fit.
* Where prefill is shared, the first row of a prompt leads: the others wait until it has its first token,
  and then find the prompt computed. If the leader ends before that, the next row leads.
* Texts that are only to be read (scores, vectors) get one pass after each step, the calls in turn. They need no
  row; while they hold memory, a row that finds none waits for them as for a running one.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Final

from tt_compute.errors import OutOfMemory
from tt_compute.types import FinishReason
from tt_compute_backends.engine.messages import (
    Cancel,
    Close,
    Closed,
    Draw,
    Forget,
    Open,
    Opened,
    Read,
    Refused,
    Reply,
    WireError,
    to_wire,
)
from tt_compute_backends.engine.readings import Readings
from tt_compute_backends.engine.rows import OpenPrompt, Row
from tt_compute_backends.engine.runtime import RowStep, Runtime
from tt_compute_backends.engine.sampling import row_params

__all__ = ["Scheduler"]

_FINISH: Final[dict[str, FinishReason]] = {"stop": "stop", "length": "length"}


class Scheduler:
    """Runs the samples of all open prompts on one runtime.

    Args:
        runtime: With its model loaded.
        max_rows: Most rows in the runtime at once.
        share_prefill: Whether rows of one prompt share its prefill, so that the first should lead.
        now: Monotonic seconds, on the clock that commands were stamped with.
    """

    def __init__(
        self, runtime: Runtime, *, max_rows: int, share_prefill: bool, now: Callable[[], float]
    ) -> None:
        self._runtime = runtime
        self._max_rows = max_rows
        self._share_prefill = share_prefill
        self._now = now
        self._opened: dict[int, OpenPrompt] = {}
        self._rows: dict[int, tuple[OpenPrompt, Row]] = {}
        self._freeing = 0
        """Rows cancelled since the last step, which the runtime still holds."""
        self._row_numbers = itertools.count()
        self._tickets = itertools.count()
        self._replies: list[Reply] = []
        self._readings = Readings(runtime, now=now)

    @property
    def busy(self) -> bool:
        """Whether ``advance`` has anything to do before the next command."""
        return bool(
            self._rows
            or self._freeing
            or self._readings
            or any(prompt.queued for prompt in self._opened.values())
        )

    def handle(self, command: Open | Draw | Cancel | Close | Read | Forget) -> None:
        """Obey a command. One for a prompt that is not open is ignored: it was closed meanwhile."""
        match command:
            case Open():
                self._open(command)
            case Read():
                self._readings.begin(command)
            case Forget(number=number):
                self._readings.forget(number)
            case _:
                self._handle_opened(command)

    def _handle_opened(self, command: Draw | Cancel | Close) -> None:
        prompt = self._opened.get(command.generation)
        if prompt is None:
            return
        match command:
            case Draw():
                self._draw(prompt, command)
            case Cancel():
                self._cancel(prompt, command.index)
            case Close():
                self._close(prompt)

    def advance(self) -> None:
        """End what is late, admit what fits, run one step of the runtime and one pass over texts.

        Raises:
            Exception: The runtime could not be mended after a failed step; nothing can go on.
        """
        self._expire()
        self._admit()
        if self._rows or self._freeing:
            self._step()
        self._replies += self._readings.advance()

    def take_replies(self) -> list[Reply]:
        """All that has not been handed over yet."""
        replies, self._replies = self._replies, []
        for prompt in self._opened.values():
            events = prompt.take_events()
            if events is not None:
                replies.append(events)
        return replies

    # --- commands --------------------------------------------------------------------------------

    def _open(self, command: Open) -> None:
        try:
            prompt = self._runtime.prepare(command.request)
        except Exception as error:  # noqa: BLE001 - whatever a runtime raises costs this request only
            wire = to_wire(error, "the runtime could not prepare the prompt")
            self._replies.append(Refused(generation=command.generation, error=wire))
            return
        left = command.seconds_left
        self._opened[command.generation] = OpenPrompt(
            id=command.generation,
            request=command.request,
            prompt=prompt,
            seed=int(command.seed),
            deadline_s=None if left is None else command.sent_s + left,
            shared=self._share_prefill,
        )
        opened = Opened(generation=command.generation, prompt_tokens=len(prompt.token_ids))
        self._replies.append(opened)

    def _draw(self, prompt: OpenPrompt, command: Draw) -> None:
        if not prompt.queued:
            prompt.ticket = next(self._tickets)
        for index in range(command.first, command.first + command.n):
            prompt.queued[index] = Row(index=index, asked_s=command.sent_s)

    def _cancel(self, prompt: OpenPrompt, index: int | None) -> None:
        if index is None:
            self._end_all(prompt, "cancelled")
            return
        row = prompt.live.get(index) or prompt.queued.get(index)
        if row is not None:
            self._end_all(prompt, "cancelled", [row])

    def _close(self, prompt: OpenPrompt) -> None:
        self._end_all(prompt, "cancelled")
        events = prompt.take_events()
        if events is not None:
            self._replies.append(events)
        self._replies.append(Closed(generation=prompt.id))
        del self._opened[prompt.id]

    def _end_all(
        self, prompt: OpenPrompt, reason: FinishReason, rows: Iterable[Row] | None = None
    ) -> None:
        """End ``rows``, by default all that are live or queued."""
        now = self._now()
        if rows is None:
            rows = [*prompt.live.values(), *prompt.queued.values()]
        for row in rows:
            if row.number is not None:
                self._runtime.cancel(row.number)
                del self._rows[row.number]
                self._freeing += 1
            prompt.end(row, reason, now)

    # --- a step ----------------------------------------------------------------------------------

    def _expire(self) -> None:
        now = self._now()
        for prompt in self._opened.values():
            if prompt.deadline_s is not None and prompt.deadline_s <= now:
                self._end_all(prompt, "deadline")

    def _admit(self) -> None:
        while len(self._rows) + self._freeing < self._max_rows:
            waiting = [p for p in self._opened.values() if p.queued and p.leader is None]
            if not waiting:
                return
            following = min(waiting, key=lambda prompt: (len(prompt.live), prompt.ticket))
            held = self._rows or self._freeing or self._readings
            if held and not self._runtime.has_room(following.prompt):
                return
            self._start(following)

    def _start(self, prompt: OpenPrompt) -> None:
        _, row = prompt.queued.popitem(last=False)
        prompt.ticket = next(self._tickets)
        number = next(self._row_numbers)
        params = row_params(prompt.request, prompt.prompt, prompt.seed, row.index)
        try:
            self._runtime.add(number, prompt.prompt, params)
        except Exception as error:  # noqa: BLE001 - whatever a runtime raises costs this row only
            prompt.fail(row, to_wire(error, "the runtime could not start the sample"))
            return
        row.number = number
        prompt.live[row.index] = row
        self._rows[number] = (prompt, row)
        if prompt.shared and not prompt.computed:
            prompt.leader = row

    def _step(self) -> None:
        try:
            steps = self._runtime.step()
        except Exception as error:  # noqa: BLE001 - the contract: whatever it is, the batch is lost
            self._lose_all(to_wire(error, "the runtime failed in a step"))
            return
        self._freeing = 0
        now = self._now()
        for step in steps:
            running = self._rows.get(step.row)
            if running is not None:
                self._collect(*running, step, now)

    def _collect(self, prompt: OpenPrompt, row: Row, step: RowStep, now: float) -> None:
        prompt.take(row, step, now)
        if step.finish is None:
            return
        del self._rows[step.row]
        if step.finish == "oom":
            error = OutOfMemory(
                f"sample {row.index} ran out of the engine's memory after {row.tokens} tokens",
                hint="raise placement.memory_bytes, or lower placement.max_sequences or max_tokens",
            )
            prompt.fail(row, to_wire(error))
        else:
            prompt.end(row, _FINISH[step.finish], now)

    def _lose_all(self, error: WireError) -> None:
        for prompt in self._opened.values():
            for row in [*prompt.live.values(), *prompt.queued.values()]:
                prompt.fail(row, error)
            prompt.lost_cache()
        self._replies += self._readings.fail_all(error)
        self._rows.clear()
        self._freeing = 0
        self._runtime.reset()
