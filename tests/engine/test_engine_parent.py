"""What the parent says to an engine and makes of its answers, with a link that the test speaks for."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import anyio
import pytest

from tt_compute.errors import EngineDied, ModelLoadError
from tt_compute.types import Capabilities, GenerateRequest, Message, SamplingParams
from tt_compute_backends.engine.link import Exit
from tt_compute_backends.engine.messages import (
    Close,
    Closed,
    Command,
    Forget,
    Load,
    Open,
    Opened,
    Origin,
    Read,
    ReadDone,
    Ready,
    Reply,
    Shutdown,
    decode_command,
    encode,
)
from tt_compute_backends.engine.process import EngineProcess
from tt_compute_backends.engine.runtime import EmbedTexts, Loaded, LoadRequest

pytestmark = pytest.mark.anyio
MakeLoad = Callable[..., LoadRequest]
ORIGIN = Origin(backend="fake", deployment="local/fake")
LOADED = Loaded(max_context_tokens=9, capabilities=Capabilities(), load_s=0.0)


class Script:
    """A link whose engine is the test."""

    pid = None

    def __init__(self) -> None:
        self.heard: list[Command] = []
        self.killed = False
        self.on_frame: Callable[[bytes], None]
        self.on_exit: Callable[[Exit], None]

    def start(self, on_frame: Callable[[bytes], None], on_exit: Callable[[Exit], None]) -> Script:
        self.on_frame, self.on_exit = on_frame, on_exit
        return self

    def send(self, message: bytes) -> None:
        self.heard.append(decode_command(message))

    def kill(self) -> None:
        self.killed = True
        self.on_exit(Exit(code=-9))

    async def say(self, *replies: Reply) -> None:
        self.on_frame(encode(list(replies)))
        await anyio.wait_all_tasks_blocked()


def ask(seed: int | None = 5) -> GenerateRequest:
    message = Message(role="user", content="x")
    return GenerateRequest(
        messages=(message,), sampling=SamplingParams(seed=seed), deadline=3.0, tags={"a": "b"}
    )


@asynccontextmanager
async def talking(load: LoadRequest) -> AsyncGenerator[tuple[EngineProcess, Script], None]:
    script = Script()
    engine = EngineProcess(load, script.start, now=lambda: 40.0)
    yield engine, script
    if not script.killed:
        script.on_exit(Exit(code=0))
    await engine.close()


async def test_the_first_words_load_and_the_request_travels_without_what_is_the_parents(
    fake_load: MakeLoad,
) -> None:
    """The seed goes as text, the deadline as seconds left, tags stay here."""
    async with talking(fake_load()) as (engine, script):
        await script.say(Ready(loaded=LOADED))
        assert await engine.loaded(ORIGIN) == LOADED

        async def use() -> None:
            async with engine.open(ask(), 2.5, ORIGIN) as generation:
                assert generation.prompt_tokens == 7

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(use)
            await anyio.wait_all_tasks_blocked()
            await script.say(Opened(generation=0, prompt_tokens=7))
            await script.say(Closed(generation=0))
        load, opening, closing = script.heard
        assert load == Load(request=fake_load())
        assert isinstance(opening, Open)
        assert (opening.seed, opening.sent_s, opening.seconds_left) == ("5", 40.0, 2.5)
        assert (opening.request.deadline, opening.request.tags) == (None, {})
        assert opening.request.sampling.seed is None
        assert closing == Close(generation=0)


async def test_an_opening_that_is_given_up_is_undone(fake_load: MakeLoad) -> None:
    """The engine is told to forget it, and an answer that comes too late is ignored."""
    async with talking(fake_load()) as (engine, script):
        await script.say(Ready(loaded=LOADED))
        with anyio.CancelScope() as scope:
            scope.cancel()
            async with engine.open(ask(), None, ORIGIN):
                pytest.fail("it was opened")
        assert script.heard[-1] == Close(generation=0)
        await script.say(Opened(generation=0, prompt_tokens=7), Closed(generation=0))


async def test_a_reading_that_is_given_up_is_forgotten(fake_load: MakeLoad) -> None:
    """By the engine too, and an answer that comes too late is ignored."""
    reading = EmbedTexts(texts=("x",))
    async with talking(fake_load()) as (engine, script):
        await script.say(Ready(loaded=LOADED))
        with anyio.CancelScope() as scope:
            scope.cancel()
            await engine.read(reading, 2.5, ORIGIN)
        *_, asked, forgotten = script.heard
        assert asked == Read(number=0, reading=reading, sent_s=40.0, seconds_left=2.5)
        assert forgotten == Forget(number=0)
        await script.say(ReadDone(number=0, rows=[[1.0]]))


async def test_those_who_wait_for_an_opening_learn_of_the_end(fake_load: MakeLoad) -> None:
    """When the engine dies before it has answered, opening raises that, and so does the next one."""
    async with talking(fake_load()) as (engine, script):
        await script.say(Ready(loaded=LOADED))

        async def use() -> None:
            with pytest.raises(EngineDied, match="SIGSEGV"):
                async with engine.open(ask(), None, ORIGIN):
                    pytest.fail("it was opened")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(use)
            await anyio.wait_all_tasks_blocked()
            script.on_exit(Exit(code=-11))
        heard = len(script.heard)
        await use()
        assert len(script.heard) == heard


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (Exit(code=-11), "crashed (SIGSEGV) while loading /models/fake.gguf"),
        (Exit(code=-60), "crashed (signal 60) while loading"),
        (Exit(code=1), "ended with exit code 1 while loading"),
        (Exit(code=None, last_words="no such file"), "could not be started while loading"),
    ],
)
async def test_an_end_while_loading_is_a_load_error(
    fake_load: MakeLoad, how: Exit, words: str
) -> None:
    """The message says how it ended and over which file, the hint what it said last."""
    async with talking(fake_load()) as (engine, script):
        script.on_exit(how)
        with pytest.raises(ModelLoadError) as caught:
            await engine.loaded(ORIGIN)
        assert words in caught.value.message
        assert caught.value.hint == (how.last_words or None)


async def test_a_loaded_engine_is_told_to_end(fake_load: MakeLoad) -> None:
    """It gets the chance to free its model; it is not killed when it takes it."""
    async with talking(fake_load()) as (engine, script):
        await script.say(Ready(loaded=LOADED))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(engine.close)
            await anyio.wait_all_tasks_blocked()
            assert script.heard[-1] == Shutdown()
            assert not script.killed
            script.on_exit(Exit(code=0))


async def test_an_engine_that_is_still_loading_is_killed(
    fake_load: MakeLoad, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands are read only after loading, so telling it to end would be in vain."""
    monkeypatch.setattr("tt_compute_backends.engine.process._SHUTDOWN_WAIT_S", 1e9)
    async with talking(fake_load()) as (engine, script):
        await engine.close()
        assert script.killed


async def test_an_engine_that_does_not_end_is_killed(
    fake_load: MakeLoad, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the longest wait there is no more asking."""
    monkeypatch.setattr("tt_compute_backends.engine.process._SHUTDOWN_WAIT_S", 0.01)
    async with talking(fake_load()) as (engine, script):
        await script.say(Ready(loaded=LOADED))
        await engine.close()
        assert script.killed
