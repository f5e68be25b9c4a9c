"""The order in which the engine's main loop reads, answers and computes."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import pytest

from tt_compute.types import GenerateRequest, Message
from tt_compute_backends.engine.messages import (
    Command,
    Draw,
    Events,
    Load,
    Open,
    Opened,
    Ready,
    Shutdown,
    decode_replies,
    encode,
)
from tt_compute_backends.engine.runtime import LoadRequest, RowStep
from tt_compute_backends.engine.serve import Inbox, serve

MakeLoad = Callable[..., LoadRequest]


def test_answers_do_not_wait_for_the_next_step(
    fake_load: MakeLoad, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What commands caused is sent before a step, what the step made after it, each in one frame."""
    fake: Any = importlib.import_module("fake_runtime").FakeRuntime
    real_step: Callable[[Any], list[RowStep]] = fake.step
    log: list[object] = []

    def step(runtime: Any) -> list[RowStep]:
        log.append("step")
        return real_step(runtime)

    def close(_runtime: object) -> None:
        log.append("close")

    monkeypatch.setattr(fake, "step", step)
    inbox: Inbox = SimpleQueue()
    request = GenerateRequest(messages=(Message(role="user", content="length=1"),))

    def say(*commands: Command) -> None:
        for command in commands:
            inbox.put(encode(command))

    def opening(number: int) -> Open:
        return Open(generation=number, request=request, seed="1", sent_s=0.0, seconds_left=None)

    def hear(frame: bytes) -> None:
        kinds = [type(reply) for reply in decode_replies(frame)]
        log.append(kinds)
        if Events in kinds:
            say(Shutdown())

    say(Load(request=fake_load(share=False)))
    say(opening(0), opening(1))
    say(Draw(generation=0, first=0, n=1, sent_s=0.0), Draw(generation=1, first=0, n=1, sent_s=0.0))
    monkeypatch.setattr(fake, "close", close)
    serve(inbox, hear, now=lambda: 0.0)
    assert log == [[Ready], [Opened, Opened], "step", [Events, Events], "close"]
