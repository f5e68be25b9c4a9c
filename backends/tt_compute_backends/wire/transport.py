"""How a request reaches a server: what the generation needs of it, whoever carries it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

from tt_compute.errors import ServerError
from tt_compute_backends.wire.request import Body

__all__ = ["MAX_ERROR_BYTES", "MAX_RESPONSE_BYTES", "Response", "Transport", "read_all"]

MAX_RESPONSE_BYTES: Final = 64 * 1024 * 1024
MAX_ERROR_BYTES: Final = 64 * 1024


class Response(Protocol):
    """An answer whose head is there."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]:
        """Names in lower case, or in any for a mapping that does not tell them apart."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes.

        Raises:
            ConnectionFailed: It broke off.
        """
        ...


class Transport(Protocol):
    """Sends one request at a time; leaving the scope of one gives its connection back, or closes it."""

    @property
    def round_trip_s(self) -> float:
        """To the server and back; an upper bound where it cannot be told."""
        ...

    def send(self, body: Body, *, stream: bool) -> AbstractAsyncContextManager[Response]:
        """Post a completion.

        Raises:
            ConnectionFailed: No answer came.
        """
        ...

    async def aclose(self) -> None: ...


async def read_all(response: Response, limit_bytes: int = MAX_RESPONSE_BYTES) -> bytes:
    """The whole body.

    Raises:
        ServerError: It is longer than the limit.
    """
    parts: list[bytes] = []
    size = 0
    async for chunk in response.chunks():
        size += len(chunk)
        if size > limit_bytes:
            raise ServerError(f"the answer is longer than {limit_bytes} bytes")
        parts.append(chunk)
    return b"".join(parts)
