"""The OpenVINO backend: local models on CPUs, and on Intel GPUs and NPUs.

Imports nothing heavy; OpenVINO itself is imported in the engine's process only.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, ClassVar, Literal, Self

import anyio
import msgspec

from tt_compute.errors import BackendUnavailable, ConfigError, GenerationClosed
from tt_compute.registry import parse_options
from tt_compute.types import (
    API_VERSION,
    BackendEnv,
    Capabilities,
    DeploymentSpec,
    GenerateRequest,
    ModelInfo,
    Probe,
)
from tt_compute_backends.engine.generation import LocalGeneration
from tt_compute_backends.engine.host import EngineHost, acquire
from tt_compute_backends.engine.runtime import Loaded, LoadRequest

__all__ = ["OpenVinoBackend", "OpenVinoOptions", "capabilities"]

_DISTRIBUTION = "openvino-genai"
_LEAST_VERSION = (2026, 4)
_INSTALL = 'pip install "tt-compute[openvino]"'
_RUNTIME = "tt_compute_backends.openvino_runtime:OpenVinoRuntime"
_DEFAULT_ROWS = 32
"""Rows in one batch; steps grow longer with every row, throughput hardly grows after this."""


class OpenVinoOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The deployment's ``options:``."""

    reproducible: bool = False
    """Sample k is the same alone, in any wave and beside other traffic. Samples run one after the other in
    float32, each with a prefill of its own: many times slower than a wave; for tests and for proof."""
    kv_cache_precision: Literal["bf16", "f16", "f32", "u8"] | None = None
    """None = bf16 on a CPU, elsewhere the runtime's own. With u8 even two equal waves differ."""
    cache_bytes: Annotated[int, msgspec.Meta(ge=1 << 20)] | None = None
    """Most memory of the KV cache; None = ``placement.memory_bytes``, or 1 GiB."""
    batched_tokens: Annotated[int, msgspec.Meta(ge=16, le=65536)] = 256
    """Most tokens in one step. A long prompt is prefilled in pieces of this size, between which
    others decode and deadlines are seen; larger gains nothing on a CPU."""

    def __post_init__(self) -> None:
        if self.reproducible and self.kv_cache_precision not in {None, "f32"}:
            raise ValueError("reproducible needs kv_cache_precision: f32, or none given")


def capabilities(options: OpenVinoOptions) -> Capabilities:
    """What the backend can with ``options``."""
    return Capabilities(
        native_n=True,
        prefix_sharing=not options.reproducible,
        cancel="sample",
        max_logprobs=1,
        seed="exact" if options.reproducible else "schedule",
        stop=True,
        json_schema=True,
        continue_assistant=True,
        streaming=True,
        continuous_batching=not options.reproducible,
    )


class OpenVinoBackend:
    """Satisfies ``tt_compute.backend.Backend``; made by ``create``."""

    name: ClassVar[str] = "openvino"
    api_version: ClassVar[int] = API_VERSION
    Options: ClassVar[type[OpenVinoOptions]] = OpenVinoOptions

    def __init__(self, spec: DeploymentSpec, env: BackendEnv, options: OpenVinoOptions) -> None:
        self._spec = spec
        self._env = env
        self._options = options
        self._host: EngineHost | None = None
        self._loaded: Loaded | None = None
        self._closed = False
        self._lock = anyio.Lock()

    @classmethod
    def probe(cls) -> Probe:
        """Look for the library without importing it."""
        try:
            version = importlib.metadata.version(_DISTRIBUTION)
        except importlib.metadata.PackageNotFoundError:
            return Probe(
                available=False, reason=f"{_DISTRIBUTION} is not installed", install=_INSTALL
            )
        if _release(version) < _LEAST_VERSION:
            least = ".".join(map(str, _LEAST_VERSION))
            return Probe(
                available=False,
                reason=f"{_DISTRIBUTION} {version} is too old, {least} is needed",
                install=_INSTALL,
                version=version,
            )
        return Probe(available=True, version=version)

    @classmethod
    async def create(cls, spec: DeploymentSpec, env: BackendEnv) -> Self:
        """Check the deployment; loads nothing.

        Raises:
            BackendUnavailable: The library is missing or too old.
            ConfigError: Bad ``options``, or a placement that OpenVINO cannot follow.
        """
        probe = cls.probe()
        if not probe.available:
            raise BackendUnavailable(
                probe.reason, backend=cls.name, deployment=spec.id, hint=probe.install
            )
        _check_placement(spec)
        return cls(spec, env, parse_options(cls, spec))

    async def models(self) -> Sequence[ModelInfo]:
        """The one model; its context is the profile's until it has been loaded."""
        loaded = self._loaded
        return [
            ModelInfo(
                id=self._spec.remote_model,
                max_context_tokens=(
                    self._spec.max_context_tokens if loaded is None else loaded.max_context_tokens
                ),
                capabilities=capabilities(self._options),
            )
        ]

    async def warm(self) -> None:
        """Load the model now instead of at the first ``open``.

        Raises:
            ModelNotFound: No source could deliver the weights.
            ModelLoadError: The file is damaged or OpenVINO refuses it, or the device is not there.
        """
        host = await self._engine()
        self._loaded = await host.warm()

    @asynccontextmanager
    async def open(self, request: GenerateRequest) -> AsyncGenerator[LocalGeneration]:
        """As in the protocol; the first call loads the model.

        Raises:
            InvalidRequestError: Too long, empty, out of range, invalid schema.
            UnsupportedError: More than one logprob per token, or tools.
            GenerationClosed: The backend was closed.
            BackendError: As ``warm``.
        """
        await self.warm()
        host = await self._engine()
        async with host.open(request) as generation:
            yield generation

    async def aclose(self) -> None:
        """Give up the engine; its process ends with its last user. May be called twice."""
        self._closed = True
        host, self._host = self._host, None
        if host is not None:
            await host.release()

    async def _engine(self) -> EngineHost:
        async with self._lock:
            if self._closed:
                raise GenerationClosed(f"{self._spec.id} was closed")
            if self._host is None:
                path = await self._env.models.locate(self._spec, "gguf")
                if self._closed:
                    # Closed during a download: a hold taken now would never be given back.
                    raise GenerationClosed(f"{self._spec.id} was closed")
                self._host = acquire(
                    self._load_request(str(path)),
                    clock=self._env.clock,
                    backend=self.name,
                    deployment=self._spec.id,
                    process=self._spec.deployment.placement.process,
                )
            return self._host

    def _load_request(self, path: str) -> LoadRequest:
        placement = self._spec.deployment.placement
        rows = 1 if self._options.reproducible else placement.max_sequences or _DEFAULT_ROWS
        return LoadRequest(
            runtime=_RUNTIME,
            model_path=path,
            device=placement.devices[0].upper() if placement.devices else "CPU",
            threads=placement.threads or _usable_cores(),
            max_rows=min(rows, self._options.batched_tokens),
            memory_bytes=placement.memory_bytes,
            max_context_tokens=self._spec.max_context_tokens,
            chat_template=self._spec.model.chat_template,
            options=msgspec.to_builtins(self._options),
        )


def _release(version: str) -> tuple[int, ...]:
    """Year and number of a release such as ``2026.4.1.0``."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[: len(_LEAST_VERSION)])


def _check_placement(spec: DeploymentSpec) -> None:
    placement = spec.deployment.placement
    if len(placement.devices) > 1:
        raise _config_error(
            spec, "placement.devices", f"{len(placement.devices)} devices, OpenVINO takes one"
        )
    if placement.tensor_parallel != 1:
        raise _config_error(
            spec, "placement.tensor_parallel", f"{placement.tensor_parallel}, OpenVINO takes 1"
        )


def _config_error(spec: DeploymentSpec, path: str, message: str) -> ConfigError:
    place = spec.place(path)
    return ConfigError(message, file=place.file, line=place.line, path=path)


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
