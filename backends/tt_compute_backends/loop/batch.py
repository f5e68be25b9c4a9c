"""The rows that run next to each other on one model, and the memory they may take."""

from __future__ import annotations

from typing import Generic

import msgspec

from tt_compute.errors import OutOfMemory
from tt_compute_backends.engine.runtime import RowStep
from tt_compute_backends.loop.forward import CacheT, Forward
from tt_compute_backends.loop.prompts import PromptCache
from tt_compute_backends.loop.rows import LoopRow
from tt_compute_backends.loop.slots import Slots

__all__ = ["Batch", "Memory"]


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """What a batch may take."""

    max_rows: int
    max_tokens: int
    """Of one row, prompt and completion."""
    budget_bytes: int
    """Of all caches together."""
    piece_tokens: int
    """Most tokens of a prompt between two tokens of the running rows."""
    share_beginnings: bool

    @property
    def keep_bytes(self) -> int:
        """Kept though nobody uses it now: by the prompts, and as much by the rows."""
        return self.budget_bytes // 8


class Batch(Generic[CacheT]):
    """Rows on a model.

    A row first waits for its prompt, which is computed once, in pieces between the steps of the others; then
    it gets a slot with a copy of the prompt, and a token in each step.

    Args:
        forward: The model.
        memory: Its limits.
    """

    def __init__(self, forward: Forward[CacheT], memory: Memory) -> None:
        self._forward = forward
        self._memory = memory
        self.prompts = PromptCache(
            forward,
            piece_tokens=memory.piece_tokens,
            keep_bytes=memory.keep_bytes,
            share_beginnings=memory.share_beginnings,
        )
        self._slots = Slots(
            forward,
            max_rows=memory.max_rows,
            max_tokens=memory.max_tokens,
            keep_bytes=memory.keep_bytes,
        )
        self._waiting: list[LoopRow[CacheT]] = []
        self._live: list[LoopRow[CacheT]] = []
        """By slot."""

    @property
    def live_bytes(self) -> int:
        """Held by rows or soon needed by those that wait; what is kept without any is given up when it is needed."""
        if not (self._live or self._waiting):
            return 0
        rows = self._rows()
        slots = self._slots.bytes_for(len(rows), max(map(self._needed_tokens, rows)))
        return self.prompts.used_bytes + max(slots, self._slots.bytes)

    def has_room(self, token_ids: tuple[int, ...], claimed_bytes: int = 0) -> bool:
        """Whether one more row of this prompt fits beside those that are here and what others claim."""
        rows = len(self._live) + len(self._waiting) + 1
        tokens = max([len(token_ids) + 1, *(self._needed_tokens(row) for row in self._rows())])
        prompts = self.prompts.used_bytes
        if not self.prompts.holds(token_ids):
            prompts += len(token_ids) * self._forward.kv_bytes_per_token
        needed = prompts + self._slots.bytes_for(rows, tokens)
        return needed + claimed_bytes <= self._memory.budget_bytes

    def add(self, row: LoopRow[CacheT]) -> None:
        """Take a row whose prompt has been entered for it."""
        self._waiting.append(row)

    def remove(self, number: int) -> None:
        """Forget a row; numbers that are not here are ignored."""
        for row in self._waiting:
            if row.number == number:
                self._waiting.remove(row)
                self.prompts.leave(row.prompt)
                return
        for row in self._live:
            if row.number == number:
                self._leave(row)
                return

    def step(self) -> list[RowStep]:
        """A token for every live row, a piece of a prompt, and the first token of rows whose prompt is done.

        A row that the memory has no place for ends with ``oom``, the newest first.
        """
        steps: list[RowStep] = []
        self._decode(steps)
        self._compute_prompts(steps)
        self._start_rows(steps)
        self._slots.shrink([row.past_tokens for row in self._live])
        return steps

    def clear(self) -> None:
        """Drop all rows, prompts and caches."""
        self._waiting.clear()
        self._live.clear()
        self.prompts.clear()
        self._slots.clear()

    # --- parts of a step -------------------------------------------------------------------------

    def _decode(self, steps: list[RowStep]) -> None:
        while self._live:
            try:
                self._reserve(len(self._live), max(row.past_tokens for row in self._live) + 1)
                logits = self._forward.decode(
                    self._slots.cache,
                    [row.last_token for row in self._live],
                    [row.past_tokens for row in self._live],
                )
            except self._short:
                self._shed(steps)
                continue
            rows = list(self._live)
            for row in rows:
                row.past_tokens += 1
            for row, row_logits in zip(rows, logits, strict=True):
                self._take(row, row.take(row_logits), steps)
            return

    def _compute_prompts(self, steps: list[RowStep]) -> None:
        try:
            self.prompts.advance()
        except self._short:
            self._shed(steps)

    def _start_rows(self, steps: list[RowStep]) -> None:
        for row in [row for row in self._waiting if row.prompt.finished]:
            tokens = len(row.prompt.token_ids)
            longest = max([tokens, *(other.past_tokens for other in self._live)])
            try:
                self._reserve(len(self._live) + 1, longest + 1)
            except self._short:
                self._shed(steps)
                return
            slot = len(self._live)
            self._forward.copy_row(row.prompt.cache, 0, self._slots.cache, slot, tokens)
            row.past_tokens = tokens
            self._waiting.remove(row)
            self._live.append(row)
            assert row.prompt.logits is not None, "the prompt is finished"
            self._take(row, row.take(row.prompt.logits.copy()), steps)

    def _take(self, row: LoopRow[CacheT], step: RowStep, steps: list[RowStep]) -> None:
        steps.append(step)
        if step.finish is not None:
            self._leave(row)

    # --- memory ----------------------------------------------------------------------------------

    @property
    def _short(self) -> tuple[type[BaseException], ...]:
        return (OutOfMemory, *self._forward.out_of_memory)

    def _reserve(self, rows: int, tokens: int) -> None:
        """Make room in the slots, within the budget.

        Raises:
            OutOfMemory: The budget does not hold it.
            one of the forward's ``out_of_memory``
        """
        wanted = max(self._slots.bytes, self._slots.bytes_for(rows, tokens))
        left = self._memory.budget_bytes - wanted
        if left < self.prompts.used_bytes:
            raise OutOfMemory(f"{rows} rows of {tokens} tokens exceed the memory of the engine")
        self.prompts.trim(left - self.prompts.used_bytes)
        self._slots.reserve([row.past_tokens for row in self._live], rows, tokens)

    def _shed(self, steps: list[RowStep]) -> None:
        """End the newest row, so that the others fit."""
        row = max(self._rows(), key=lambda row: row.number)
        steps.append(RowStep(row=row.number, finish="oom"))
        self.prompts.trim(0)
        self.remove(row.number)

    def _leave(self, row: LoopRow[CacheT]) -> None:
        slot = self._live.index(row)
        self._slots.leave(slot, [other.past_tokens for other in self._live])
        self._live[slot] = self._live[-1]
        self._live.pop()
        self.prompts.leave(row.prompt)

    def _rows(self) -> list[LoopRow[CacheT]]:
        return [*self._live, *self._waiting]

    def _needed_tokens(self, row: LoopRow[CacheT]) -> int:
        return max(row.past_tokens, len(row.prompt.token_ids)) + 1
