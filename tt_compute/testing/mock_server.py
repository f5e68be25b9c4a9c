"""A scenario as an OpenAI-compatible HTTP server, for programs that are not Python. Needs aiohttp."""

from __future__ import annotations

import itertools
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Self

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from tt_compute.backend import Backend
from tt_compute.errors import (
    BackendError,
    ConnectionFailed,
    EngineDied,
    InvalidRequestError,
    TTComputeError,
    UnknownNameError,
    UsageError,
)
from tt_compute.profiles.checking import suggestion
from tt_compute.registry import Registry
from tt_compute.testing.environment import backend_env
from tt_compute.testing.mock_asked import Asked, read_asked
from tt_compute.testing.mock_faults import is_fault
from tt_compute.testing.mock_said import (
    Body,
    answer,
    limit_headers,
    models,
    piece,
    refusal,
    usage_of,
)
from tt_compute.testing.scenario import Scenario
from tt_compute.types import Clock, Delta, Event, Failed, Sample, sample_seed

__all__ = ["MockServer"]

_PATH = "/v1"
_LEAVE_S = 1.0
"""Longest that requests under way may take to let go when the server ends."""
_MAX_BODY_BYTES = 32 * 1024 * 1024
"""Of a request. Above the prompts of a million tokens that services take; aiohttp's own limit is below them."""
_BROKEN = b'{"id": "chatcmpl-broken", "choices": [{"mess'


class MockServer:
    """Answers for the deployments of a scenario; made by ``serving``.

    Args:
        scenario: What it plays.
        backends: By deployment.
    """

    def __init__(self, scenario: Scenario, backends: Mapping[str, Backend]) -> None:
        self._seed = scenario.seed
        self._backends = backends
        self._numbers = itertools.count()
        self.url = ""
        """Base URL, up to and with ``/v1``; empty before it listens."""

    @classmethod
    @asynccontextmanager
    async def serving(
        cls,
        scenario: Scenario,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Clock | None = None,
    ) -> AsyncGenerator[Self, None]:
        """Listen until the block is left; then nothing of it remains.

        Args:
            scenario: What to play.
            host: Address to listen at.
            port: 0 = one that is free.
            clock: Whose time the samples take; None = the system's.

        Raises:
            ConfigError: A ``profile`` of the scenario cannot be used.
            UsageError: It cannot listen there.
        """
        env = backend_env(clock=clock)
        kind = Registry().load("mock")
        specs = scenario.ready(environ={}).deployments
        server = cls(scenario, {spec.id: await kind.create(spec, env) for spec in specs})
        # A request is given up when its client goes away, as services do.
        runner = web.AppRunner(
            server.application(),
            handler_cancellation=True,
            shutdown_timeout=_LEAVE_S,
            logger=_logger(),
        )
        await runner.setup()
        try:
            await _listen(runner, host, port)
            bound: int = runner.addresses[0][1]
            server.url = f"http://{f'[{host}]' if ':' in host else host}:{bound}{_PATH}"
            yield server
        finally:
            await runner.cleanup()
            for backend in server._backends.values():
                await backend.aclose()

    def application(self) -> web.Application:
        made = web.Application(client_max_size=_MAX_BODY_BYTES, middlewares=[_errors_of_services])
        made.router.add_get(f"{_PATH}/models", self._models)
        made.router.add_post(f"{_PATH}/chat/completions", self._complete)
        return made

    async def _models(self, request: web.Request) -> web.Response:
        del request
        return _json(models(tuple(self._backends)))

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        number = next(self._numbers)
        try:
            asked = read_asked(await _body(request), seed=sample_seed(self._seed, number))
            async with aclosing(self._events(self._backend(asked.model), asked)) as events:
                if asked.stream:
                    return await _Stream(request, number, asked).send(events)
                return await _whole(number, asked, events)
        except TTComputeError as error:
            return _refused(request, error)

    def _backend(self, model: str) -> Backend:
        if model not in self._backends:
            raise UnknownNameError(
                f"there is no model {model!r}", hint=suggestion(model, tuple(self._backends))
            )
        return self._backends[model]

    @staticmethod
    async def _events(backend: Backend, asked: Asked) -> AsyncGenerator[Event, None]:
        async with backend.open(asked.request) as generation:
            generation.draw(asked.n)
            async for event in generation:
                yield event


def _logger() -> logging.Logger:
    """What is no HTTP is the client's mistake, and told in a line; anything else keeps its traceback."""
    logger = logging.getLogger("tt_compute.mock_server")
    logger.addFilter(_in_a_line)
    return logger


def _in_a_line(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, web.RequestPayloadError):
        # Of a body that is not encoded as its headers say.
        error = error.__cause__
    if isinstance(error, HttpProcessingError):
        first = error.message.partition("\n")[0].rstrip(":")
        record.msg, record.args, record.exc_info = f"a request was refused: {first}", (), None
    return True


async def _listen(runner: web.AppRunner, host: str, port: int) -> None:
    if not host:
        # It would be every address, and the URL none.
        raise UsageError("cannot listen at an empty host", hint="0.0.0.0 is every address")
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as exc:
        raise UsageError(
            f"cannot listen at {host}:{port}: {exc.strerror or exc}",
            hint="--port 0 takes a port that is free",
        ) from exc
    except UnicodeError as exc:
        raise UsageError(
            f"cannot listen at {host!r}: it is no name of a host", hint="such as 127.0.0.1"
        ) from exc


async def _body(request: web.Request) -> bytes:
    """All of it.

    Raises:
        InvalidRequestError: It is not what its headers say, such as compressed.
    """
    try:
        return await request.read()
    except web.RequestPayloadError as exc:
        raise InvalidRequestError("the body is not encoded as its headers say") from exc


@web.middleware
async def _errors_of_services(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """What aiohttp itself refuses (a path, a method, a size), in the form of the other refusals."""
    try:
        return await handler(request)
    except web.HTTPException as exc:
        error = InvalidRequestError(f"{request.method} {request.path}: {exc.reason}")
        allowed = exc.headers.getall("Allow", [])
        headers = {"Allow": ", ".join(allowed)} if allowed else None
        return _json(refusal(error).body, status=exc.status, headers=headers)


async def _whole(number: int, asked: Asked, events: AsyncGenerator[Event, None]) -> web.Response:
    """One document, once every choice has ended; the first failure is that of the request."""
    samples: list[Sample] = []
    async for event in events:
        if isinstance(event, Failed):
            raise event.error
        if isinstance(event, Sample):
            samples.append(event)
    samples.sort(key=lambda sample: sample.index)
    headers = limit_headers(samples[-1].rate_limits)
    return _json(answer(number, asked.model, samples), headers=headers)


class _Stream:
    """Server-sent events of one request.

    Args:
        request: Whom to answer.
        number: Of the request.
        asked: What it wants.
    """

    def __init__(self, request: web.Request, number: int, asked: Asked) -> None:
        self._request = request
        self._number = number
        self._asked = asked
        self._begun: set[int] = set()
        """Choices of which a piece was sent."""
        self._response = web.StreamResponse(
            headers={"content-type": "text/event-stream", "cache-control": "no-cache"}
        )

    async def send(self, events: AsyncGenerator[Event, None]) -> web.StreamResponse:
        """Send what comes; the head goes with the first of it, so that a refusal still has its status.

        Raises:
            TTComputeError: A choice failed before anything was sent.
        """
        try:
            return await self._send(events)
        except ConnectionResetError:
            # Whoever asked has gone, and was faster than the cancellation of this.
            return self._response

    async def _send(self, events: AsyncGenerator[Event, None]) -> web.StreamResponse:
        samples: list[Sample] = []
        async for event in events:
            if isinstance(event, Failed):
                if not self._response.prepared:
                    raise event.error
                return await self._break_off(event.error)
            await self._put(self._piece(event))
            if isinstance(event, Sample):
                samples.append(event)
        await self._finish(samples)
        return self._response

    def _piece(self, said: Delta | Sample | None, **beside: object) -> bytes:
        made = piece(self._number, self._asked.model, said, **beside)
        if said is not None and said.index not in self._begun:
            self._begun.add(said.index)
            made["choices"][0]["delta"]["role"] = "assistant"
        return msgspec.json.encode(made)

    async def _finish(self, samples: list[Sample]) -> None:
        usage = usage_of(samples)
        if self._asked.include_usage and usage is not None:
            await self._put(self._piece(None, usage=usage))
        await self._put(b"[DONE]")
        await self._response.write_eof()

    async def _break_off(self, error: BackendError) -> web.StreamResponse:
        """End a stream that had begun: cut, or with an event that says why."""
        if is_fault(error, "malformed"):
            await self._put(_BROKEN)
        elif _cuts(error):
            return _cut(self._request, self._response)
        else:
            await self._put(msgspec.json.encode(refusal(error).body))
        await self._response.write_eof()
        return self._response

    async def _put(self, data: bytes) -> None:
        if not self._response.prepared:
            await self._response.prepare(self._request)
        await self._response.write(b"data: " + data + b"\n\n")


def _refused(request: web.Request, error: TTComputeError) -> web.StreamResponse:
    """An error before anything was sent."""
    if isinstance(error, BackendError):
        if is_fault(error, "malformed"):
            return web.Response(body=_BROKEN, content_type="application/json")
        if _cuts(error):
            return _cut(request, web.Response())
    found = refusal(error)
    return _json(found.body, status=found.status, headers=found.headers)


def _cut(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """Close the connection behind what was sent; what aiohttp wants to add finds nobody."""
    if request.transport is not None:
        request.transport.close()
    return response


def _cuts(error: BackendError) -> bool:
    return isinstance(error, ConnectionFailed | EngineDied)


def _json(
    body: Body, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(body),
        status=status,
        headers=headers,
        content_type="application/json",
    )
