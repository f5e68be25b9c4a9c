"""Everything a client makes once: configuration, backends, store, planner."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import anyio
import msgspec

from tt_compute.backend import Backend, Catalogue, Examinable
from tt_compute.clock import SystemClock
from tt_compute.conditions import Conditions
from tt_compute.config import Config
from tt_compute.dispatch.backends import BackendPool
from tt_compute.dispatch.dispatcher import Dispatcher
from tt_compute.dispatch_setup import make_dispatcher
from tt_compute.errors import BackendError, InvalidRequestError, UnknownNameError, UsageError
from tt_compute.modelstore.store import LocalModelStore
from tt_compute.modelstore.transfer import ProgressCallback
from tt_compute.planning.estimates import Estimates, Version
from tt_compute.planning.planner import Planner
from tt_compute.profiles.checking import suggestion
from tt_compute.registry import Registry
from tt_compute.sampling import check_types
from tt_compute.secrets import EnvironmentSecrets
from tt_compute.store import Store
from tt_compute.supervision import supervisor
from tt_compute.types import (
    Capabilities,
    Clock,
    DeploymentSpec,
    Finding,
    ModelInfo,
    ModelStore,
    Probe,
    Secrets,
)
from tt_compute.verify.math_process import MathProcess
from tt_compute.verify.sandbox.plugins import DEFAULT as DEFAULT_SANDBOX
from tt_compute.verify.sandbox.plugins import VARIABLE as SANDBOX_VARIABLE
from tt_compute.verify.sandbox.plugins import get_sandbox
from tt_compute.verify.sandbox.types import Sandbox
from tt_compute.verify.text_process import TextProcess
from tt_compute.versions import version_of

__all__ = ["STORE_FILE", "Setup"]

STORE_FILE = "store.sqlite3"
RUNS_BETWEEN_ESTIMATES = 25
"""Runs after which the planner looks at the store again: reading takes 20 ms, and one run changes little."""


class _Env(msgspec.Struct, frozen=True, kw_only=True):
    """``types.BackendEnv``."""

    clock: Clock
    secrets: Secrets
    models: ModelStore


class Setup:
    """What the requests of one client share.

    Args:
        config: As for ``AsyncClient``; read at once, so that a mistake shows at construction.
        clock: None = the system's monotonic clock.
        environ: None = the process's own environment.
        progress: Told how far a model's download is.

    Raises:
        ConfigError: The configuration cannot be used.
    """

    def __init__(
        self,
        config: Config | Path | str | None,
        *,
        clock: Clock | None = None,
        environ: Mapping[str, str] | None = None,
        progress: ProgressCallback | None = None,
    ) -> None:
        self.clock: Clock = SystemClock() if clock is None else clock
        started = self.clock.now()
        environ = os.environ if environ is None else environ
        self.registry: Registry = Registry()
        self.config: Config = (
            config
            if isinstance(config, Config)
            else Config.load(config, environ=environ, available=self._available)
        )
        self.models: LocalModelStore = LocalModelStore(
            self.config.cache_dir, progress=progress, environ=environ
        )
        self.math: MathProcess = MathProcess()
        self.text: TextProcess = TextProcess()
        self._sandbox_name = environ.get(SANDBOX_VARIABLE) or DEFAULT_SANDBOX
        self._sandbox: Sandbox | None = None
        env = _Env(clock=self.clock, secrets=EnvironmentSecrets(environ), models=self.models)
        self._backends = BackendPool(self.registry, env)
        self.dispatcher: Dispatcher = make_dispatcher(self._backends, self.clock, self.config)
        self._models: dict[str, ModelInfo] = {}
        self._planners: dict[str | None, Planner] = {}
        self._runs_since_estimates = 0
        self._estimates: Estimates | None = None
        self._store: Store | None = None
        self._store_warnings: tuple[str, ...] = ()
        self._lock = anyio.Lock()
        self._closed = False
        self.load_s: float = self.clock.now() - started

    def spec(self, deployment: str) -> DeploymentSpec:
        """A deployment by id: one of the configuration's, or any other that the library has.

        Raises:
            UnknownNameError: There is none.
            InvalidRequestError: It is no text.
        """
        self._check_open()
        check_types("deployment", deployment, str)
        own = (spec.id for spec in self.config.deployments)
        known = (*own, *self.config.library.ids("deployment"))
        if deployment not in known:
            raise UnknownNameError(
                f"there is no deployment {deployment!r}", hint=suggestion(deployment, known)
            )
        return self.config.spec(deployment)

    def permitted(self, deployment: str) -> DeploymentSpec:
        """As ``spec``, of one that a request names for its prompt to go to.

        Raises:
            InvalidRequestError: It is not local, and the configuration keeps prompts on this machine.
        """
        spec = self.spec(deployment)
        if self.config.objective.locality == "local" and not spec.hardware.local:
            raise InvalidRequestError(
                f"the deployment {spec.id!r} is not local, and objective.locality is 'local'",
                hint="name a local deployment, or allow locality 'any' in the configuration",
            )
        return spec

    def sandbox(self) -> Sandbox:
        """Where model-written programs are run, shared by all requests.

        Raises:
            UnknownNameError: There is none of the name that the environment gives.
            VerifierError: It cannot be made.
        """
        if self._sandbox is None:
            self._sandbox = get_sandbox(self._sandbox_name)
        return self._sandbox

    def probe(self, backend: str) -> Probe:
        """Whether a backend could run here; one that no distribution registers could not."""
        watching = supervisor()
        told = None if watching is None else watching.probe(backend)
        if told is not None:
            return told
        try:
            return self.registry.probe(backend)
        except UnknownNameError as exc:
            return Probe(available=False, reason=f"{exc.message}; {exc.hint}")

    async def store(self) -> Store:
        """The receipts' store, opened at first use; one that cannot be used records nothing."""
        self._check_open()
        async with self._lock:
            if self._store is None:
                self._store = await self._open_store()
                self._store_warnings = self._store.warnings
            return self._store

    def take_store_warnings(self) -> tuple[str, ...]:
        """What opening the store met; told once."""
        taken, self._store_warnings = self._store_warnings, ()
        return taken

    async def planner(self, deployment: str | None) -> Planner:
        """The planner over the configuration's deployments, or over one that was pinned beside them."""
        self._check_open()
        if deployment in {spec.id for spec in self.config.deployments}:
            deployment = None
        if deployment not in self._planners:
            specs = self.config.deployments if deployment is None else (self.spec(deployment),)
            self._planners[deployment] = await self._make_planner(specs)
        return self._planners[deployment]

    def conditions(self, planner: Planner) -> Mapping[str, Conditions]:
        """The present state of the deployments that a planner chooses from; touches no file and no network."""
        return {spec.id: self.dispatcher.conditions(spec) for spec in planner.specs}

    async def capabilities(self, spec: DeploymentSpec) -> Capabilities:
        """What a deployment can do; makes its backend, loads no weights.

        Raises:
            BackendError: The backend cannot be made.
        """
        return (await self._model(spec)).capabilities

    async def _model(self, spec: DeploymentSpec) -> ModelInfo:
        if spec.id not in self._models:
            backend = await self._backends.get(spec)
            self._models[spec.id] = (await backend.models())[0]
        return self._models[spec.id]

    def version(self, spec: DeploymentSpec) -> Version:
        """What the deployment runs now."""
        return version_of(spec, self.probe(spec.backend).version)

    async def examine(self, spec: DeploymentSpec) -> Sequence[Finding]:
        """What the deployment's backend finds when it looks at its service; nothing for those that have none.

        Raises:
            BackendError: The backend cannot be made.
        """
        backend = await self._backends.get(spec)
        return await backend.examine() if isinstance(backend, Examinable) else ()

    async def backend(self, spec: DeploymentSpec) -> Backend:
        """The deployment's backend, for its optional abilities; all else goes through the dispatcher.

        Raises:
            BackendError: It cannot be made.
        """
        self._check_open()
        return await self._backends.get(spec)

    async def catalogue(self, spec: DeploymentSpec) -> Catalogue | None:
        """The deployment's backend, where it can tell what its service offers.

        Raises:
            BackendError: The backend cannot be made.
        """
        backend = await self._backends.get(spec)
        return backend if isinstance(backend, Catalogue) else None

    async def estimates(self) -> Estimates:
        """What past runs taught, as of the last time it was read."""
        if self._estimates is None:
            versions = {spec.id: self.version(spec) for spec in self.config.deployments}
            self._estimates = await (await self.store()).estimates(versions=versions)
        return self._estimates

    def learned(self, *, at_once: bool) -> None:
        """Note that the store knows more; planners see it after some runs, or ``at_once``."""
        self._runs_since_estimates += 1
        if at_once or self._runs_since_estimates >= RUNS_BETWEEN_ESTIMATES:
            self._runs_since_estimates = 0
            self._estimates = None
            self._planners.clear()

    async def aclose(self) -> None:
        """End every engine and close the store; may be called twice."""
        self._closed = True
        with anyio.CancelScope(shield=True):
            self.dispatcher.close()
            await self._backends.aclose()
            self.math.close()
            self.text.close()
            if self._sandbox is not None:
                self._sandbox.close()
            store, self._store = self._store, None
            if store is not None:
                await store.aclose()

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError("the client is closed", hint="make a new one")

    def _available(self, backend: str) -> bool:
        return self.probe(backend).available

    async def _open_store(self) -> Store:
        settings = self.config.store
        if not settings.enabled:
            return Store(None, unusable="`store: {enabled: false}` says so", warnings=())
        watching = supervisor()
        if watching is not None and not watching.keeps_runs:
            return Store(None, unusable="a test with a cassette keeps nothing", warnings=())
        return await Store.open(
            self.config.data_dir / STORE_FILE,
            wall_clock=time.time,
            keep_text=settings.keep_text,
            max_age_days=settings.max_age_days,
            max_bytes=settings.max_bytes,
        )

    async def _make_planner(self, specs: tuple[DeploymentSpec, ...]) -> Planner:
        unavailable: dict[str, str] = {}
        capabilities: dict[str, Capabilities | None] = {}
        planned = {spec.id: spec for spec in specs}
        for spec in specs:
            probe = self.probe(spec.backend)
            if not probe.available:
                mend = f"; {probe.install}" if probe.install else ""
                unavailable[spec.id] = f"{probe.reason}{mend}"
                continue
            try:
                model = await self._model(spec)
            except BackendError as exc:
                unavailable[spec.id] = exc.message
                continue
            capabilities[spec.id] = model.capabilities
            planned[spec.id] = _with_context(spec, model)
        self.dispatcher.look(specs)
        estimates = await self.estimates()
        return Planner(tuple(planned.values()), capabilities, unavailable, estimates, self.clock)


def _with_context(spec: DeploymentSpec, model: ModelInfo) -> DeploymentSpec:
    """The deployment with the context that its backend knows of, where no profile states one."""
    if spec.max_context_tokens is not None or model.max_context_tokens is None:
        return spec
    known = msgspec.structs.replace(spec.model, max_context_tokens=model.max_context_tokens)
    return msgspec.structs.replace(spec, model=known)
