"""Rules about ends from outside: cancel, deadline, leaving the scope."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager

import anyio

from tt_compute.backend import Generation
from tt_compute.testing.subject import (
    NATURAL,
    NotApplicable,
    Subject,
    Tally,
    ask,
    broken,
    capabilities,
    collect,
    one_good_sample,
    until_running,
)
from tt_compute.types import GenerationClosed, Sample, SamplingParams

__all__ = [
    "a_cancelled_consumer_harms_nothing",
    "a_passed_deadline_ends_every_sample",
    "cancel_all_ends_every_sample",
    "cancel_before_the_start_costs_nothing",
    "cancel_is_idempotent",
    "cancel_keeps_the_partial_text",
    "cancel_spares_the_others",
    "deadline_ends_every_live_sample",
    "errors_leave_the_scope_unchanged",
    "leaving_the_scope_ends_everything",
    "nothing_is_drawn_after_the_scope",
]

ATTEMPTS = 3
"""A sample may end by itself before a cancel takes effect; not every time."""


async def cancel_spares_the_others(subject: Subject) -> None:
    """``cancel(index)`` ends that sample, with ``cancelled``, and no other."""
    if (await capabilities(subject)).cancel != "sample":
        raise NotApplicable("the cancelling of single samples is not claimed")
    reason = ""
    for _ in range(ATTEMPTS):
        async with _three_long_samples(subject) as generation:
            tally = await until_running(subject, generation, 1)
            generation.cancel(1)
            await collect(generation, tally)
        samples = tally.samples(range(3))
        for index in (0, 2):
            if samples[index].finish_reason not in NATURAL:
                broken(f"cancel(1) ended index {index} with {samples[index].finish_reason!r}")
        reason = samples[1].finish_reason
        if reason == "cancelled":
            return
    broken(f"a sample that was cancelled mid-way ended with {reason!r}")


async def cancel_all_ends_every_sample(subject: Subject) -> None:
    """``cancel()`` ends every sample; later draws go on as before."""
    for _ in range(ATTEMPTS):
        async with _three_long_samples(subject) as generation:
            tally = await until_running(subject, generation, 0)
            generation.cancel()
            await collect(generation, tally)
            samples = tally.samples(range(3))
            generation.draw(1)
            await collect(generation, tally)
        if tally.sample(3).finish_reason not in NATURAL:
            broken(f"a sample drawn after cancel() ended with {tally.sample(3).finish_reason!r}")
        _only(samples, {"cancelled", *NATURAL})
        if any(sample.finish_reason == "cancelled" for sample in samples):
            return
    if (await capabilities(subject)).cancel != "none":
        broken("cancel() ended no sample")


async def cancel_is_idempotent(subject: Subject) -> None:
    """Cancelling twice, an unknown index or a finished sample does nothing more."""
    async with subject.backend.open(ask(subject)) as generation:
        generation.cancel(0)
        generation.draw(1)
        tally = await collect(generation)
        finished = tally.sample(0)
        for index in (0, 0, 7, -1):
            generation.cancel(index)
        generation.draw(2)
        generation.cancel(2)
        generation.cancel(2)
        await collect(generation, tally)
        generation.cancel(1)
        generation.cancel()
        await collect(generation, tally)
    if finished.finish_reason not in NATURAL:
        broken(f"cancel(0) before the draw of index 0 ended it with {finished.finish_reason!r}")
    if tally.samples(range(3))[1].finish_reason not in NATURAL:
        broken("cancelling indices 0, 2, 7 and -1 ended index 1")


async def cancel_before_the_start_costs_nothing(subject: Subject) -> None:
    """A sample cancelled before it started is empty with 0 output tokens; its index still ends."""
    async with _three_long_samples(subject) as generation:
        generation.cancel(1)
        generation.cancel(2)
        tally = await collect(generation)
    samples = tally.samples(range(3))
    if samples[0].finish_reason not in NATURAL:
        broken(f"index 0 was not cancelled and ended with {samples[0].finish_reason!r}")
    _only(samples[1:], {"cancelled", *NATURAL})
    for sample in samples[1:]:
        if sample.text and not sample.usage.output_tokens:
            broken(f"index {sample.index} has a text and 0 output tokens")


async def cancel_keeps_the_partial_text(subject: Subject) -> None:
    """A cancelled sample holds all that was streamed of it, and its tokens are counted."""
    async with _three_long_samples(subject) as generation:
        tally = await until_running(subject, generation, 0)
        generation.cancel()
        await collect(generation, tally)
    for sample in tally.samples(range(3)):
        _check_partial(tally, sample)


async def a_passed_deadline_ends_every_sample(subject: Subject) -> None:
    """With a deadline that has passed, every sample ends with ``deadline`` and made nothing."""
    request = ask(subject, tokens=subject.long_tokens, deadline=subject.clock.now() - 1.0)
    async with subject.backend.open(request) as generation:
        generation.draw(2)
        tally = await collect(generation)
        generation.draw(1)
        await collect(generation, tally)
    for sample in tally.samples(range(3)):
        if sample.finish_reason != "deadline":
            broken(f"index {sample.index} ended with {sample.finish_reason!r}")


async def deadline_ends_every_live_sample(subject: Subject) -> None:
    """At the deadline every live sample ends with ``deadline`` and keeps what it has."""
    sampling = SamplingParams(seed=5)
    started = 0.0
    async with subject.backend.open(
        ask(subject, tokens=subject.long_tokens, sampling=sampling)
    ) as generation:
        started = subject.clock.now()
        generation.draw(3)
        (await collect(generation)).samples(range(3))
        took_s = subject.clock.now() - started
    request = ask(
        subject,
        tokens=subject.long_tokens,
        sampling=sampling,
        deadline=subject.clock.now() + took_s / 3,
    )
    async with subject.backend.open(request) as generation:
        generation.draw(3)
        tally = await collect(generation)
    samples = tally.samples(range(3))
    _only(samples, {"deadline", *NATURAL})
    if all(sample.finish_reason != "deadline" for sample in samples):
        broken(f"three samples that take {took_s:.3f} s ended by themselves in a third of it")
    for sample in samples:
        _check_partial(tally, sample)


async def leaving_the_scope_ends_everything(subject: Subject) -> None:
    """Leaving stops what runs; the ends that it caused can still be read, then the iteration stops."""
    for _ in range(ATTEMPTS):
        async with _three_long_samples(subject) as generation:
            tally = await until_running(subject, generation, 0)
        await collect(generation, tally)
        samples = tally.samples(range(3))
        _only(samples, {"cancelled", *NATURAL})
        for sample in samples:
            _check_partial(tally, sample)
        await collect(generation, tally)
        if any(sample.finish_reason == "cancelled" for sample in samples):
            return
    if (await capabilities(subject)).cancel != "none":
        broken("the scope was left, and every sample ran to its end all the same")


async def nothing_is_drawn_after_the_scope(subject: Subject) -> None:
    """``draw`` after the scope raises ``GenerationClosed``; ``cancel`` does nothing."""
    async with subject.backend.open(ask(subject)) as generation:
        generation.draw(1)
        (await collect(generation)).sample(0)
    generation.cancel(0)
    generation.cancel()
    try:
        generation.draw(1)
    except GenerationClosed:
        return
    broken("draw() after the scope was accepted")


async def errors_leave_the_scope_unchanged(subject: Subject) -> None:
    """An exception in the scope comes out of it as it is, and everything is freed."""
    raised = ValueError("raised inside the scope")
    try:
        async with _three_long_samples(subject) as generation:
            await until_running(subject, generation, 0)
            raise raised
    except ValueError as exc:
        if exc is not raised:
            broken(f"the caller's exception became {exc!r}")
    except ExceptionGroup as exc:
        broken(f"the caller's exception came out wrapped: {exc!r}")
    await one_good_sample(subject, "after an exception in another scope")


async def a_cancelled_consumer_harms_nothing(subject: Subject) -> None:
    """A consumer that is cancelled while it waits loses no sample; the next consumer goes on."""
    tally = Tally()
    async with _three_long_samples(subject) as generation:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(collect, generation, tally)
            await anyio.lowlevel.checkpoint()
            await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        await collect(generation, tally)
    for sample in tally.samples(range(3)):
        if sample.finish_reason not in NATURAL:
            broken(f"cancelling the consumer ended index {sample.index} {sample.finish_reason!r}")
        _check_partial(tally, sample)
    await one_good_sample(subject, "after a cancelled consumer")


@asynccontextmanager
async def _three_long_samples(subject: Subject) -> AsyncGenerator[Generation, None]:
    async with subject.backend.open(ask(subject, tokens=subject.long_tokens)) as generation:
        generation.draw(3)
        yield generation


def _only(samples: Iterable[Sample], reasons: Iterable[str]) -> None:
    allowed = set(reasons)
    for sample in samples:
        if sample.finish_reason not in allowed:
            broken(f"index {sample.index} ended with {sample.finish_reason!r}")


def _check_partial(tally: Tally, sample: Sample) -> None:
    """What was streamed is what the sample holds, and tokens were counted for it."""
    deltas = tally.deltas.get(sample.index, [])
    if deltas and tally.text(sample.index) != sample.text:
        broken(
            f"index {sample.index}: deltas {tally.text(sample.index)!r} are not the text "
            f"{sample.text!r}"
        )
    if sample.usage.output_tokens < len([delta for delta in deltas if delta.text]):
        broken(
            f"index {sample.index}: {len(deltas)} deltas and {sample.usage.output_tokens} "
            "output tokens"
        )
