"""What the conformance rules are run on, and what they share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, NoReturn

import msgspec

from tt_compute.backend import Backend, Generation
from tt_compute.types import (
    Capabilities,
    Clock,
    Delta,
    Event,
    Failed,
    GenerateRequest,
    Message,
    ModelInfo,
    Sample,
    SamplingParams,
)

__all__ = [
    "NATURAL",
    "NotApplicable",
    "RuleBroken",
    "Subject",
    "Tally",
    "ask",
    "broken",
    "capabilities",
    "collect",
    "model",
    "one_good_sample",
    "until_running",
]

NATURAL = frozenset({"stop", "length", "tool_calls", "content_filter"})
"""Finish reasons of a sample that nobody stopped."""


class RuleBroken(AssertionError):
    """A backend does not keep a rule of the protocol; the message says how."""


class NotApplicable(Exception):
    """The rule says nothing about this backend; the message says why."""


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """A backend under test and how to make it work.

    Its samples must take time, by the clock, or there is nothing to stop.
    """

    backend: Backend
    clock: Clock
    """The clock the backend was given."""
    prompt: tuple[Message, ...] = (
        Message(role="user", content="Write a long story about a lighthouse and the sea."),
    )
    """Its samples run to ``long_tokens`` when they may, and differ from seed to seed."""
    short_tokens: int = 4
    long_tokens: int = 48
    failing: GenerateRequest | None = None
    """A request of whose samples 0, 1, 2 some fail and some do not; None = cannot be forced."""
    lost: GenerateRequest | None = None
    """A request whose engine dies by itself within three long samples; None = see ``kill_engine``."""
    kill_engine: Callable[[], None] | None = None
    """Kills the engine under running samples; None = cannot be done."""
    cycles: int = 20
    """How often prompts are opened and left in search of leaks."""


class Tally:
    """The events of one generation, held against the grammar as they come."""

    def __init__(self) -> None:
        self.deltas: dict[int, list[Delta]] = {}
        self.ends: dict[int, Sample | Failed] = {}

    def add(self, event: Event) -> None:
        if event.index in self.ends:
            broken(f"index {event.index} had its end and then another {type(event).__name__}")
        if isinstance(event, Delta):
            self.deltas.setdefault(event.index, []).append(event)
        else:
            self.ends[event.index] = event

    def text(self, index: int) -> str:
        """All deltas of an index as one text."""
        return "".join(delta.text for delta in self.deltas.get(index, ()))

    def sample(self, index: int) -> Sample:
        """The good end of an index."""
        end = self.ends.get(index)
        if end is None:
            broken(f"index {index} was drawn and never ended")
        if isinstance(end, Failed):
            broken(f"index {index} failed: {end.error!r}")
        return end

    def samples(self, indices: Iterable[int]) -> list[Sample]:
        """The good ends of all these indices, and of no others."""
        wanted = list(indices)
        strange = sorted({*self.ends, *self.deltas} - set(wanted))
        if strange:
            broken(f"events for indices {strange}, which were never drawn")
        return [self.sample(index) for index in wanted]


def broken(message: str) -> NoReturn:
    """Report the rule as broken."""
    raise RuleBroken(message)


def ask(
    subject: Subject,
    *,
    tokens: int | None = None,
    sampling: SamplingParams | None = None,
    deltas: Literal["none", "text", "logprobs"] = "text",
    deadline: float | None = None,
) -> GenerateRequest:
    """The subject's prompt as a request, at temperature 1.

    Args:
        subject: Whose prompt.
        tokens: Most tokens of a sample; None = short samples.
        sampling: Anything else about sampling.
        deltas: Which deltas to ask for.
        deadline: On the subject's clock.
    """
    sampling = SamplingParams() if sampling is None else sampling
    return GenerateRequest(
        messages=subject.prompt,
        sampling=msgspec.structs.replace(
            sampling,
            temperature=1.0 if sampling.temperature is None else sampling.temperature,
            max_tokens=subject.short_tokens if tokens is None else tokens,
        ),
        deltas=deltas,
        deadline=deadline,
    )


async def model(subject: Subject) -> ModelInfo:
    """The model that the backend runs."""
    models = await subject.backend.models()
    if not models:
        broken("models() is empty")
    return models[0]


async def capabilities(subject: Subject) -> Capabilities:
    """What the backend says it can."""
    return (await model(subject)).capabilities


async def collect(generation: Generation, tally: Tally | None = None) -> Tally:
    """Iterate until the iteration stops."""
    tally = Tally() if tally is None else tally
    async for event in generation:
        tally.add(event)
    return tally


async def until_running(subject: Subject, generation: Generation, index: int) -> Tally:
    """Iterate until something of a sample has arrived; at once where nothing is streamed."""
    tally = Tally()
    if not (await capabilities(subject)).streaming:
        return tally
    async for event in generation:
        tally.add(event)
        if event.index == index:
            break
    return tally


async def one_good_sample(subject: Subject, after: str) -> None:
    """Check that the backend still works.

    Args:
        subject: Whose backend.
        after: What has just happened, for the message.
    """
    async with subject.backend.open(ask(subject)) as generation:
        generation.draw(1)
        tally = await collect(generation)
    if tally.sample(0).finish_reason not in NATURAL:
        broken(f"{after}, a sample ended with {tally.sample(0).finish_reason!r}")
