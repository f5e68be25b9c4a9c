"""A run seen from outside: what has ended, who leads, what is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tt_compute.planning.types import Candidate
from tt_compute.results import Progress, Revision, SampleRecord, TextDelta
from tt_compute.strategies.base import Ended, Outcome
from tt_compute.strategies.collecting import finished, spokesman
from tt_compute.types import Delta, Failed

__all__ = ["SHOW_AT", "StreamEvent", "Watch"]

SHOW_AT = 0.9
"""Where a stop rule stops at 0.95, what is shown from here on seldom has to be taken back."""

StreamEvent = TextDelta | Revision | Progress


class Watch:
    """The strategy's observer: keeps the records and tells whoever looks on.

    Args:
        chosen: The plan's.
        served_by: Deployment of each sample that ended.
        emit: Told of events; None = nobody looks on.
        show_at: Posterior from which the text of a vote's leader is shown; None = none is before the end.
    """

    def __init__(
        self,
        chosen: Candidate,
        served_by: Mapping[int, str],
        emit: Callable[[StreamEvent], None] | None,
        *,
        show_at: float | None = None,
    ) -> None:
        self._chosen = chosen
        self._served_by = served_by
        self._emit = emit
        self._show_at = show_at
        self._drawn = 0
        self._ended: dict[int, Ended] = {}
        self._records: dict[int, SampleRecord] = {}
        self._votes: tuple[tuple[str, int], ...] = ()
        self._posterior: float | None = None
        self._stopped: tuple[int, ...] = ()
        self._shown = ""

    def records(self) -> tuple[SampleRecord, ...]:
        return tuple(self._records[index] for index in sorted(self._records))

    def outcome(self) -> Outcome:
        """What a strategy that had to stop now would find, as far as its votes and its samples' scores tell."""
        ended = tuple(self._ended[index] for index in sorted(self._ended))
        best = _leader(ended, self._votes)
        return Outcome(
            answer=None if best is None else best.answer,
            text="" if best is None else best.event.text,
            winner=None if best is None else best.index,
            stop_reason="interrupted",
            stop_posterior=self._posterior,
            ended=ended,
            votes=self._votes,
        )

    def on_planned(self) -> None:
        self._progress()

    def on_delta(self, delta: Delta) -> None:
        if self._emit is None:
            return
        if delta.restart:
            self._shown = delta.text
            self._emit(Revision(text=delta.text))
        elif delta.text:
            self._shown += delta.text
            self._emit(TextDelta(text=delta.text))

    def on_drawn(self, indices: range) -> None:
        self._drawn += len(indices)
        self._progress()

    def on_ended(self, ended: Ended) -> None:
        served_by = self._served_by.get(ended.index, self._chosen.deployment)
        self._ended[ended.index] = ended
        self._records[ended.index] = _record(ended, served_by)
        self._progress()

    def on_votes(self, votes: Sequence[tuple[str, int]], posterior: float | None) -> None:
        self._votes = tuple(votes)
        self._posterior = posterior
        self._progress()
        if self._show_at is not None and posterior is not None and posterior >= self._show_at:
            self.show(self.outcome().text)

    def on_stopping(self, indices: Sequence[int]) -> None:
        self._stopped = (*self._stopped, *indices)
        self._progress()

    def show(self, text: str) -> None:
        """Make the text that was shown equal to this one."""
        if self._emit is None or text == self._shown:
            return
        if text.startswith(self._shown):
            self._emit(TextDelta(text=text[len(self._shown) :]))
        else:
            self._emit(Revision(text=text))
        self._shown = text

    def _progress(self) -> None:
        if self._emit is None:
            return
        self._emit(
            Progress(
                plan=self._chosen,
                drawn=self._drawn,
                live=self._drawn - len(self._ended),
                finished=tuple(self._records.values()),
                votes=self._votes,
                posterior=self._posterior,
                stopped=self._stopped,
            )
        )


def _leader(ended: Sequence[Ended], votes: Sequence[tuple[str, int]]) -> Ended | None:
    """Who stands for the vote, else the sample with the highest score, else the first with an answer."""
    if votes:
        voters = [one for one in ended if one.answer is not None and one.answer.text == votes[0][0]]
        return spokesman(voters)
    whole = [one for one in ended if finished(one)]
    scored = [one for one in whole if one.score is not None]
    if scored:
        return max(scored, key=lambda one: (one.score or 0.0, -one.index))
    return spokesman([one for one in whole if one.answer is not None] or whole)


def _record(ended: Ended, deployment: str) -> SampleRecord:
    event = ended.event
    sample = None if isinstance(event, Failed) else event
    return SampleRecord(
        index=event.index,
        deployment=deployment,
        answer=None if ended.answer is None else ended.answer.text,
        text=event.text,
        finish_reason=None if sample is None else sample.finish_reason,
        output_tokens=event.usage.output_tokens,
        mean_logprob=None if sample is None else sample.mean_logprob,
        score=ended.score,
    )
