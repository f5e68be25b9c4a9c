"""Rules about what a backend says of itself and the events of its generations."""

from __future__ import annotations

import inspect

import anyio
import anyio.lowlevel

from tt_compute.errors import TTComputeError
from tt_compute.testing.subject import (
    NATURAL,
    NotApplicable,
    Subject,
    Tally,
    ask,
    broken,
    capabilities,
    collect,
)
from tt_compute.types import API_VERSION, Delta

__all__ = [
    "concurrent_generations_do_not_mix",
    "deltas_make_the_text",
    "describes_itself",
    "draw_numbers_the_samples",
    "draws_while_iterating",
    "every_sample_ends_once",
    "iteration_goes_on_after_a_break",
    "iteration_stops_and_resumes",
    "no_deltas_unless_asked",
    "open_draws_nothing",
    "queued_samples_end_too",
    "refuses_a_second_consumer",
]

ROUNDS = 4
MANY = 40
"""More samples than most engines run at once."""


async def describes_itself(subject: Subject) -> None:
    """The class states its name, version, options and probe; the models have an id and a context."""
    kind = type(subject.backend)
    if not kind.name or kind.api_version != API_VERSION:
        broken(f"name {kind.name!r}, api_version {kind.api_version!r}; expected {API_VERSION}")
    if not hasattr(kind.Options, "__struct_fields__"):
        broken(f"Options is {kind.Options!r}, not a msgspec struct")
    probe = kind.probe()
    if not probe.available:
        broken(f"it works, and its probe says it does not: {probe.reason!r}")
    if inspect.iscoroutinefunction(kind.open) or inspect.isasyncgenfunction(kind.open):
        broken("open() returns no async context manager; is @asynccontextmanager missing above it?")
    await capabilities(subject)
    for model in await subject.backend.models():
        if not model.id or (model.max_context_tokens is not None and model.max_context_tokens < 1):
            broken(f"a model has no id or no context: {model!r}")


async def open_draws_nothing(subject: Subject) -> None:
    """An open prompt without a draw gives no event and stops at once."""
    async with subject.backend.open(ask(subject)) as generation:
        tally = await collect(generation)
    if tally.ends or tally.deltas:
        broken("events came before any draw")


async def draw_numbers_the_samples(subject: Subject) -> None:
    """Draws return consecutive ranges from 0 on, and each of their indices ends."""
    async with subject.backend.open(ask(subject)) as generation:
        ranges = [generation.draw(2), generation.draw(), generation.draw(3)]
        tally = await collect(generation)
    if ranges != [range(2), range(2, 3), range(3, 6)]:
        broken(f"draw(2), draw(), draw(3) returned {ranges}")
    tally.samples(range(6))


async def every_sample_ends_once(subject: Subject) -> None:
    """Of each index come deltas, then exactly one end; nothing after it."""
    async with subject.backend.open(ask(subject, tokens=subject.long_tokens)) as generation:
        generation.draw(3)
        tally = await collect(generation)
    for sample in tally.samples(range(3)):
        if sample.finish_reason not in NATURAL:
            broken(f"index {sample.index} was not stopped and ended with {sample.finish_reason!r}")


async def iteration_stops_and_resumes(subject: Subject) -> None:
    """Iteration stops when nothing is live, and goes on after a later draw."""
    async with subject.backend.open(ask(subject)) as generation:
        generation.draw(2)
        tally = await collect(generation)
        tally.samples(range(2))
        await collect(generation, tally)
        tally.samples(range(2))
        generation.draw(1)
        await collect(generation, tally)
    tally.samples(range(3))


async def iteration_goes_on_after_a_break(subject: Subject) -> None:
    """Leaving the loop early loses nothing: the next loop goes on where it was left."""
    tally = Tally()
    async with subject.backend.open(ask(subject)) as generation:
        indices = generation.draw(3)
        while len(tally.ends) < len(indices):
            before = len(tally.ends)
            async for event in generation:
                tally.add(event)
                if not isinstance(event, Delta):
                    break
            if len(tally.ends) == before:
                broken(f"iteration stopped with only {sorted(tally.ends)} of 3 samples ended")
    for index, sample in enumerate(tally.samples(range(3))):
        if tally.deltas and tally.text(index) != sample.text:
            broken(f"index {index}: deltas {tally.text(index)!r} are not the text {sample.text!r}")


async def draws_while_iterating(subject: Subject) -> None:
    """A draw made inside the loop joins it: the loop does not stop before the new sample ended."""
    tally = Tally()
    async with subject.backend.open(ask(subject)) as generation:
        generation.draw(1)
        async for event in generation:
            tally.add(event)
            if not isinstance(event, Delta) and event.index + 1 < ROUNDS:
                generation.draw(1)
    tally.samples(range(ROUNDS))


async def deltas_make_the_text(subject: Subject) -> None:
    """With ``streaming``, the deltas of an index join to the text of its sample, in several pieces."""
    if not (await capabilities(subject)).streaming:
        raise NotApplicable("streaming is not claimed")
    async with subject.backend.open(ask(subject, tokens=subject.long_tokens)) as generation:
        generation.draw(3)
        tally = await collect(generation)
    for sample in tally.samples(range(3)):
        streamed = tally.text(sample.index)
        if streamed != sample.text:
            broken(f"index {sample.index}: deltas {streamed!r} are not the text {sample.text!r}")
    if all(len(deltas) == 1 for deltas in tally.deltas.values()):
        broken("streaming is claimed, and each sample came in one piece")


async def no_deltas_unless_asked(subject: Subject) -> None:
    """``deltas='none'`` makes no deltas."""
    async with subject.backend.open(ask(subject, deltas="none")) as generation:
        generation.draw(2)
        tally = await collect(generation)
    if tally.deltas:
        broken(f"{sum(map(len, tally.deltas.values()))} deltas came with deltas='none'")
    tally.samples(range(2))


async def refuses_a_second_consumer(subject: Subject) -> None:
    """A second task that iterates at the same time gets an error; the first one is not disturbed."""
    tally = Tally()
    async with subject.backend.open(ask(subject, tokens=subject.long_tokens)) as generation:
        indices = generation.draw(2)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(collect, generation, tally)
            await anyio.lowlevel.checkpoint()
            if len(tally.ends) == len(indices):
                raise NotApplicable("the samples end before a second consumer could come")
            try:
                await anext(aiter(generation))
            except (TTComputeError, RuntimeError):
                pass
            except StopAsyncIteration:
                broken("a second consumer was told that nothing is live")
            else:
                broken("a second consumer was served")
    tally.samples(range(2))


async def concurrent_generations_do_not_mix(subject: Subject) -> None:
    """Several prompts open at once each get their own samples, all of them."""
    tallies = [Tally() for _ in range(4)]

    async def run(number: int) -> None:
        request = ask(subject, tokens=subject.short_tokens + number)
        async with subject.backend.open(request) as generation:
            generation.draw(number + 1)
            await collect(generation, tallies[number])

    async with anyio.create_task_group() as tasks:
        for number in range(4):
            tasks.start_soon(run, number)
    for number, tally in enumerate(tallies):
        for sample in tally.samples(range(number + 1)):
            if sample.usage.output_tokens > subject.short_tokens + number:
                broken(f"generation {number} got a sample of {sample.usage.output_tokens} tokens")


async def queued_samples_end_too(subject: Subject) -> None:
    """Samples beyond what the engine runs at once wait and then end like the others."""
    async with subject.backend.open(ask(subject, deltas="none")) as generation:
        generation.draw(MANY)
        tally = await collect(generation)
    tally.samples(range(MANY))
