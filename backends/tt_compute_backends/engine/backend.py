"""What the local backends share: a deployment whose model runs in an engine."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar, Self

import anyio
import msgspec

from tt_compute.checks import check_generates
from tt_compute.errors import ConfigError, GenerationClosed
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
from tt_compute_backends.engine.runtime import Loaded, LoadRequest, Reading, Vectors
from tt_compute_backends.libraries import Library, probe_libraries, require

__all__ = ["LocalBackend"]

_DEFAULT_ROWS = 32
"""Rows in one batch; steps grow longer with every row, throughput hardly grows after this."""


class LocalBackend(ABC):
    """Satisfies ``tt_compute.backend.Backend``; made by ``create``. Each runtime fills in what differs."""

    name: ClassVar[str]
    api_version: ClassVar[int] = API_VERSION
    Options: ClassVar[type[msgspec.Struct]]
    libraries: ClassVar[tuple[Library, ...]]
    """What must be there; the first one's version is the backend's."""
    install: ClassVar[str]
    runtime: ClassVar[str]
    """``module:Class``, imported in the engine's process only."""

    def __init__(self, spec: DeploymentSpec, env: BackendEnv, options: msgspec.Struct) -> None:
        self._spec = spec
        self._env = env
        self._options = options
        self._host: EngineHost | None = None
        self._loaded: Loaded | None = None
        self._closed = False
        self._lock = anyio.Lock()

    @classmethod
    def probe(cls) -> Probe:
        """Look for the libraries without importing them."""
        return probe_libraries(cls.libraries, cls.install)

    @classmethod
    async def create(cls, spec: DeploymentSpec, env: BackendEnv) -> Self:
        """Check the deployment; loads nothing.

        Raises:
            BackendUnavailable: A library is missing or too old.
            ConfigError: Bad ``options``, or a placement that the runtime cannot follow.
        """
        require(cls.probe(), backend=cls.name, deployment=spec.id)
        _check_placement(cls.name, spec)
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
                capabilities=self.capabilities(),
            )
        ]

    @property
    def loaded(self) -> bool:
        """As ``tt_compute.backend.Loadable``."""
        return self._host is not None and self._host.loaded

    async def warm(self) -> None:
        """Load the model now instead of at the first ``open``.

        Raises:
            ModelNotFound: No source could deliver the weights.
            ModelLoadError: The file is damaged or the runtime refuses it, or the device is not there.
        """
        host = await self._engine()
        self._loaded = await host.warm()

    @asynccontextmanager
    async def open(self, request: GenerateRequest) -> AsyncGenerator[LocalGeneration]:
        """As in the protocol; the first call loads the model.

        Raises:
            InvalidRequestError: Too long, empty, out of range, invalid schema.
            UnsupportedError: More logprobs than the runtime gives, or tools, or the model draws no samples.
            GenerationClosed: The backend was closed.
            BackendError: As ``warm``.
        """
        (model,) = await self.models()
        # Before anything is loaded for it.
        check_generates(model.capabilities)
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

    # --- what differs ----------------------------------------------------------------------------

    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What the backend can with its options."""

    @abstractmethod
    def max_rows(self, wanted: int) -> int:
        """Rows of one batch, when the deployment asks for ``wanted``."""

    @abstractmethod
    async def locate(self) -> Path:
        """Where the weights lie, fetched or converted first if need be.

        Raises:
            ModelNotFound, ModelLoadError: As ``warm``.
        """

    def device(self, placed: str | None) -> str:
        """The runtime's name of the device, from the first of ``placement.devices``."""
        return placed or "cpu"

    # ---------------------------------------------------------------------------------------------

    async def _read(self, reading: Reading, deadline: float | None) -> Vectors:
        """Have the model read texts, loaded first if need be."""
        await self.warm()
        host = await self._engine()
        return await host.read(reading, deadline)

    async def _engine(self) -> EngineHost:
        async with self._lock:
            if self._closed:
                raise GenerationClosed(f"{self._spec.id} was closed")
            if self._host is None:
                path = await self.locate()
                if self._closed:
                    # Closed during a download: a hold taken now would never be given back.
                    raise GenerationClosed(f"{self._spec.id} was closed")
                placement = self._spec.deployment.placement
                self._host = acquire(
                    self._load_request(str(path)),
                    clock=self._env.clock,
                    backend=self.name,
                    deployment=self._spec.id,
                    process=placement.process,
                    unload_after_s=placement.unload_after_s,
                )
            return self._host

    def _load_request(self, path: str) -> LoadRequest:
        placement = self._spec.deployment.placement
        return LoadRequest(
            runtime=self.runtime,
            model_path=path,
            device=self.device(placement.devices[0] if placement.devices else None),
            threads=placement.threads or _usable_cores(),
            max_rows=self.max_rows(placement.max_sequences or _DEFAULT_ROWS),
            memory_bytes=placement.memory_bytes,
            max_context_tokens=self._spec.max_context_tokens,
            chat_template=self._spec.model.chat_template,
            options=msgspec.to_builtins(self._options),
        )


def _check_placement(name: str, spec: DeploymentSpec) -> None:
    placement = spec.deployment.placement
    if len(placement.devices) > 1:
        raise _config_error(
            spec, "placement.devices", f"{len(placement.devices)} devices, {name} takes one"
        )
    if placement.tensor_parallel != 1:
        raise _config_error(
            spec, "placement.tensor_parallel", f"{placement.tensor_parallel}, {name} takes 1"
        )
    if placement.weights_dtype is not None:
        raise _config_error(
            spec,
            "placement.weights_dtype",
            f"is for servers; {name} has what its file and its options say",
        )


def _config_error(spec: DeploymentSpec, path: str, message: str) -> ConfigError:
    place = spec.place(path)
    return ConfigError(message, file=place.file, line=place.line, path=path)


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
