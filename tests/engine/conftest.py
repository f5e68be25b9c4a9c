"""Fixtures for the local engine: the fake runtime importable here and in the engine's process, and holds on it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from tt_compute_backends.engine.host import EngineHost, acquire
from tt_compute_backends.engine.runtime import LoadRequest


@pytest.fixture(autouse=True)
def importable_fake(monkeypatch: pytest.MonkeyPatch) -> None:
    """``fake_runtime`` can be imported by tests, and by the engine through the import path it is given."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(Path(__file__).parent)])


class SystemClock:
    def now(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


@pytest.fixture
def fake_load() -> Callable[..., LoadRequest]:
    """Makes the request that loads the fake runtime; keywords become its options.

    A step takes some time, as a real one does, so that endless rows do not flood the reader.
    """

    def make(*, max_rows: int = 4, **options: object) -> LoadRequest:
        options.setdefault("step_s", 0.001)
        return LoadRequest(
            runtime="fake_runtime:FakeRuntime",
            model_path="/models/fake.gguf",
            device="CPU",
            threads=None,
            max_rows=max_rows,
            memory_bytes=None,
            max_context_tokens=None,
            chat_template=None,
            options=options,
        )

    return make


@pytest.fixture
def hold() -> Callable[[LoadRequest], EngineHost]:
    """Takes a hold on an engine in a process of its own."""

    def take(load: LoadRequest) -> EngineHost:
        return acquire(load, clock=SystemClock(), backend="fake", deployment="local/fake")

    return take


@pytest.fixture
def hold_for_a_moment() -> Callable[[LoadRequest], EngineHost]:
    """The same, unloaded as soon as it is idle."""

    def take(load: LoadRequest) -> EngineHost:
        return acquire(
            load,
            clock=SystemClock(),
            backend="fake",
            deployment="local/fake",
            unload_after_s=0.001,
        )

    return take
