"""Drawing samples and reading them to their ends: what every strategy does between its decisions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from tt_compute.errors import DeadlineExceeded, EngineDied, ServerError, TTComputeError
from tt_compute.strategies.base import Ended, Run
from tt_compute.types import Delta, Event, Failed, Sample
from tt_compute.verify.base import Answer, Task

__all__ = ["Collector", "finished", "spokesman"]


class Collector:
    """The samples of one run.

    A failed sample took its place in the budget: the budget counts what was drawn, so that a deployment
    where everything fails ends.

    Attributes:
        order: The indices, in the order of drawing.
        ended: What has ended, by index.
        lost: The error that ended the whole generation; None while it lives.
        late: A sample was cut by the deadline, or the backend overran it.
    """

    def __init__(self, run: Run) -> None:
        assert run.wave >= 1
        assert run.max_samples >= 1
        self._run = run
        self._live: set[int] = set()
        self._events: AsyncIterator[Event] | None = None
        self.order: list[int] = []
        self.ended: dict[int, Ended] = {}
        self.lost: TTComputeError | None = None
        self.late: bool = False

    @property
    def drawn(self) -> int:
        return len(self.order)

    @property
    def live(self) -> int:
        """Samples that were drawn and have not ended."""
        return len(self._live)

    @property
    def room(self) -> int:
        """How many more samples the wave and the budget allow now."""
        if self.lost is not None:
            return 0
        return min(self._run.wave - self.live, self._run.max_samples - self.drawn)

    def draw(self, wanted: int) -> None:
        """Draw up to ``wanted`` more samples, as far as there is room."""
        number = min(wanted, self.room)
        if number <= 0:
            return
        indices = self._run.generation.draw(number)
        self._live.update(indices)
        self.order.extend(indices)
        self._run.observer.on_drawn(indices)

    def stop(self) -> None:
        """Cancel all that is live; ``next`` still gives each of them its end."""
        if not self._live:
            return
        indices = sorted(self._live)
        self._run.observer.on_stopping(indices)
        for index in indices:
            self._run.generation.cancel(index)

    async def drain(self) -> None:
        """Cancel all that is live and read it to its end."""
        self.stop()
        while await self.next() is not None:
            pass

    async def next(self) -> Ended | None:
        """The next sample that ends; None when nothing is live, or no longer (then see ``lost``)."""
        while self._live:
            event = await self._event()
            if event is None:
                # Samples that a lost generation did not end are the dispatcher's to book.
                self._live.clear()
            elif isinstance(event, Delta):
                self._run.observer.on_delta(event)
            else:
                return self._end(event)
        return None

    def in_line(self, start: int) -> list[Ended | None]:
        """The samples drawn from the ``start``-th on, in the order of drawing; None where one is live."""
        return [self.ended.get(index) for index in self.order[start:]]

    def by_index(self) -> tuple[Ended, ...]:
        return tuple(self.ended[index] for index in sorted(self.ended))

    def warnings(self) -> tuple[str, ...]:
        """What went wrong and did not end the run."""
        errors = [one.event.error for one in self.by_index() if isinstance(one.event, Failed)]
        notes: list[str] = []
        if errors:
            notes.append(f"{len(errors)} of {self.drawn} samples failed, the first: {errors[0]}")
        if self.lost is not None:
            notes.append(f"the run could not go on: {self.lost}")
        return tuple(notes)

    def raise_if_nothing_came(self) -> None:
        """Raise the error that is the reason why there is nothing to answer with.

        Raises:
            TTComputeError: The generation was lost, or every sample failed.
        """
        if self.lost is not None:
            raise self.lost
        failures = [one.event for one in self.by_index() if isinstance(one.event, Failed)]
        if failures and len(failures) == self.drawn:
            raise failures[0].error

    async def _event(self) -> Event | None:
        if self._events is None:
            self._events = aiter(self._run.generation)
        try:
            event = await anext(self._events, None)
        except TTComputeError as error:
            self.lost = error
            self.late = self.late or isinstance(error, DeadlineExceeded)
            return None
        if event is None:
            self.lost = ServerError(
                f"the backend ended its events with {self.live} samples unended",
                hint="the backend breaks the protocol; report it to its authors",
            )
        return event

    def _end(self, event: Sample | Failed) -> Ended:
        self._live.remove(event.index)
        ended = Ended(event=event, answer=_read(self._run.task, event))
        self.ended[event.index] = ended
        if isinstance(event, Sample):
            self.late = self.late or event.finish_reason == "deadline"
        elif isinstance(event.error, EngineDied) and self.lost is None:
            # The iterator raises only after every live sample failed; a draw until then would fail too.
            self.lost = event.error
        self._run.observer.on_ended(ended)
        return ended


def finished(ended: Ended) -> bool:
    """Whether the sample came to an end of its own: neither failed nor stopped from outside."""
    event = ended.event
    return isinstance(event, Sample) and event.finish_reason not in ("cancelled", "deadline")


def spokesman(samples: Sequence[Ended]) -> Ended | None:
    """The sample whose text stands for all of them: the first that is not cut, else the first."""
    whole = (one for one in samples if not _cut(one.event))
    return next(whole, samples[0] if samples else None)


def _cut(event: Sample | Failed) -> bool:
    return isinstance(event, Failed) or event.finish_reason not in ("stop", "tool_calls")


def _read(task: Task, event: Sample | Failed) -> Answer | None:
    if isinstance(event, Failed):
        return None
    return task.extract(event.text, truncated=_cut(event))
