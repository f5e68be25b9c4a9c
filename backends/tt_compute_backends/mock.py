"""The mock backend: a scripted model, chosen by name only, never a fallback.

With ``options: {}`` every prompt is answered "The answer is 42." by three samples in five. See
``tt_compute.testing.mock_options`` for all that can be said. Its samples depend on (prompt, seed, index) alone, its time is
the environment's clock, so under a virtual clock a minute of latency takes a millisecond.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import ClassVar, Self

import anyio

from tt_compute.backend import Generation
from tt_compute.checks import check_request
from tt_compute.errors import ContextLengthError, GenerationClosed
from tt_compute.registry import option_error, parse_options
from tt_compute.testing.mock_options import MockOptions
from tt_compute.types import (
    API_VERSION,
    BackendEnv,
    DeploymentSpec,
    GenerateRequest,
    ModelInfo,
    Probe,
)
from tt_compute_backends.mock_account import Account
from tt_compute_backends.mock_generation import MockGeneration
from tt_compute_backends.mock_replies import ReplyMaker
from tt_compute_backends.mock_text import count_tokens

__all__ = ["MockBackend"]


class MockBackend:
    """Satisfies ``tt_compute.backend.Backend``.

    Args:
        spec: The deployment.
        options: Its ``options:``, checked.
        env: Whose clock the samples take time of.
    """

    name: ClassVar[str] = "mock"
    api_version: ClassVar[int] = API_VERSION
    Options: ClassVar[type[MockOptions]] = MockOptions

    def __init__(self, spec: DeploymentSpec, options: MockOptions, env: BackendEnv) -> None:
        self._spec = spec
        self._options = options
        self._capabilities = options.stated_capabilities()
        self._clock = env.clock
        self._account = Account(options.limits, spec.id, env.clock.now())
        self._open: set[MockGeneration] = set()
        self._closed = False
        self._loading = anyio.Lock()
        self.loaded = not options.latency.load_s

    @classmethod
    def probe(cls) -> Probe:
        return Probe(available=True)

    @classmethod
    async def create(cls, spec: DeploymentSpec, env: BackendEnv) -> Self:
        """Make the mock of a deployment.

        Raises:
            ConfigError: Its ``options:`` cannot be used.
        """
        options: MockOptions = parse_options(cls, spec)
        if (options.questions is None) != (options.ability is None):
            raise option_error(spec, "", "`questions` and `ability` go together")
        return cls(spec, options, env)

    async def models(self) -> Sequence[ModelInfo]:
        return [
            ModelInfo(
                id=self._spec.remote_model,
                max_context_tokens=self._spec.max_context_tokens,
                capabilities=self._capabilities,
            )
        ]

    async def warm(self) -> None:
        """Take the time that loading takes, if it was not taken yet."""
        async with self._loading:
            if not self.loaded:
                await self._clock.sleep(self._options.latency.load_s)
                self.loaded = True

    @asynccontextmanager
    async def open(self, request: GenerateRequest) -> AsyncGenerator[Generation, None]:
        if self._closed:
            raise GenerationClosed(f"deployment {self._spec.id!r} was closed")
        check_request(request, self._capabilities)
        input_tokens = count_tokens(request)
        self._check_context(input_tokens, request.sampling.max_tokens)
        if not self.loaded:
            await self.warm()
        generation = MockGeneration(
            request,
            ReplyMaker(
                request,
                self._options,
                max_tokens=self._max_tokens(request, input_tokens),
                deployment=self._spec.id,
            ),
            self._account,
            clock=self._clock,
            input_tokens=input_tokens,
            share_prefill=self._capabilities.prefix_sharing,
            stream=self._capabilities.streaming and request.deltas != "none",
        )
        self._open.add(generation)
        try:
            yield generation
        finally:
            generation.close()
            self._open.discard(generation)

    async def aclose(self) -> None:
        self._closed = True
        for generation in self._open:
            generation.close()

    def _check_context(self, input_tokens: int, max_tokens: int | None) -> None:
        context = self._spec.max_context_tokens
        room = 1 if max_tokens is None else max_tokens
        if context is not None and input_tokens + room > context:
            raise ContextLengthError(
                f"{input_tokens} prompt tokens and {room} more exceed the context of {context} tokens",
                hint="shorten the prompt or lower max_tokens",
            )

    def _max_tokens(self, request: GenerateRequest, input_tokens: int) -> int | None:
        context = self._spec.max_context_tokens
        limits = (
            request.sampling.max_tokens,
            self._spec.deployment.limits.max_output_tokens,
            None if context is None else context - input_tokens,
        )
        return min((limit for limit in limits if limit is not None), default=None)
