"""The official SDKs of this family as a transport: they build, sign and send; bytes come back to us."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx

from tt_compute.errors import BackendError, ConnectionFailed
from tt_compute_backends.wire.http import UNKNOWN_ROUND_TRIP_S
from tt_compute_backends.wire.httpx_transport import AiohttpTransport
from tt_compute_backends.wire.request import Body
from tt_compute_backends.wire.transport import Response

__all__ = ["AiohttpTransport", "SdkTransport", "sdk_http_client"]


def sdk_http_client(carrier: AiohttpTransport) -> httpx.AsyncClient:
    """What an SDK is given instead of httpx's own pool, which loses connections to cancellation."""
    return httpx.AsyncClient(
        transport=carrier,
        follow_redirects=False,
        trust_env=False,
        timeout=httpx.Timeout(None),
    )


_CONTROLS: Final = frozenset({"extra_headers", "extra_query", "extra_body", "timeout"})
"""Parameters of ``create`` that steer the SDK and are no fields of a request."""


def keywords_of(client: Any) -> frozenset[str]:
    """The fields of a request that the SDK takes by name."""
    create = inspect.signature(client.chat.completions.create)
    return frozenset(create.parameters) - _CONTROLS


class SdkTransport:
    """Satisfies ``wire.transport.Transport``.

    Args:
        library: The SDK's module; its error classes are the same in all of the family.
        client: Its asynchronous client, made without retries of its own.
        carrier: What carries the client's requests.
        host: For messages.
    """

    def __init__(
        self,
        library: Any,
        client: Any,
        *,
        carrier: AiohttpTransport,
        host: str,
    ) -> None:
        self._library = library
        self._client = client
        self._carrier = carrier
        self._keywords = keywords_of(client)
        self._host = host

    @property
    def round_trip_s(self) -> float:
        found = self._carrier.round_trip_s
        return UNKNOWN_ROUND_TRIP_S if found is None else found

    @asynccontextmanager
    async def send(self, body: Body, *, stream: bool) -> AsyncGenerator[Response, None]:
        """Post a completion by the SDK.

        Raises:
            ConnectionFailed: No answer came.
        """
        known = {name: value for name, value in body.items() if name in self._keywords}
        rest = {name: value for name, value in body.items() if name not in self._keywords}
        known["stream"] = stream
        call = self._client.chat.completions.with_streaming_response.create(
            **known, extra_body=rest or None
        )
        try:
            response = await call.__aenter__()
        except self._library.APIStatusError as error:
            yield _Refusal(error.response)
            return
        except self._library.APIConnectionError as error:
            raise _failed(error, self._host) from error
        try:
            yield _Streamed(response, self._host)
        finally:
            await call.__aexit__(None, None, None)

    async def aclose(self) -> None:
        await self._client.close()


class _Streamed:
    """An answer of the SDK whose body has not been read."""

    def __init__(self, response: Any, host: str) -> None:
        self._response = response
        self._host = host
        self.status: int = response.status_code
        self.headers: Mapping[str, str] = response.headers

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._response.http_response.aiter_raw():
                yield chunk
        except httpx.HTTPError as error:
            raise _failed(error, self._host) from error


class _Refusal:
    """An answer that the SDK raised as an error; it has read the body."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self._response.content


def _failed(error: Exception, host: str) -> BackendError:
    """Our own error, which the SDK wrapped on its way, or one for what is not ours."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, BackendError):
            return cause
        cause = cause.__cause__
    return ConnectionFailed(f"{host}: the connection failed ({type(error).__name__})")
