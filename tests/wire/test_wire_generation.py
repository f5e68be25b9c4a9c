"""A generation over a transport that does what no server can."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest

from tt_compute.clock import SystemClock
from tt_compute.errors import ServerError
from tt_compute.types import Failed, GenerateRequest, Message
from tt_compute_backends.wire.generation import Place, WireGeneration
from tt_compute_backends.wire.meter import TokenMeter
from tt_compute_backends.wire.request import Body
from tt_compute_backends.wire.services import SERVICES
from tt_compute_backends.wire.transport import Response

pytestmark = pytest.mark.anyio

REQUEST = GenerateRequest(messages=(Message(role="user", content="hi"),))


class Whole:
    """A good answer."""

    status = 200
    headers: Mapping[str, str] = {"content-type": "application/json"}

    async def chunks(self) -> AsyncIterator[bytes]:
        yield b'{"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}]}'


class Buggy:
    """Its first request fails as an SDK does that is given what it does not expect."""

    round_trip_s = 0.01

    def __init__(self) -> None:
        self.calls = 0

    @asynccontextmanager
    async def send(self, body: Body, *, stream: bool) -> AsyncGenerator[Response, None]:
        del body, stream
        self.calls += 1
        if self.calls == 1:
            raise TypeError("create() got an unexpected value")
        yield Whole()

    async def aclose(self) -> None:
        return None


def generation() -> WireGeneration:
    place = Place(
        transport=Buggy(),
        service=SERVICES["other"],
        clock=SystemClock(),
        wall=lambda: 0.0,
        meter=TokenMeter(),
        where="d at host",
        key="secret",
        stream=False,
        native_n=False,
        requests_window_s=60.0,
    )
    return WireGeneration(REQUEST, {}, prompt_bytes=2, max_tokens=5, place=place)


async def test_a_bug_costs_its_sample_and_no_other() -> None:
    made = generation()
    made.draw(2)
    ends = {event.index: event async for event in made}
    await made.close()
    assert isinstance(ends[0], Failed)
    assert isinstance(ends[0].error, ServerError)
    assert isinstance(ends[0].error.__cause__, TypeError)
    assert not isinstance(ends[1], Failed)
    assert "secret" not in repr(made.__dict__)
