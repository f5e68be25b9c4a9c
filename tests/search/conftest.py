"""A talkative model: what it says is a function of what it was asked, so that a search can be scripted."""

from __future__ import annotations

import random
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import pytest

from tt_compute.errors import BackendError, TTComputeError
from tt_compute.profiles.schema import TaskKind
from tt_compute.strategies.base import Ended, Outcome, Run, Strategy
from tt_compute.types import (
    Delta,
    Deltas,
    Event,
    Failed,
    FinishReason,
    Message,
    Sample,
    SamplingParams,
    TokenLogprob,
    Usage,
)
from tt_compute.verify.base import Verifier
from tt_compute.verify.tasks import get_task

QUESTION = "What is 6 times 7?"


class Asked:
    """One prompt that was opened."""

    def __init__(
        self,
        messages: tuple[Message, ...],
        sampling: SamplingParams,
        *,
        rung: int = 0,
        goes_on: bool,
    ) -> None:
        self.messages = messages
        self.sampling = sampling
        self.rung = rung
        self.goes_on = goes_on

    @property
    def begun(self) -> str:
        """What the samples go on from."""
        return self.messages[-1].text if self.goes_on else ""

    @property
    def last(self) -> str:
        return self.messages[-1].text


Line = str | BackendError | tuple[str, FinishReason]
"""What a sample says, how it fails, or what it says and how it ends."""
Says = Callable[[Asked, int], Line]
"""Called with the prompt and which of its samples this is."""


class Model:
    """Opens prompts, ends one sample per event in the order of drawing, and keeps account.

    Args:
        says: What each sample is.
        logprob: Of every token; None = the backend tells none.
        spells_stop: The tokens of a stop string are among a sample's.
        deadline_after: Ends after which the deadline has passed.
        refuses: The error with which a prompt is refused, if it is.
    """

    def __init__(
        self,
        says: Says,
        *,
        logprob: Callable[[str], float] | None = None,
        spells_stop: bool = True,
        deadline_after: int | None = None,
        refuses: Callable[[Asked], TTComputeError | None] = lambda _: None,
    ) -> None:
        self.says = says
        self.logprob = logprob
        self.spells_stop = spells_stop
        self.deadline_after = deadline_after
        self.refuses = refuses
        self.asked: list[Asked] = []
        self.sampling = SamplingParams(temperature=0.8, max_tokens=100, seed=7)
        self.drawn = 0
        self.live = 0
        self.most_live = 0
        self.open_now = 0
        self.ends = 0
        self.interrupted = False

    def deadline_passed(self) -> bool:
        late = self.deadline_after is not None and self.ends >= self.deadline_after
        return late or self.interrupted

    async def until_deadline(self) -> None:
        while not self.deadline_passed():  # noqa: ASYNC110 - what it waits for tells nobody
            await anyio.sleep(0.001)

    @asynccontextmanager
    async def open(
        self,
        messages: tuple[Message, ...],
        *,
        rung: int = 0,
        sampling: SamplingParams | None = None,
        continue_assistant: bool = False,
        deltas: Deltas = "none",
    ) -> AsyncGenerator[Talk, None]:
        asked = Asked(messages, sampling or self.sampling, rung=rung, goes_on=continue_assistant)
        self.asked.append(asked)
        refusal = self.refuses(asked)
        if refusal is not None:
            raise refusal
        self.open_now += 1
        talk = Talk(self, asked, deltas)
        try:
            yield talk
        finally:
            self.open_now -= 1
            self.live -= len(talk.live)


class Talk:
    """One open prompt."""

    def __init__(self, model: Model, asked: Asked, deltas: Deltas) -> None:
        self.model = model
        self.asked = asked
        self.deltas = deltas
        self.numbers: list[int] = []
        self.live: list[int] = []
        self.cancelled: set[int] = set()

    def draw(self, n: int = 1) -> range:
        model = self.model
        indices = range(model.drawn, model.drawn + n)
        model.drawn += n
        model.live += n
        model.most_live = max(model.most_live, model.live)
        self.numbers.extend(indices)
        self.live.extend(indices)
        return indices

    def cancel(self, index: int | None = None) -> None:
        self.cancelled.update(self.live if index is None else {index} & set(self.live))

    async def __aiter__(self) -> AsyncIterator[Event]:
        while self.live:
            await anyio.lowlevel.checkpoint()
            index = self.live[0]
            event = self._end(index)
            if self.deltas == "logprobs" and isinstance(event, Sample):
                for token in event.logprobs:
                    yield Delta(index=index, text=token.token, logprobs=(token,))
                    if index in self.cancelled:
                        event = self._cut(event)
                        break
            self.live.remove(index)
            self.model.live -= 1
            self.model.ends += 1
            yield event

    def _end(self, index: int) -> Sample | Failed:
        line = self.model.says(self.asked, self.numbers.index(index))
        if isinstance(line, BackendError):
            return Failed(index=index, error=line)
        text, reason = line if isinstance(line, tuple) else (line, "stop")
        if index in self.cancelled:
            reason = "cancelled"
        elif self.model.deadline_passed():
            reason = "deadline"
        shown, spelt = text, text
        for stop in self.asked.sampling.stop:
            if stop in text:
                shown = text[: text.index(stop)]
                spelt = shown + stop if self.model.spells_stop else shown
        return Sample(
            index=index,
            text=shown,
            finish_reason=reason,
            usage=Usage(output_tokens=len(spelt)),
            logprobs=self._logprobs(spelt, ended=spelt == text),
        )

    def _logprobs(self, text: str, *, ended: bool) -> tuple[TokenLogprob, ...]:
        """One per word or sign, and one of the token that ends a text."""
        if self.model.logprob is None:
            return ()
        logprob = self.model.logprob(text)
        tokens = re.findall(r"\w+|\s+|[^\w\s]", text)
        told = [TokenLogprob(token=token, logprob=logprob) for token in tokens]
        end = [TokenLogprob(token="<end>", logprob=0.0)] if ended else []
        return (*told, *end)

    @staticmethod
    def _cut(event: Sample) -> Sample:
        return Sample(
            index=event.index,
            text=event.text[:1],
            finish_reason="cancelled",
            usage=Usage(output_tokens=1),
        )


class Notes:
    """An observer that writes down which samples were drawn and ended."""

    def __init__(self) -> None:
        self.drawn: list[int] = []
        self.ended: dict[int, Ended] = {}
        self.deltas: list[Delta] = []
        self.stopping: list[int] = []

    def on_delta(self, delta: Delta) -> None:
        self.deltas.append(delta)

    def on_drawn(self, indices: range) -> None:
        self.drawn.extend(indices)

    def on_ended(self, ended: Ended) -> None:
        self.ended[ended.index] = ended

    def on_votes(self, votes: Sequence[tuple[str, int]], posterior: float | None) -> None:
        pass

    def on_stopping(self, indices: Sequence[int]) -> None:
        self.stopping.extend(indices)


class Played:
    """What came of a run."""

    def __init__(self, outcome: Outcome, model: Model, notes: Notes) -> None:
        self.outcome = outcome
        self.model = model
        self.notes = notes
        self.answer = None if outcome.answer is None else outcome.answer.text
        self.texts = [one.event.text for one in outcome.ended]


async def _play(
    strategy: Strategy,
    model: Model,
    *,
    max_samples: int = 16,
    wave: int = 4,
    verifier: Verifier | None = None,
    task: TaskKind = "math",
    messages: tuple[Message, ...] = (Message(role="user", content=QUESTION),),
    before: Callable[[], Awaitable[None]] | None = None,
) -> Played:
    """Run the strategy, and see that it left nothing live and lost no sample."""
    notes = Notes()
    async with model.open(messages) as generation:
        model.asked.clear()
        outcome = await strategy.run(
            Run(
                generation=generation,
                messages=messages,
                task=get_task(task, messages),
                max_samples=max_samples,
                wave=wave,
                stop_rule=None,
                verifier=verifier,
                rng=random.Random(0),
                observer=notes,
                deadline_passed=model.deadline_passed,
                until_deadline=model.until_deadline,
                sampling=model.sampling,
                open=model.open,
            )
        )
    assert (model.live, model.open_now) == (0, 0)
    assert model.most_live <= wave
    assert model.drawn <= max_samples
    assert [one.index for one in outcome.ended] == list(range(model.drawn))
    assert sorted(notes.drawn) == sorted(notes.ended) == list(range(model.drawn))
    assert [notes.ended[one.index] for one in outcome.ended] == list(outcome.ended)
    return Played(outcome, model, notes)


@pytest.fixture(scope="session")
def talk() -> type[Model]:
    """Makes a model: ``talk(lambda asked, number: "The answer is 42.")``."""
    return Model


@pytest.fixture(scope="session")
def play() -> Callable[..., Awaitable[Played]]:
    """How a strategy is run on such a model."""
    return _play
