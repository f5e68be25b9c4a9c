"""Drawing from several prompts: what every strategy that searches does between its decisions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import anyio
import msgspec

from tt_compute.errors import DeadlineExceeded, TTComputeError, UsageError
from tt_compute.results import StopReason
from tt_compute.strategies.base import Ended, Observer, Opener, Run
from tt_compute.strategies.collecting import Collector
from tt_compute.types import Delta, Failed, Message, SamplingParams
from tt_compute.verify.base import Answer, Task

__all__ = ["Ask", "Drawer", "going_on", "opener_of"]

T = TypeVar("T")

DRAIN_S = 1.0
"""Longest wait for the ends of samples that were cancelled; a guard against a backend that never ends."""


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """Samples that are wanted of one prompt."""

    messages: tuple[Message, ...]
    number: int = 1
    rung: int = 0
    """Which of the run's deployments, as ``Opener`` counts them."""
    sampling: SamplingParams | None = None
    """None = as the plan has it for that deployment."""
    continue_assistant: bool = False
    answers: bool = True
    """Whether a sample is a whole text in which an answer can be found, not a piece of one."""


def opener_of(run: Run) -> Opener:
    """How the run opens further prompts.

    Raises:
        UsageError: It cannot.
    """
    if run.open is None:
        raise UsageError(
            "this strategy asks further prompts, and these samples belong to a single one",
            hint="recorded samples can be replayed under 'single', 'majority' and 'best_of_n'",
        )
    return run.open


def going_on(
    run: Run,
    text: str,
    *,
    number: int = 1,
    sampling: SamplingParams | None = None,
    answers: bool = False,
) -> Ask:
    """Samples that go on from ``text``, the unfinished answer to the run's prompt."""
    begun = (Message(role="assistant", content=text),) if text else ()
    return Ask(
        messages=(*run.messages, *begun),
        number=number,
        sampling=sampling,
        continue_assistant=bool(text),
        answers=answers,
    )


class Drawer:
    """All samples of a run that asks several prompts.

    The budget counts what was asked for, so that a deployment where everything fails ends. At most
    ``Run.wave`` samples are in flight at once. What fails costs no other sample.

    Attributes:
        ended: What has ended, by index.
        late: A sample was cut by the deadline.
        verifier_tokens: What judging took so far.

    Raises:
        UsageError: Nothing but the run's own prompt can be asked.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._open = opener_of(run)
        self._places = anyio.Semaphore(run.wave)
        self._observer = _Quiet(run.observer)
        self._errors: list[TTComputeError] = []
        self._notes: list[str] = []
        self._asked = 0
        self.ended: dict[int, Ended] = {}
        self.late: bool = False
        self.verifier_tokens = 0

    @property
    def left(self) -> int:
        """Samples that the budget still allows."""
        return self._run.max_samples - self._asked

    def over(self) -> StopReason | None:
        """Why nothing more can be drawn; None when something can."""
        if self.late or self._run.deadline_passed():
            return "deadline"
        return "budget" if self.left <= 0 else None

    async def draw(self, asks: Sequence[Ask]) -> list[list[Ended]]:
        """What came of each ask, in the order of drawing; less than asked at the deadline.

        Where the budget does not reach, each ask in turn is given one sample until nothing is left.
        """
        shares = _shares([ask.number for ask in asks], self.left)
        self._asked += sum(shares)
        came: list[list[Ended]] = [[] for _ in asks]
        async with anyio.create_task_group() as tasks:
            for ask, share, into in zip(asks, shares, came, strict=True):
                if share:
                    tasks.start_soon(self._serve, ask, share, into)
        return came

    def tell(self, ended: Ended) -> None:
        """Note what is known by now of a sample that had ended: its answer, its score."""
        self.ended[ended.index] = ended
        self._run.observer.on_ended(ended)

    def warn(self, note: str) -> None:
        """Say something that did not end the run; the same is said once."""
        if note not in self._notes:
            self._notes.append(note)

    def by_index(self) -> tuple[Ended, ...]:
        return tuple(self.ended[index] for index in sorted(self.ended))

    def warnings(self) -> tuple[str, ...]:
        """What went wrong and did not end the run."""
        failures = self._failures()
        notes = [f"a prompt was lost: {error}" for error in self._errors[:1]]
        if failures:
            failed = f"{len(failures)} of {len(self.ended)} samples failed"
            notes.append(f"{failed}, the first: {failures[0]}")
        return (*notes, *self._notes)

    def raise_if_nothing_came(self) -> None:
        """Raise the error that is the reason why there is nothing to answer with.

        Raises:
            TTComputeError: The first one, when every sample failed.
        """
        failures = self._failures()
        if len(failures) == len(self.ended) and (errors := [*failures, *self._errors]):
            raise errors[0]

    def _failures(self) -> list[TTComputeError]:
        return [one.event.error for one in self.by_index() if isinstance(one.event, Failed)]

    async def _serve(self, ask: Ask, share: int, into: list[Ended]) -> None:
        # Waiting in line for the first place keeps the prompts' order, and with it their seeds.
        await self._places.acquire()
        held = _Held(self._places)
        try:
            if self.over() != "deadline":
                await self._read(ask, share, into, held)
        except TTComputeError as error:
            self.late = self.late or isinstance(error, DeadlineExceeded)
            self._errors.append(error)
        finally:
            held.give_back(held.number)

    async def _read(self, ask: Ask, share: int, into: list[Ended], held: _Held) -> None:
        async with self._open(
            ask.messages,
            rung=ask.rung,
            sampling=ask.sampling,
            continue_assistant=ask.continue_assistant,
        ) as generation:
            collector = Collector(
                msgspec.structs.replace(
                    self._run,
                    generation=generation,
                    task=self._run.task if ask.answers else _Pieces(self._run.task),
                    max_samples=share,
                    wave=share,
                    observer=self._observer,
                )
            )
            try:
                await self._pump(collector, share, held)
            finally:
                # Whoever cancels the search must still find every sample ended.
                with anyio.move_on_after(DRAIN_S, shield=True):
                    await collector.drain()
                self.ended.update(collector.ended)
            into.extend(one for one in collector.in_line(0) if one is not None)
        if collector.lost is not None:
            self._errors.append(collector.lost)

    async def _pump(self, collector: Collector, share: int, held: _Held) -> None:
        """Draw the share as places come free, and read every sample to its end."""
        while True:
            if self.over() != "deadline" and collector.lost is None:
                held.take_free(share - collector.drawn - held.number + collector.live)
                collector.draw(held.number - collector.live)
            ended = await collector.next()
            self.late = self.late or collector.late
            if ended is None:
                return
            self.ended[ended.index] = ended
            needed = collector.live + share - collector.drawn
            held.give_back(held.number - max(1, needed))


class _Held:
    """The places in the wave that one prompt holds."""

    def __init__(self, places: anyio.Semaphore) -> None:
        self._places = places
        self.number = 1

    def take_free(self, wanted: int) -> None:
        """Take up to ``wanted`` more, as many as nobody holds."""
        for _ in range(min(wanted, self._places.value)):
            self._places.acquire_nowait()
            self.number += 1

    def give_back(self, number: int) -> None:
        for _ in range(number):
            self._places.release()
            self.number -= 1


class _Quiet:
    """The run's observer, spared the deltas: pieces of many texts at once are no text."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self.on_drawn = observer.on_drawn
        self.on_ended = observer.on_ended
        self.on_votes = observer.on_votes
        self.on_stopping = observer.on_stopping

    def on_delta(self, delta: Delta) -> None:
        """Show nothing."""


class _Pieces:
    """A task of which only pieces of texts are seen, which hold no answer by themselves."""

    def __init__(self, task: Task) -> None:
        self.kind = task.kind
        self.equivalent = task.equivalent

    def extract(self, text: str, *, truncated: bool) -> Answer | None:  # noqa: ARG002 - the protocol's
        return None


def _shares(numbers: Sequence[int], left: int) -> list[int]:
    """How many of ``left`` samples each gets that wants so many, told off in turn."""
    shares = [0] * len(numbers)
    left = min(left, sum(numbers))
    while left > 0:
        for place, number in enumerate(numbers):
            if left and shares[place] < number:
                shares[place] += 1
                left -= 1
    return shares
