"""A recorded question as a live prompt: samples end when their tokens are decoded, in virtual time.

Time is counted in decode steps: every sample in flight makes one token per step, as rows of one batch do. So the
order of events is the same on every deployment, and what a step takes in seconds is put to it afterwards.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence

import anyio.lowlevel

from tt_compute.replay.recording import Recording
from tt_compute.types import Event, Sample, TokenLogprob, Usage

__all__ = ["RecordedGeneration"]

_UNIT_STEPS = 1
"""Of a sample whose tokens were not recorded; all are equally long then."""


class _Row:
    def __init__(self, place: int, started: int, ends: int, depth: int) -> None:
        self.place = place
        self.started = started
        self.ends = ends
        self.depth = depth


class RecordedGeneration:
    """Satisfies ``tt_compute.backend.Generation``.

    A sample's text is its place in the recording, since only the answers were kept: ``RecordedTask`` reads it.

    Args:
        recording: The question.
        order: Places of its samples, in the order in which they are to be drawn.

    Attributes:
        steps: Decode steps so far.
        widths: How many of them were made with so many samples in flight. The first of a wave, begun with
            none in flight, is left out, because it is the prompt's.
        waves: Samples that followed one upon the other, in the longest such row.
    """

    def __init__(self, recording: Recording, order: Sequence[int]) -> None:
        self._recording = recording
        self._order = order
        self._drawn = 0
        self._live: dict[int, _Row] = {}
        self._events: deque[Event] = deque()
        self._depth_told = 0
        self._depths: dict[int, int] = {}
        self._fresh = False
        self.steps: int = 0
        self.widths: defaultdict[int, int] = defaultdict(int)
        self.waves: int = 0

    def draw(self, n: int = 1) -> range:
        """Put the next ``n`` recorded samples in flight; there must be as many."""
        indices = range(self._drawn, self._drawn + n)
        assert indices.stop <= len(self._order), "a strategy drew more than its budget"
        if not self._live and n:
            self._fresh = True
        depth = self._depth_told + 1
        for index in indices:
            place = self._order[index]
            self._live[index] = _Row(place, self.steps, self.steps + self._length(place), depth)
        self._drawn += n
        self.waves = max(self.waves, depth)
        return indices

    def cancel(self, index: int | None = None) -> None:
        """Cut samples at the tokens decoded so far."""
        for one in [one for one in self._live if index in (None, one)]:
            row = self._live.pop(one)
            usage = Usage(output_tokens=self.steps - row.started)
            self._events.append(Sample(index=one, text="", finish_reason="cancelled", usage=usage))

    def __aiter__(self) -> RecordedGeneration:
        return self

    async def __anext__(self) -> Event:
        if not self._events:
            # A strategy's other tasks, such as a judgement, are done at this moment, before time moves on.
            await anyio.lowlevel.checkpoint()
        if not self._events:
            self._advance()
        event = self._events.popleft()
        self._depth_told = max(self._depth_told, self._depths.get(event.index, 0))
        return event

    def _advance(self) -> None:
        """Move on to the next end; all samples that end in this step end before anything can stop them."""
        if not self._live:
            raise StopAsyncIteration
        then = min(row.ends for row in self._live.values())
        passed = then - self.steps
        self.widths[len(self._live)] += passed - (self._fresh and passed > 0)
        self._fresh = self._fresh and not passed
        self.steps = then
        for index in [index for index, row in self._live.items() if row.ends == then]:
            row = self._live.pop(index)
            self._depths[index] = row.depth
            self._events.append(self._sample(index, row))

    def _sample(self, index: int, row: _Row) -> Sample:
        tokens, logprob = self._recording.tokens, self._recording.logprob
        return Sample(
            index=index,
            text=str(row.place),
            finish_reason="stop",
            usage=Usage(output_tokens=0 if tokens is None else tokens[row.place]),
            logprobs=()
            if logprob is None
            else (TokenLogprob(token="", logprob=logprob[row.place]),),
        )

    def _length(self, place: int) -> int:
        tokens = self._recording.tokens
        return _UNIT_STEPS if tokens is None else tokens[place]
