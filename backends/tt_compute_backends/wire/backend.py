"""What the backends of this wire share: a deployment checked, prompts opened, everything closed."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

import anyio
import msgspec

from tt_compute.backend import Generation
from tt_compute.checks import check_request
from tt_compute.errors import (
    AuthenticationError,
    ConfigError,
    ContextLengthError,
    GenerationClosed,
)
from tt_compute.registry import parse_options
from tt_compute.types import (
    API_VERSION,
    Auth,
    BackendEnv,
    DeploymentSpec,
    Event,
    Finding,
    GenerateRequest,
    ModelInfo,
    Offer,
    Probe,
)
from tt_compute_backends.libraries import Library, probe_libraries, require
from tt_compute_backends.wire.base_url import without_api_path
from tt_compute_backends.wire.catalogue import offered
from tt_compute_backends.wire.examine import examine
from tt_compute_backends.wire.generation import Place, WireGeneration
from tt_compute_backends.wire.meter import TokenMeter
from tt_compute_backends.wire.request import Body, build
from tt_compute_backends.wire.services import Service
from tt_compute_backends.wire.transport import Transport

__all__ = ["AIOHTTP", "WireBackend", "WireOptions"]

AIOHTTP = Library(distribution="aiohttp", least_version=(3, 10))
"""What carries every backend of this wire."""

_OURS = frozenset({"messages", "model", "n", "seed", "stream", "stream_options", "stop"})
"""Fields that ``extra_body`` may not set: the samples would not be those that were asked for."""
_MESSAGE_TOKENS = 1
"""The least that a message takes besides its words."""


class WireOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The deployment's ``options:``."""

    stream: bool = True
    """Take answers as they are made. Without it a sample that is cancelled is billed as if it were whole, and a
    stalled server shows only at the deadline; it spares both sides some work where answers are short."""
    native_n: bool = False
    """Draw a wave as one request with ``n``, where the service has it: the prompt is billed once, a single sample
    cannot be cancelled, and no sample has a seed of its own."""
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high"] | None = None
    extra_body: dict[str, object] = {}
    """More fields of each request, as the service documents them."""
    max_logprobs: int | None = None
    """How many the service gives; None = what is known of its kind."""
    json_schema: bool | None = None
    tools: bool | None = None


class WireBackend(ABC):
    """Satisfies ``tt_compute.backend.Backend``; made by ``create``."""

    name: ClassVar[str]
    api_version: ClassVar[int] = API_VERSION
    Options: ClassVar[type[Any]] = WireOptions
    libraries: ClassVar[tuple[Library, ...]]
    """What must be there; the first one's version is the backend's."""
    install: ClassVar[str]
    api_path: ClassVar[str]
    """Between the base URL and what every service of this wire has, such as ``models``."""
    key_variable: ClassVar[str | None]
    """Where the key is when the deployment's ``auth`` does not say; used for the service's own host alone."""

    def __init__(
        self,
        spec: DeploymentSpec,
        options: WireOptions,
        place: Place,
        service: Service,
        url: str,
    ) -> None:
        self._spec = spec
        self._url = url
        self._options = options
        self._place = place
        self._service = service
        self._capabilities = service.capabilities(
            streaming=options.stream, native_n=options.native_n
        )
        self._open: set[WireGeneration] = set()
        self._closed = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._place.where})"

    @classmethod
    def probe(cls) -> Probe:
        """Look for the libraries without importing them."""
        return probe_libraries(cls.libraries, cls.install)

    @classmethod
    async def create(cls, spec: DeploymentSpec, env: BackendEnv) -> Self:
        """Check the deployment and its key; connects to nothing.

        Raises:
            BackendUnavailable: A library is missing or too old.
            ConfigError: Bad ``options`` or ``endpoint``.
            AuthenticationError: There is no key, or what there is can be none.
        """
        require(cls.probe(), backend=cls.name, deployment=spec.id)
        options: WireOptions = parse_options(cls, spec)
        _check_extra(spec, options)
        url, service = cls.address(spec, options)
        service = _as_told(service, options)
        own = urlsplit(url).hostname in service.hosts
        key = _key(env, spec, cls.key_variable if own else None)
        place = Place(
            transport=cls.connect(url, key, options),
            service=service,
            clock=env.clock,
            wall=time.time,
            meter=TokenMeter(),
            where=f"{spec.id} at {urlsplit(url).hostname}",
            key=key,
            stream=options.stream,
            native_n=options.native_n and service.native_n,
            requests_window_s=service.requests_window_s,
        )
        return cls(spec, options, place, service, url)

    async def models(self) -> Sequence[ModelInfo]:
        return [
            ModelInfo(
                id=self._spec.remote_model,
                max_context_tokens=self._spec.max_context_tokens,
                capabilities=self._capabilities,
            )
        ]

    def open(self, request: GenerateRequest) -> AbstractAsyncContextManager[Generation]:
        """As in the protocol; nothing is sent before a sample is drawn.

        Raises:
            InvalidRequestError: Empty, out of range, surely too long, invalid schema.
            UnsupportedError: The service lacks what the request needs.
            GenerationClosed: The backend was closed.
        """
        return self._opened(request, None)

    def open_pushing(
        self, request: GenerateRequest, told: Callable[[Event], None]
    ) -> AbstractAsyncContextManager[Generation]:
        """As ``open``; see ``tt_compute.backend.Pushing``."""
        return self._opened(request, told)

    @asynccontextmanager
    async def _opened(
        self, request: GenerateRequest, told: Callable[[Event], None] | None
    ) -> AsyncGenerator[Generation, None]:
        if self._closed:
            raise GenerationClosed(f"deployment {self._spec.id!r} was closed")
        check_request(request, self._capabilities)
        prompt_bytes = sum(len(message.text.encode()) for message in request.messages)
        _check_context(request, prompt_bytes, self._spec.max_context_tokens)
        max_tokens = self._max_tokens(request)
        generation = WireGeneration(
            request,
            self._body(request, max_tokens),
            prompt_bytes=prompt_bytes,
            max_tokens=max_tokens,
            place=self._place,
            told=told,
        )
        self._open.add(generation)
        try:
            yield generation
        finally:
            self._open.discard(generation)
            if generation.idle:
                await generation.close()
            else:
                # Also where the caller's own task is being cancelled: connections must be let go.
                with anyio.CancelScope(shield=True):
                    await generation.close()

    def _body(self, request: GenerateRequest, max_tokens: int | None) -> Body:
        body = build(request, self._service, model=self._spec.remote_model, max_tokens=max_tokens)
        if self._options.reasoning_effort is not None:
            body["reasoning_effort"] = self._options.reasoning_effort
        if self._options.stream:
            body["stream"] = True
            if self._service.stream_usage:
                body["stream_options"] = {"include_usage": True}
        return body | self._options.extra_body

    async def examine(self) -> Sequence[Finding]:
        """Ask for the list of models, which costs nothing: is it there, does it take the key, how much is left."""
        return await examine(
            self._url + self.api_path,
            self._place.key,
            model=self._spec.remote_model,
            wall=self._place.wall,
            requests_window_s=self._place.requests_window_s,
        )

    async def offered(self) -> Offer | None:
        """As its list of models says; see ``tt_compute.backend.Catalogue``."""
        return await offered(
            self._url + self.api_path,
            without_api_path(self._url),
            self._place.key,
            model=self._spec.remote_model,
            listing=self._service.listing,
            wall=self._place.wall,
        )

    async def aclose(self) -> None:
        """Cancel what is live and close every connection; may be called twice."""
        self._closed = True
        for generation in list(self._open):
            await generation.close()
        await self._place.transport.aclose()

    def _max_tokens(self, request: GenerateRequest) -> int | None:
        limits = (request.sampling.max_tokens, self._spec.deployment.limits.max_output_tokens)
        return min((limit for limit in limits if limit is not None), default=None)

    # --- what differs ----------------------------------------------------------------------------

    @classmethod
    @abstractmethod
    def address(cls, spec: DeploymentSpec, options: Any) -> tuple[str, Service]:
        """Base URL, and what is known of the server behind it."""

    @classmethod
    @abstractmethod
    def connect(cls, url: str, key: str | None, options: Any) -> Transport:
        """The way to the server; opens no connection yet."""


def _as_told(service: Service, options: WireOptions) -> Service:
    told = {
        name: getattr(options, name)
        for name in ("max_logprobs", "json_schema", "tools")
        if getattr(options, name) is not None
    }
    return msgspec.structs.replace(service, **told)


def _key(env: BackendEnv, spec: DeploymentSpec, variable: str | None) -> str | None:
    auth = spec.deployment.auth
    if auth.env is None and auth.file is None and variable is not None:
        auth = Auth(env=variable)
    key = env.secrets.get(auth)
    if key is not None and not (key.isascii() and key.isprintable() and " " not in key):
        place = auth.env or auth.file
        raise AuthenticationError(
            f"what {place} holds is no key: it has characters that no header can carry",
            deployment=spec.id,
            hint="look for a line break or a quotation mark in it",
        )
    return key


def _check_extra(spec: DeploymentSpec, options: WireOptions) -> None:
    for name in options.extra_body:
        if name in _OURS:
            place = spec.place(f"options.extra_body.{name}")
            raise ConfigError(
                f"{name!r} is set by each request and cannot be set here",
                file=place.file,
                line=place.line,
                path=f"options.extra_body.{name}",
            )


def _check_context(request: GenerateRequest, prompt_bytes: int, context: int | None) -> None:
    """Refuse what is surely too long: no tokeniser makes fewer tokens than there are words."""
    if context is None:
        return
    wanted = request.sampling.max_tokens or 1
    least = _MESSAGE_TOKENS * len(request.messages)
    if prompt_bytes + wanted > context:
        least += sum(len(message.text.split()) for message in request.messages)
    if least + wanted > context:
        raise ContextLengthError(
            f"at least {least} prompt tokens and {wanted} more exceed the context of {context} tokens",
            hint="shorten the prompt or lower max_tokens",
        )
