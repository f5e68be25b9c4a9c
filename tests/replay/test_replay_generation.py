"""The recorded generation: samples end when their tokens are decoded, in virtual time."""

from __future__ import annotations

import pytest

from tt_compute.backend import Generation
from tt_compute.replay.generation import RecordedGeneration
from tt_compute.replay.recording import Recording
from tt_compute.types import Delta, Event, Sample

pytestmark = pytest.mark.anyio


def generation(*tokens: int, order: tuple[int, ...] | None = None) -> RecordedGeneration:
    recording = Recording(
        question_id="q", gold="a", samples=("a",) * len(tokens), tokens=tokens or None
    )
    return RecordedGeneration(recording, order or tuple(range(len(tokens))))


async def ended(source: RecordedGeneration) -> Sample:
    event: Event = await anext(source)
    assert isinstance(event, Sample)
    return event


async def test_it_is_a_generation() -> None:
    """It satisfies the protocol that every backend's does."""
    assert isinstance(generation(1), Generation)


async def test_the_shortest_sample_ends_first() -> None:
    """Time is that of decode steps, whatever the order of drawing."""
    source = generation(30, 10, 20)
    source.draw(3)
    assert [(await ended(source)).index for _ in range(3)] == [1, 2, 0]
    assert source.steps == 30


async def test_samples_come_in_the_given_order() -> None:
    """A text is the sample's place in the recording."""
    source = generation(1, 2, 3, order=(2, 0, 1))
    source.draw(1)
    event = await ended(source)
    assert (event.index, event.text, event.usage.output_tokens) == (0, "2", 3)


async def test_a_cancel_cuts_a_sample_at_its_tokens_so_far() -> None:
    """What was decoded is billed; a sample drawn just now made nothing."""
    source = generation(10, 30, 30)
    source.draw(2)
    await ended(source)
    source.draw(1)
    source.cancel()
    source.cancel(7)
    cut = [await ended(source) for _ in range(2)]
    assert [(one.index, one.finish_reason) for one in cut] == [(1, "cancelled"), (2, "cancelled")]
    assert [one.usage.output_tokens for one in cut] == [10, 0]
    assert source.steps == 10


async def test_a_sample_that_ended_in_the_same_step_is_complete_before_a_cancel() -> None:
    """As an engine hands over the events of one step together."""
    source = generation(10, 10)
    source.draw(2)
    await ended(source)
    source.cancel()
    assert (await ended(source)).finish_reason == "stop"


async def test_it_is_iterable_again_after_a_later_draw() -> None:
    """The iteration stops when nothing is in flight."""
    source = generation(5, 5)
    source.draw(1)
    assert len([event async for event in source if not isinstance(event, Delta)]) == 1
    source.draw(1)
    assert [event.index async for event in source] == [1]
    assert source.steps == 10


async def test_steps_are_counted_by_the_samples_in_flight() -> None:
    """The first step of a wave that begins alone is the prompt's."""
    source = generation(10, 30, 5)
    source.draw(2)
    async for _ in source:
        pass
    source.draw(1)
    async for _ in source:
        pass
    assert dict(source.widths) == {2: 9, 1: 20 + 4}


async def test_waves_are_the_samples_that_follow_one_upon_the_other() -> None:
    """Two samples drawn one after the other while the first wave runs are one more wave, not two."""
    source = generation(10, 20, 50, 30, 10, 10)
    source.draw(3)
    waves: list[int] = []
    for _ in range(3):
        await ended(source)
        source.draw(1)
        waves.append(source.waves)
    assert waves == [2, 2, 3]


async def test_samples_without_tokens_are_equally_long() -> None:
    """Then a step is a wave."""
    recording = Recording(question_id="q", gold="a", samples=("a", "b"))
    source = RecordedGeneration(recording, (1, 0))
    source.draw(2)
    events = [await ended(source) for _ in range(2)]
    assert [event.text for event in events] == ["1", "0"]
    assert source.steps == 1


async def test_a_recorded_logprob_is_the_samples_mean() -> None:
    """For strategies that weigh votes by it."""
    recording = Recording(question_id="q", gold="a", samples=("a",), logprob=(-0.25,))
    source = RecordedGeneration(recording, (0,))
    source.draw(1)
    assert (await ended(source)).mean_logprob == -0.25
