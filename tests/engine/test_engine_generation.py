"""What a generation does with the engine's events, without an engine."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from tt_compute.errors import EngineDied, GenerationClosed, InvalidRequestError, UsageError
from tt_compute.types import Delta, Event, Failed, Sample, TokenLogprob
from tt_compute_backends.engine.generation import LocalGeneration
from tt_compute_backends.engine.messages import (
    Cancel,
    Close,
    Command,
    Draw,
    Events,
    Origin,
    to_wire,
)

pytestmark = pytest.mark.anyio
ORIGIN = Origin(backend="fake", deployment="local/fake")
DIED = to_wire(EngineDied("gone", hint="try again"))


def make() -> tuple[LocalGeneration, list[Command]]:
    sent: list[Command] = []
    generation = LocalGeneration(
        3, prompt_tokens=5, send=sent.append, now=lambda: 1.5, origin=ORIGIN
    )
    return generation, sent


def say(*events: Delta | Sample) -> Events:
    return Events(
        generation=3,
        deltas=[event for event in events if isinstance(event, Delta)],
        samples=[event for event in events if isinstance(event, Sample)],
    )


def sample(index: int, text: str = "") -> Sample:
    return Sample(index=index, text=text, finish_reason="stop")


async def rest(generation: LocalGeneration) -> list[Event]:
    return [event async for event in generation]


async def test_indices_count_on() -> None:
    """Each draw returns the next indices and sends one command for all of them."""
    generation, sent = make()
    assert (generation.draw(), generation.draw(3)) == (range(1), range(1, 4))
    assert sent == [
        Draw(generation=3, first=0, n=1, sent_s=1.5),
        Draw(generation=3, first=1, n=3, sent_s=1.5),
    ]


async def test_drawing_nothing_sends_nothing() -> None:
    """``draw(0)`` is an empty range; a negative number is refused."""
    generation, sent = make()
    assert generation.draw(0) == range(0)
    assert sent == []
    with pytest.raises(InvalidRequestError, match="-1"):
        generation.draw(-1)


async def test_only_a_cancel_that_can_matter_is_sent() -> None:
    """Unknown and ended indices, and all of nothing, are ignored."""
    generation, sent = make()
    generation.cancel()
    generation.draw(2)
    generation.feed(say(sample(0)))
    sent.clear()
    for index in (0, 7, -1, 1, None):
        generation.cancel(index)
    assert sent == [Cancel(generation=3, index=1), Cancel(generation=3, index=None)]


async def test_iteration_stops_and_goes_on_after_a_later_draw() -> None:
    """With nothing live it stops at once; a draw makes the same generation iterable again."""
    generation, _ = make()
    assert await rest(generation) == []
    for index in range(2):
        generation.draw()
        generation.feed(say(sample(index)))
        assert await rest(generation) == [sample(index)]


async def test_a_waiting_consumer_is_woken() -> None:
    """The consumer sleeps until an event is there, and then gets it."""
    generation, _ = make()
    generation.draw()
    got: list[Event] = []

    async def consume() -> None:
        got.extend(await rest(generation))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(consume)
        await anyio.wait_all_tasks_blocked()
        assert got == []
        generation.feed(say(sample(0)))
    assert got == [sample(0)]


async def test_a_second_consumer_is_an_error() -> None:
    """Two tasks cannot wait on one generation; the first one goes on."""
    generation, _ = make()
    generation.draw()
    got: list[Event] = []

    async def consume() -> None:
        got.extend(await rest(generation))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(consume)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(UsageError, match="second consumer"):
            await anext(aiter(generation))
        generation.feed(say(sample(0)))
    assert got == [sample(0)]


async def test_a_cancelled_consumer_may_be_followed_by_another() -> None:
    """A consumer whose scope was cancelled no longer counts, and loses nothing."""
    generation, _ = make()
    generation.draw()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await rest(generation)
    generation.feed(say(sample(0)))
    assert await rest(generation) == [sample(0)]


async def test_waiting_deltas_of_one_index_are_merged() -> None:
    """A consumer that lags gets one delta for each index, with all text and logprobs in order."""
    generation, _ = make()
    generation.draw(2)
    token = TokenLogprob(token="x", logprob=-1.0)
    for number in range(3):
        generation.feed(
            say(
                Delta(index=0, text=f"a{number}", logprobs=(token,)),
                Delta(index=1, text=f"b{number}"),
            )
        )
    generation.feed(say(sample(1, "b0b1b2"), sample(0, "a0a1a2")))
    assert await rest(generation) == [
        Delta(index=0, text="a0a1a2", logprobs=(token,) * 3),
        Delta(index=1, text="b0b1b2"),
        sample(1, "b0b1b2"),
        sample(0, "a0a1a2"),
    ]


async def test_a_dead_engine_fails_every_index_and_then_raises() -> None:
    """What was unfinished fails with its text so far; then the iteration raises, every time."""
    generation, sent = make()
    generation.draw(3)
    generation.feed(say(Delta(index=1, text="so "), Delta(index=2, text="x"), sample(2, "x")))
    generation.feed(say(Delta(index=1, text="far")))
    generation.lose(DIED)
    got = [await anext(aiter(generation)) for _ in range(5)]
    for _ in range(2):
        with pytest.raises(EngineDied, match="gone") as caught:
            await anext(aiter(generation))
        assert caught.value.deployment == "local/fake"
    failed = [event for event in got if isinstance(event, Failed)]
    assert [(event.index, event.text) for event in failed] == [(0, ""), (1, "so far")]
    assert all(isinstance(event.error, EngineDied) for event in failed)
    assert failed[0].error is not failed[1].error
    sent.clear()
    generation.cancel()
    assert generation.draw(2) == range(3, 5)
    assert sent == []
    events = [await anext(aiter(generation)) for _ in range(2)]
    assert [(event.index, type(event)) for event in events] == [(3, Failed), (4, Failed)]


async def test_leaving_closes_and_what_that_caused_can_be_read() -> None:
    """Leaving waits for the engine; the last events are iterated after it, draws are refused."""
    generation, sent = make()
    generation.draw(2)
    left: list[bool] = []

    async def leave() -> None:
        left.append(await generation.leave())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(leave)
        await anyio.wait_all_tasks_blocked()
        assert sent[-1] == Close(generation=3)
        assert left == []
        generation.feed(say(sample(0), sample(1)))
        generation.close()
    assert left == [True]
    assert await rest(generation) == [sample(0), sample(1)]
    assert await rest(generation) == []
    with pytest.raises(GenerationClosed):
        generation.draw()
    generation.cancel()
    assert sent[-1] == Close(generation=3)


async def test_leaving_is_not_cut_short_by_cancellation() -> None:
    """In a cancelled scope too, leaving waits for the engine's last word."""
    generation, _ = make()
    left: list[bool] = []
    scope = anyio.CancelScope()

    async def leave() -> None:
        with scope:
            left.append(await generation.leave())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(leave)
        await anyio.wait_all_tasks_blocked()
        scope.cancel()
        for _ in range(10):  # cancellation takes a few rounds of the loop to arrive
            await anyio.lowlevel.checkpoint()
        assert left == []
        generation.close()
    assert left == [True]


async def test_leaving_a_dead_engine_does_not_wait() -> None:
    """Nothing is sent to it, and what failed can be read without a further error."""
    generation, sent = make()
    generation.draw()
    generation.lose(DIED)
    sent.clear()
    assert await generation.leave()
    assert sent == []
    assert [type(event) for event in await rest(generation)] == [Failed]


async def test_an_engine_that_says_nothing_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After the longest wait, leaving gives up and says so."""
    monkeypatch.setattr("tt_compute_backends.engine.generation._CLOSE_WAIT_S", 0.0)
    generation, _ = make()
    assert not await generation.leave()
