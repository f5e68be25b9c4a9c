"""Fixtures for the OpenVINO backend: the model file, a loaded runtime, requests, a way to run rows to their end."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from tt_compute.types import (
    GenerateRequest,
    JsonSchemaFormat,
    Message,
    SamplingParams,
    TokenLogprob,
)
from tt_compute_backends.engine.runtime import LoadRequest, Runtime
from tt_compute_backends.engine.sampling import row_params

MakeRequest = Callable[..., GenerateRequest]


class RowResult(msgspec.Struct):
    """All that came of one row."""

    text: str = ""
    tokens: int = 0
    cached_tokens: int = 0
    logprobs: tuple[TokenLogprob, ...] = ()
    finish: str | None = None
    steps: int = 0
    """Engine steps from the first one run to the row's end."""


class RowRunner:
    """Runs rows on a runtime, as the engine would.

    Args:
        runtime: A loaded one.
    """

    _numbers = itertools.count()
    """Shared, because a runtime sees no number twice."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.results: dict[int, RowResult] = {}
        self._live: set[int] = set()

    def add(self, request: GenerateRequest, *, seed: int = 0, index: int = 0) -> int:
        """Start one row; gives its number."""
        prompt = self.runtime.prepare(request)
        row = next(self._numbers)
        self.runtime.add(row, prompt, row_params(request, prompt, seed, index))
        self._live.add(row)
        self.results[row] = RowResult()
        return row

    def cancel(self, row: int) -> None:
        self.runtime.cancel(row)
        self._live.discard(row)

    def step(self) -> None:
        for row in self._live:
            self.results[row].steps += 1
        for event in self.runtime.step():
            assert event.row in self._live, "an event of a row that is not live"
            found = self.results[event.row]
            found.text += event.text
            found.tokens += event.tokens
            found.cached_tokens += event.cached_tokens
            found.logprobs += event.logprobs
            found.finish = event.finish
            if event.finish is not None:
                self._live.discard(event.row)

    def finish(self) -> None:
        """Step until no row is live."""
        while self._live:
            self.step()

    def wave(self, request: GenerateRequest, n: int, *, seed: int = 0) -> list[str]:
        """Texts of samples 0..n-1, the first leading as the engine would have it."""
        rows = [self.add(request, seed=seed)]
        while rows[0] in self._live and not self.results[rows[0]].tokens:
            self.step()
        rows += [self.add(request, seed=seed, index=index) for index in range(1, n)]
        self.finish()
        return [self.results[row].text for row in rows]

    def abandon(self) -> None:
        for row in list(self._live):
            self.cancel(row)
        self.runtime.step()


@pytest.fixture(scope="session")
def load_request(embedded_model: Path) -> Callable[..., LoadRequest]:
    """Makes the request that loads the embedded model; keywords are its options, or its fields."""

    def make(**changes: object) -> LoadRequest:
        fields = {"device", "memory_bytes", "max_context_tokens", "chat_template", "model_path"}
        request = LoadRequest(
            runtime="tt_compute_backends.openvino_runtime:OpenVinoRuntime",
            model_path=str(embedded_model),
            device="CPU",
            threads=2,
            max_rows=32,
            memory_bytes=None,
            max_context_tokens=None,
            chat_template=None,
            options={key: value for key, value in changes.items() if key not in fields},
        )
        own = {key: value for key, value in changes.items() if key in fields}
        return msgspec.structs.replace(request, **own)

    return make


@pytest.fixture(scope="session")
def loaded_runtime(load_request: Callable[..., LoadRequest]) -> Iterator[Runtime]:
    from tt_compute_backends.openvino_runtime import OpenVinoRuntime

    runtime = OpenVinoRuntime()
    runtime.load(load_request())
    yield runtime
    runtime.close()


@pytest.fixture
def rows(loaded_runtime: Runtime) -> Iterator[RowRunner]:
    """The loaded model with no rows; what a test leaves running is cancelled."""
    runner = RowRunner(loaded_runtime)
    yield runner
    runner.abandon()


@pytest.fixture(scope="session")
def row_runner() -> type[RowRunner]:
    return RowRunner


@pytest.fixture(scope="session")
def ask() -> MakeRequest:
    """Makes a request of one user message; keywords are sampling parameters, ``schema`` or ``prefix``."""

    def make(
        text: str,
        *,
        schema: dict[str, object] | None = None,
        prefix: str | None = None,
        **sampling: object,
    ) -> GenerateRequest:
        messages = [Message(role="user", content=text)]
        if prefix is not None:
            messages.append(Message(role="assistant", content=prefix))
        return GenerateRequest(
            messages=tuple(messages),
            sampling=msgspec.convert({"max_tokens": 24, **sampling}, SamplingParams),
            response_format=None if schema is None else JsonSchemaFormat(schema=schema),
            continue_assistant=prefix is not None,
            deltas="text",
        )

    return make
