"""What is to be computed about texts that are there already, a pass at a time between the steps of the samples."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Generator

from tt_compute.errors import DeadlineExceeded, UnsupportedError
from tt_compute_backends.engine.messages import (
    Read,
    ReadDone,
    ReadFailed,
    Reply,
    WireError,
    to_wire,
)
from tt_compute_backends.engine.runtime import Reading, ReadingRuntime, Runtime, Vectors

__all__ = ["Readings"]


class _Job:
    def __init__(self, work: Generator[None, None, Vectors], deadline_s: float | None) -> None:
        self.work = work
        self.deadline_s = deadline_s


class Readings:
    """The texts that are being read on one runtime, in turn: each call is given one pass, then the next one.

    Args:
        runtime: With its model loaded.
        now: Monotonic seconds, on the clock that commands were stamped with.
    """

    def __init__(self, runtime: Runtime, *, now: Callable[[], float]) -> None:
        self._runtime = runtime
        self._now = now
        self._jobs: OrderedDict[int, _Job] = OrderedDict()

    def __bool__(self) -> bool:
        """Whether anything is left to do."""
        return bool(self._jobs)

    def begin(self, command: Read) -> None:
        """Queue it; whatever is wrong with it comes when its turn does."""
        left = command.seconds_left
        self._jobs[command.number] = _Job(
            self._work(command.reading), None if left is None else command.sent_s + left
        )

    def forget(self, number: int) -> None:
        """Stop it and free what it holds; unknown and finished numbers are ignored."""
        job = self._jobs.pop(number, None)
        if job is not None:
            job.work.close()

    def advance(self) -> list[Reply]:
        """End what is late, then one pass of the one whose turn it is."""
        replies = self._expire()
        if not self._jobs:
            return replies
        number, job = next(iter(self._jobs.items()))
        try:
            next(job.work)
        except StopIteration as found:
            del self._jobs[number]
            replies.append(ReadDone(number=number, rows=found.value))
        except Exception as error:  # noqa: BLE001 - whatever a runtime raises costs this call only
            del self._jobs[number]
            wire = to_wire(error, "the runtime could not read the texts")
            replies.append(ReadFailed(number=number, error=wire))
        else:
            self._jobs.move_to_end(number)
        return replies

    def fail_all(self, error: WireError) -> list[Reply]:
        """What they hold is lost."""
        numbers = list(self._jobs)
        for number in numbers:
            self.forget(number)
        return [ReadFailed(number=number, error=error) for number in numbers]

    def _expire(self) -> list[Reply]:
        now = self._now()
        late = [
            number
            for number, job in self._jobs.items()
            if job.deadline_s is not None and job.deadline_s <= now
        ]
        for number in late:
            self.forget(number)
        error = to_wire(DeadlineExceeded("the deadline passed before the texts were read"))
        return [ReadFailed(number=number, error=error) for number in late]

    def _work(self, reading: Reading) -> Generator[None, None, Vectors]:
        if not isinstance(self._runtime, ReadingRuntime):
            raise UnsupportedError("the runtime only generates")
        return (yield from self._runtime.read(reading))
